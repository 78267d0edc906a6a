"""SRN restored tile by tile with the numbers of the whole picture, in bounded memory.

Each scale is cut up in its own coordinates, every tile sees as far around itself as one pass of the
network does, and the assembled image and ConvLSTM state go on to the next scale. Cutting up the
picture once and running all scales on each piece would differ: the coarse scales see farther. What
a gate asks the whole picture is gathered first.
"""

from __future__ import annotations

import keras
import numpy as np

from restore_tf.networks.layers import legacy_upsample2
from restore_tf.networks.reach import reach, spans
from restore_tf.networks.tiler import Tiler
from srn_tf.gate import SMALLEST, log_power_means_in_strips


class ScaleTiler(Tiler):
    """Tiles of a scale-recurrent network.

    Args:
      model: an `SRN`.
    """

    def __init__(self, model):
        see = reach(model.scale_path())
        self.model = model
        self.margin = see.margin
        self.step = see.alignment  # also how much coarser the state is than the image
        self.smallest = 3 * (see.radius + see.alignment) // see.alignment * see.alignment
        self._functions = {}

    def bytes_kept(self, pixels):
        """Returns the bytes of the previous scale's float32 image and of two scales' states.

        Args:
          pixels: of the degraded batch, all images together.
        """
        channels = self.model.channels
        return pixels * (1.25 * channels + 5 * self.model.state_bytes_per_pixel / 4)

    def work(self, pixels):
        """Returns the number of pixels of all scales.

        Args:
          pixels: of the degraded batch, all images together.
        """
        return sum(pixels // 4**exponent for exponent in range(self.model.scales))

    def restore(self, shape, read, write, tile, progress, seed=0):
        """Restores a padded batch scale by scale; see `Tiler`."""
        image, state = None, ()
        for exponent in reversed(range(self.model.scales)):
            gated = exponent == 0 and self.model.gate is not None
            strength = [self._strength(shape, read, tile)] if gated else []
            scale = _Scale(self, exponent, shape, strength)
            image, state = scale.restore(read, write, image, state, tile, progress)

    def _strength(self, shape, read, tile):
        """What the gate says of the pictures, which are read in strips as large as a tile."""
        rows = max(SMALLEST, tile * tile // shape[2] // SMALLEST * SMALLEST)
        means = log_power_means_in_strips(shape, read, rows)
        return keras.ops.convert_to_numpy(self.model.gate.strength(means))

    def function(self, exponent):
        """Returns the compiled pass of one scale.

        Args:
          exponent: the scale is 1 / 2^exponent of the picture.

        Returns:
          A function of the blurry image, at the last scale of the picture's strength where the
          network has a gate, and, for all but the coarsest scale, of pieces of the previous scale's
          image and state and their places. It returns the restored image and, for all but the last
          scale, the state.
        """
        first, last = exponent == self.model.scales - 1, exponent == 0
        if (first, last) not in self._functions:
            self._functions[first, last] = _compiled(self.model, first, last)
        return self._functions[first, last]


class _Scale:
    """One scale of the network, restored tile by tile."""

    def __init__(self, tiler, exponent, shape, strength):
        self.strength = strength
        self.spacing = tiler.step
        self.margin = tiler.margin
        self.factor = 2**exponent
        self.function = tiler.function(exponent)
        count, height, width, channels = shape
        self.shape = (count, height // self.factor, width // self.factor, channels)

    def restore(self, read, write, previous, state, tile, progress):
        """Restores the scale tile by tile, and writes the image of the last scale.

        Args:
          read: gives pieces of the degraded images.
          write: takes pieces of the restored images, at the last scale.
          previous: the coarser scale's image, float32; None at the coarsest scale.
          state: the coarser scale's (c, h); () at the coarsest scale.
          tile: side of a tile with its surroundings, in pixels of this scale.
          progress: takes the pixels done, after each tile.

        Returns:
          The scale's image (None at the last scale) and state.
        """
        count, height, width, _ = self.shape
        last = self.factor == 1
        image = None if last else np.empty(self.shape, np.float32)
        states = ()
        for rows in spans(height, tile, self.margin):
            for columns in spans(width, tile, self.margin):
                blurry = read(self._strided(rows), self._strided(columns))
                restored, *parts = self.function(
                    blurry, *self.strength, *self._coarser(previous, state, rows, columns)
                )
                inside = np.asarray(restored)[:, rows.inner, columns.inner]
                if last:
                    write(rows.given, columns.given, inside)
                else:
                    image[:, rows.given, columns.given] = inside
                states = states or tuple(self._empty_state(part) for part in parts)
                for whole, part in zip(states, parts, strict=True):
                    self._place(whole, part, rows, columns)
                progress(count * inside.shape[1] * inside.shape[2])
        return image, states

    def _strided(self, span):
        # Every scale is taken from the finest picture by plain subsampling.
        return slice(span.outer_begin * self.factor, span.outer_end * self.factor, self.factor)

    def _coarser(self, previous, state, rows, columns):
        """What the scale before gave: pieces of it, and where in their double they begin."""
        if previous is None:
            return []
        pieces = []
        for array, spacing in [(previous, 1), *((part, self.spacing) for part in state)]:
            (top, bottom), (left, right) = (
                (span.outer_begin // spacing, span.outer_end // spacing) for span in (rows, columns)
            )
            # One more row and column: doubling takes means of neighbours.
            pieces.append(array[:, top // 2 : bottom // 2 + 1, left // 2 : right // 2 + 1])
            pieces.append(np.array([top % 2, left % 2, bottom - top, right - left], np.int32))
        return pieces

    def _empty_state(self, part):
        count, height, width, _ = self.shape
        sides = height // self.spacing, width // self.spacing
        return np.empty((count, *sides, part.shape[-1]), np.float32)

    def _place(self, whole, part, rows, columns):
        inner, outer = [], []
        for span in (rows, columns):
            begin, end = span.begin // self.spacing, span.end // self.spacing
            offset = span.outer_begin // self.spacing
            outer.append(slice(begin, end))
            inner.append(slice(begin - offset, end - offset))
        whole[:, outer[0], outer[1]] = np.asarray(part)[:, inner[0], inner[1]]


def _compiled(model, first, last):
    gates = 1 if last and model.gate is not None else 0

    def restore_tile(blurry, *rest):
        strength, coarser = rest[:gates], rest[gates:]
        pieces = [
            _doubled(piece, place) for piece, place in zip(coarser[::2], coarser[1::2], strict=True)
        ]
        previous, *state = pieces or [blurry]
        restored, state = model.restore_scale(blurry, previous, tuple(state) or None, *strength)
        return [restored] if last or state is None else [restored, *state]

    if keras.backend.backend() != "tensorflow":
        return restore_tile
    import tensorflow as tf

    def images(channels):
        return tf.TensorSpec((None, None, None, channels), tf.float32)

    place, signature = tf.TensorSpec((4,), tf.int32), [images(model.channels)]
    signature += [tf.TensorSpec((None, 1, 1, 1), tf.float32)] * gates
    if not first:
        widths = [model.channels, *([model.state_width] * 2 if model.recurrent else [])]
        signature += [spec for width in widths for spec in (images(width), place)]
    return tf.function(restore_tile, input_signature=signature, autograph=False)


def _doubled(piece, place):
    piece = legacy_upsample2(keras.ops.convert_to_tensor(piece))
    top, left, height, width = (place[i] for i in range(4))
    return piece[:, top : top + height, left : left + width]
