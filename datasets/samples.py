"""Training samples: sample n is a pure function of (seed, n), the same for every Keras backend.

Samples are numbered 0, 1, 2, … through the whole training. Sample n's pair, crop and augmentation
are drawn in NumPy from the seed and n. So a training can start at any step, and gets the same
samples with any number of threads, workers or devices.

Imports no TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from restore_tf.datasets import pairing
from restore_tf.datasets.augmentation import AUGMENTATIONS, as_float, gray
from restore_tf.errors import UserError

# The purpose of a generator's numbers: the second word of its seed.
_ORDER, _SAMPLE, _NOISE, MIXTURE = 0, 1, 2, 3


class Samples:
    """Makes training samples by their numbers. Safe to call from several threads.

    Args:
      source: pairs read by index, see `sources`. Only crops of them are read.
      crop: side of the square crops of the degraded pictures, in pixels.
      seed: of everything random, at least 0.
      augment: names from `augmentation.AUGMENTATIONS`, applied in this order.
      channels: 3 for RGB, 1 for gray pictures.
      output_scale: how many times larger than the degraded pictures the sharp ones are.
      size_multiple: the multiple of which the network takes crops; None where it is not known.

    Raises:
      UserError: an empty source, pairs of another scale, a picture smaller than the crop, a crop
        that the network does not take, an unknown augmentation.
    """

    def __init__(
        self,
        source,
        *,
        crop: int,
        seed: int,
        augment: Sequence[str] = (),
        channels: int = 3,
        output_scale: int = 1,
        size_multiple: int | None = None,
    ):
        check_training(source, crop, augment, size_multiple, output_scale)
        if seed < 0:
            raise UserError(f"seed {seed}: expected 0 or more.")
        self._source, self._crop, self._seed, self._augment = source, crop, seed, tuple(augment)
        self._channels = channels
        sides = (crop, crop * output_scale)
        self.shapes = (*((side, side, channels) for side in sides), (2,))

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Makes a sample.

        Args:
          number: of the sample, from 0.

        Returns:
          degraded: (crop, crop, channels) float32 in [0, 1], or beyond where noise was added.
          sharp: the same place of the sharp picture, (crop * output_scale, …) likewise.
          seeds: (seed, number) as int32, each modulo 2^32, for a network that draws noise.

        Raises:
          UserError: names the pair that cannot be read or is smaller than the crop.
        """
        number = int(number)
        index = self._source.pair_of(number, self._seed)
        random = np.random.default_rng([self._seed, _SAMPLE, number])

        def place(size):
            if min(size) < self._crop:
                raise UserError(
                    f"is {size[1]}x{size[0]} pixels, smaller than the training crop of "
                    f"{self._crop}; leave it out or choose a smaller crop."
                )
            top, left = random.integers([side - self._crop + 1 for side in size])
            return int(top), int(left)

        try:
            pictures = self._source.read_crop(index, place, self._crop)
        except UserError as error:
            raise UserError(f"{self._source.names[index]}: {error}") from None
        for name in self._augment:
            pictures = AUGMENTATIONS[name](pictures, random)
        degraded, sharp = (as_float(picture) for picture in pictures)
        if self._channels == 1:
            degraded, sharp = gray(degraded), gray(sharp)
        noise = self._source.noise(index)
        if noise is not None:  # after gray, which would weaken it
            degraded = noise.add(degraded, np.random.default_rng([self._seed, _NOISE, number]))
        return degraded, sharp, seeds(self._seed, number)


def seeds(seed: int, number: int) -> np.ndarray:
    """Returns (seed, number) as int32, (2,), each modulo 2^32.

    Args:
      seed: of the training.
      number: of the sample.
    """
    return np.array([seed % 2**32, number % 2**32], np.uint32).view(np.int32)


def pair_index(number: int, count: int, seed: int) -> int:
    """Returns the index of the pair that a sample shows; every epoch is a permutation of its own.

    Args:
      number: of the sample, from 0.
      count: how many pairs there are.
      seed: of the training.
    """
    epoch, place = divmod(number, count)
    return int(_order(seed, epoch, count)[place])


@functools.lru_cache(maxsize=8)
def _order(seed, epoch, count):
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def check_training(
    source,
    crop: int,
    augment: Sequence[str] = (),
    size_multiple: int | None = None,
    output_scale: int = 1,
    field: str = "crop",
) -> None:
    """Checks that a training with this crop can work.

    Args:
      source: pairs read by index, see `sources`.
      crop: side of the square crops of the degraded pictures, in pixels.
      augment: names from `augmentation.AUGMENTATIONS`.
      size_multiple: the multiple of which the network takes crops; None where it is not known.
      output_scale: how many times the network enlarges.
      field: see `pairing.check_crop`.

    Raises:
      UserError: as `Samples`.
    """
    pairing.check_crop(source, crop, size_multiple, field)
    for name in augment:
        if name not in AUGMENTATIONS:
            raise UserError(f"augment {name}: there are {', '.join(AUGMENTATIONS)}.")
    scale = getattr(source, "output_scale", 1)
    if scale != output_scale:
        raise UserError(
            f"the sharp pictures are {scale} times as large as the degraded ones, but the network "
            f"makes them {output_scale} times as large; choose pairs or a network that fit."
        )
