"""The synthetic data set: (degraded, sharp) pairs made when they are read, without a download.

Sharp pictures are embedded ones, or come from a folder (`sharp_pictures`); the configuration
decides how they are degraded (`degradations`).

Pair i is a pure function of (config, split, seed, i): it is the same in every process and in any
order. Every split has random streams of its own.

Imports NumPy, SciPy and scikit-image (with its Pillow), no TensorFlow.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from restore_tf.datasets.degradations import DEGRADATIONS
from restore_tf.datasets.photographs import SHARP
from restore_tf.datasets.sharp_pictures import SPLITS, Embedded, PhotoFolder
from restore_tf.errors import UserError

CONFIGS = tuple(DEGRADATIONS)

_COUNTS = {"train": 480, "validation": 9, "test": 10}
_SHOTS = {"train": 4000, "validation": 20, "test": 20}  # where every picture is a shot of a kind
_SIDES = {"train": 192, "validation": 256, "test": 256}
_SMALL_SIDE = 96  # of the degraded training pictures, where the sharp ones are larger


class Synthetic:
    """A split of the data set, as a sequence of (degraded, sharp).

    Attributes:
      names: one name per pair, e.g. "leaves-0004" or "chelsea-0000"; of shots with their
        kind, "leaves-0004-moving".
      size: (height, width) of the sharp pictures, in pixels.
      scale: how many times larger than the degraded pictures they are.
      noise: for configurations of noise alone, the noise that training adds to each crop; else
        None.
    """

    def __init__(
        self,
        config: str = "shake",
        split: str = "train",
        seed: int = 0,
        count: int | None = None,
        size: tuple[int, int] | None = None,
        folder: str | os.PathLike | None = None,
    ):
        """Describes the split; pictures are made when they are read.

        Args:
          config: one of `CONFIGS`.
          split: one of `SPLITS`.
          seed: of the pictures, not of the training run: results on held-out splits can be compared
            at one seed only.
          count: number of pairs; None is 480, 9 and 10, of shots 4,000, 20 and 20, more where there
            are many photos in the folder. Further held-out pairs are dead leaves.
          size: (height, width) of the sharp pictures; None is (192, 192) for train and (256, 256)
            else; where they are larger than the degraded ones, 96 times the scale for train, and
            else 256 rounded down to a multiple of the scale. A photo that is too small is
            continued by its mirror image.
          folder: of sharp photos, in place of the embedded pictures; see `PhotoFolder`.

        Raises:
          UserError: an unknown config or split, a negative seed, an impossible count or size, a
            folder without photos.
        """
        _check_member("config", config, CONFIGS)
        _check_member("split", split, SPLITS)
        self.config, self.split, self.seed = config, split, seed
        self._degrade, self.scale, self.noise, self._shot = DEGRADATIONS[config]
        self.size = _default_size(split, self.scale) if size is None else tuple(size)
        if seed < 0 or (count is not None and count < 1):
            raise UserError(f"seed {seed}, count {count}: expected a seed >= 0 and a count >= 1.")
        if len(self.size) != 2 or min(self.size) < 8:
            raise UserError(f"size is {size}; expected (height, width) of at least 8 pixels each.")
        if any(side % self.scale for side in self.size):
            raise UserError(f"size is {size}; {config} takes multiples of {self.scale}.")
        text = self._shot is not None
        self._pictures = Embedded(text) if folder is None else PhotoFolder(folder, text)
        default = _COUNTS if self._shot is None else _SHOTS
        count = count or max(default[split], self._pictures.count(split) or 0)
        self.names = [self._name(index) for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Makes pair `index`: (degraded, sharp), both (height, width, 3) uint8 sRGB.

        The degraded one is smaller by `scale`.

        Raises:
          IndexError: the index is negative or past the end.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}; expected 0 to {len(self) - 1}.")
        entropy = [self.seed, SPLITS.index(self.split), index]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        if self._shot is None:
            return self._degrade(rng, self._pictures.picture(rng, self.split, index, self.size))
        shot = self._shot(index, self.split == "train")
        size = tuple(math.ceil(shot.zoom * side) for side in self.size)
        picture = self._pictures.picture(rng, self.split, index, size, shot.kind in SHARP)
        return self._degrade(rng, picture, shot, self.size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[index] for index in range(len(self)))

    def load_all(self, threads: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
        """Makes all pairs, in order, on a pool of threads.

        Args:
          threads: how many.
        """
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.__getitem__, range(len(self))))

    def _name(self, index):
        kind = ""
        if self._shot is not None:
            kind = f"-{self._shot(index, self.split == 'train').kind}"
        return f"{self._pictures.source(self.split, index)}-{index:04d}{kind}"


def _default_size(split, scale):
    side = _SMALL_SIDE * scale if split == "train" and scale > 1 else _SIDES[split]
    return (side - side % scale,) * 2


def _check_member(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"unknown {what} {value!r}; expected one of {', '.join(known)}.")
