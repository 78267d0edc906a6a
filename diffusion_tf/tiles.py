"""Diffusion tile by tile with the numbers of the whole picture, in bounded memory.

The predictor runs over all tiles first, then every step of every sample: a tile that went through
all steps by itself would see its neighbours' noise undenoised. One noise field covers the picture.
"""

from __future__ import annotations

import math

import keras
import numpy as np

from restore_tf.networks.reach import spans
from restore_tf.networks.tiler import Tiler

_CHANNELS, _FLOAT = 3, 4  # of a residual; bytes of a float32


class StepTiler(Tiler):
    """Tiles of a `Diffusion` whose predictor can be tiled exactly itself.

    Args:
      model: a `Diffusion`.
    """

    def __init__(self, model):
        reach = model.denoiser.reach()
        self._model, self._predictor = model, model.predictor.tiler()
        self.step = math.lcm(reach.alignment, self._predictor.step, model.size_multiple)
        radius = max(reach.radius, self._predictor.margin)
        self.margin = -(-radius // self.step) * self.step
        self.smallest = 3 * self.margin
        self._compiled = None

    def bytes_kept(self, pixels):
        """Returns the bytes of the prediction, of residuals around a step, and of the samples' sum.

        Args:
          pixels: of the degraded batch, all images together.
        """
        return 4 * _CHANNELS * _FLOAT * pixels + self._predictor.bytes_kept(pixels)

    def work(self, pixels):
        """Returns the number of pixels of the predictor and of every step.

        Args:
          pixels: of the degraded batch, all images together.
        """
        return self._predictor.work(pixels) + self._model.steps * self._model.samples * pixels

    def restore(self, shape, read, write, tile, progress, seed=0):
        """Restores a padded batch step by step; see `Tiler`."""
        model, seed = self._model, np.array([seed, 0], np.int32)
        predicted = np.empty(shape, np.float32)

        def keep(rows, columns, pixels):
            predicted[:, rows, columns] = pixels

        self._predictor.restore(shape, read, keep, tile, progress)
        total, noisy = np.zeros(shape, np.float32), np.empty(shape, np.float32)
        for sample in range(model.samples):
            for rows, columns in self._tiles(shape, tile):
                drawn = self._start((shape[0], *_sides(rows, columns)), seed, rows, columns, sample)
                noisy[:, rows.given, columns.given] = drawn[:, rows.inner, columns.inner]
            for number in range(model.steps):
                noisy = self._advanced(
                    read, predicted, noisy, (sample, number), tile, seed, progress
                )
            total += noisy
        for rows, columns in self._tiles(shape, tile):
            part = (slice(None), rows.given, columns.given)
            write(rows.given, columns.given, model.refined(predicted[part], total[part]))

    def _tiles(self, shape, tile):
        for rows in spans(shape[1], tile, self.margin):
            for columns in spans(shape[2], tile, self.margin):
                yield rows, columns

    def _advanced(self, read, predicted, noisy, place, tile, seed, progress):
        """The residual after one more step."""
        sample, number = place
        steps, levels = self._model.steps, self._model.levels()[number : number + 2]
        draw = np.int32(sample * (steps + 1) + number + 1)
        advanced = np.empty_like(noisy)
        for rows, columns in self._tiles(noisy.shape, tile):
            seen = (slice(None), rows.seen, columns.seen)
            origin = _origin(len(noisy), rows, columns)
            pieces = read(rows.seen, columns.seen), predicted[seen], noisy[seen]
            levels = np.array(levels, np.float32)
            found = np.asarray(self._function()(*pieces, levels, seed, origin, draw))
            inside = found[:, rows.inner, columns.inner]
            advanced[:, rows.given, columns.given] = inside
            progress(len(noisy) * inside.shape[1] * inside.shape[2])
        return advanced

    def _start(self, shape, seed, rows, columns, sample):
        origin = _origin(shape[0], rows, columns)
        return np.asarray(self._model.start((*shape, _CHANNELS), seed, origin, sample))

    def _function(self):
        """The model's `advance`, compiled once for all steps and sizes."""
        if self._compiled is None:
            self._compiled = self._model.advance
            if keras.backend.backend() == "tensorflow":
                import tensorflow as tf

                images = tf.TensorSpec((None, None, None, _CHANNELS), tf.float32)
                self._compiled = tf.function(
                    self._model.advance,
                    input_signature=[
                        *[images] * 3,
                        tf.TensorSpec((2,), tf.float32),
                        tf.TensorSpec((2,), tf.int32),
                        tf.TensorSpec((None, 2), tf.int32),
                        tf.TensorSpec((), tf.int32),
                    ],
                    autograph=False,
                )
        return self._compiled


def _origin(count, rows, columns):
    return np.tile(np.array([rows.outer_begin, columns.outer_begin], np.int32), (count, 1))


def _sides(rows, columns):
    return rows.outer_end - rows.outer_begin, columns.outer_end - columns.outer_begin
