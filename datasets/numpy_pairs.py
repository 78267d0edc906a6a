"""From pairs to training batches without TensorFlow, for `fit` on Keras' JAX and PyTorch backends.

As in `pairs`, everything random about a sample is a function of (seed, number of the sample). The
numbers drawn are others than there: NumPy cannot draw TensorFlow's.
"""

from __future__ import annotations

import functools

import keras
import numpy as np

from restore_tf.datasets import pairing
from restore_tf.errors import UserError


class Batches(keras.utils.PyDataset):
    """Batches of some steps of a training, each (degraded, sharp).

    Both are (batch, crop, crop, channels) float32 in [0, 1].

    Args:
      source: pairs read by index, see `sources`.
      crop: side of the square crops, in pixels.
      batch: pairs a step.
      steps: how many steps.
      seed: of everything random.
      first_sample: number of the first step's first sample.
      augment: names from `AUGMENTATIONS`, applied in this order.
      channels: 3 for RGB, 1 for gray pictures.

    Raises:
      UserError: an empty source, a picture smaller than the crop, an unknown augmentation.
    """

    def __init__(self, source, *, crop, batch, steps, seed, first_sample=0, augment=(), channels=3):
        super().__init__()
        pairing.check_crop(source, crop)
        for name in augment:
            if name not in AUGMENTATIONS:
                raise UserError(f"augment {name}: there are {', '.join(AUGMENTATIONS)}.")
        self._source, self._crop, self._batch, self._steps = source, crop, batch, steps
        self._seed, self._first, self._augment = seed, first_sample, augment
        self._channels = channels
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def __len__(self):
        return self._steps

    def __getitem__(self, step):
        """The batch of one step, counted from 0."""
        begin = self._first + step * self._batch
        samples = np.stack([self._sample(begin + i) for i in range(self._batch)])
        return samples[:, 0], samples[:, 1]

    def _sample(self, number):
        epoch, place = divmod(number, len(self._source))
        pair = self._source.read(int(self._order(epoch)[place]))
        rng = np.random.default_rng([self._seed, 1, number])
        height, width = pair[0].shape[:2]
        top, left = rng.integers((height - self._crop + 1, width - self._crop + 1))
        rows, columns = slice(top, top + self._crop), slice(left, left + self._crop)
        pair = np.stack([picture[rows, columns] for picture in pair]).astype(np.float32) / 255
        for name in self._augment:
            pair = AUGMENTATIONS[name](pair, rng)
        return _gray(pair) if self._channels == 1 else pair

    def _shuffled(self, epoch):
        return np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._source))


def _flip_rotate(pair, rng):
    draw = rng.integers(9) % 8  # 0 and 8 are both the identity, as in `augmentation`
    pair = np.rot90(pair, draw % 4, axes=(1, 2))
    return pair[:, :, ::-1] if draw >= 4 else pair


def _saturation(pair, rng):
    if rng.random() >= 1 / 3:
        return pair
    gray = _gray(pair)
    return np.clip(gray + np.float32(rng.uniform(0.8, 1.2)) * (pair - gray), 0, 1)


def _gray(pair):
    # tf.image.rgb_to_grayscale's weights.
    return pair @ np.array([[0.2989], [0.5870], [0.1140]], np.float32)


AUGMENTATIONS = {"flip_rotate": _flip_rotate, "saturation": _saturation}
