"""Where pairs come from: files, prepared records or arrays in memory, all read by index.

Every source has `names`, `len()`, `read(index)` for whole pictures and `read_crop(index, place,
crop)` for training. Reading by index is what lets a training start at any step.

Imports no TensorFlow.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from restore_tf.datasets import cropping, pairing
from restore_tf.errors import UserError

# Data sets read from their published folder layout: datasets/<name>/layout.py.
FOLDER_LAYOUTS = ("gopro", "reds", "hide", "realblur", "blur_dataset")
NAMES = (*FOLDER_LAYOUTS, "folder", "synthetic")


# From the (height, width) of a degraded picture, where its crop lies: (top, left), in pixels.
Place = Callable[[tuple[int, int]], tuple[int, int]]


class Source:
    """What all sources share. A source has `names`, `sizes`, `read` and `read_crop`.

    Attributes:
      names: one per pair.
      sizes: (height, width) of each degraded picture, or None where they are known only after
        decoding.
      output_scale: how many times larger than these the sharp pictures are.
    """

    output_scale = 1

    def __len__(self):
        return len(self.names)

    def read_sharp_crop(self, index: int, corner: Sequence[int], crop: int) -> np.ndarray:
        """Returns a square of a pair's sharp picture alone, (crop, crop, 3) uint8.

        Args:
          index: of the pair.
          corner, crop: its (top, left) and side, in pixels of the sharp picture.
        """
        return cropping.cut(self.read(index)[1], corner, crop)


class FileSource(Source):
    """Pairs of picture files, decoded when read.

    Args:
      pairs: the files.
      output_scale: how many times larger than the degraded pictures the sharp ones are.

    Raises:
      UserError: from `pairing.check`: a file is unreadable or truncated, or sizes do not fit.
    """

    def __init__(self, pairs: Sequence[pairing.Pair], output_scale: int = 1):
        self.pairs = list(pairs)
        self.output_scale = output_scale
        self.sizes = pairing.check(self.pairs, output_scale)
        self.names = [pair.name for pair in self.pairs]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        pair = self.pairs[index]
        return cropping.decode(pair.degraded), cropping.decode(pair.sharp)

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the same place of both pictures, squares of uint8, see `cropping.cut_pair`.

        Args:
          index: of the pair.
          place: called once, with the size of the degraded picture.
          crop: side of the degraded crop, in pixels.

        Raises:
          UserError: a file cannot be read, or is not of the size that it was.
        """
        _, degraded, sharp = self.pairs[index]
        corner = place(self.sizes[index])
        return cropping.cut_pair(
            cropping.cut_file, degraded, sharp, corner, crop, self.output_scale
        )

    def read_sharp_crop(self, index: int, corner: Sequence[int], crop: int) -> np.ndarray:
        """See `Source.read_sharp_crop`; of a PNG no more is decoded than needed."""
        return cropping.cut_file(self.pairs[index].sharp, corner, crop)


class RecordSource(Source):
    """Prepared pairs, see `records.Records` and `raw_records.RawRecords`."""

    def __init__(self, records):
        self.records = records
        self.names = records.names
        self.sizes = getattr(records, "sizes", None)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        return self.records.read(index)

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """See `FileSource.read_crop`."""
        return self.records.read_crop(index, place, crop)


class MemorySource(Source):
    """Decoded pairs kept in RAM, of one size or of many.

    Args:
      names: one per pair.
      arrays: (degraded, sharp) of each, both (height, width, 3) uint8.
      output_scale: how many times larger than the degraded pictures the sharp ones are.

    Raises:
      UserError: names the first pair whose sizes do not fit.
    """

    def __init__(
        self,
        names: Sequence[str],
        arrays: Iterable[tuple[np.ndarray, np.ndarray]],
        output_scale: int = 1,
    ):
        self.names = list(names)
        self.output_scale = output_scale
        self._pairs = [tuple(pair) for pair in arrays]
        self.sizes = [degraded.shape[:2] for degraded, _ in self._pairs]
        for name, (degraded, sharp) in zip(self.names, self._pairs, strict=True):
            pairing.check_sizes(name, degraded.shape[:2], "", sharp.shape[:2], output_scale)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        return self._pairs[index]

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """See `FileSource.read_crop`."""
        corner = place(self.sizes[index])
        return cropping.cut_pair(cropping.cut, *self._pairs[index], corner, crop, self.output_scale)


class SyntheticSource(Source):
    """Pairs of the embedded data set, each made when it is first read and kept in RAM.

    Making all of them takes 15 seconds of a core: too long to wait for before the first step.

    Args:
      pictures: a `synthetic.Synthetic`.
    """

    def __init__(self, pictures):
        self.names = pictures.names
        self.sizes = [pictures.size] * len(pictures)
        self._pictures = pictures
        self._pairs = [None] * len(pictures)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        pair = self._pairs[index]
        if pair is None:  # two threads may make the same one, and make it alike
            pair = tuple(map(np.ascontiguousarray, self._pictures[index]))
            self._pairs[index] = pair
        return pair

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """See `FileSource.read_crop`."""
        corner = place(self.sizes[index])
        return cropping.cut_pair(cropping.cut, *self.read(index), corner, crop)


def cached(source) -> MemorySource:
    """Decodes every pair of a source into RAM."""
    # Copies: what raw records hand out is a piece of their file.
    pairs = (tuple(map(np.array, source.read(index))) for index in range(len(source)))
    return MemorySource(source.names, pairs, source.output_scale)


def default_config(name: str) -> str:
    """Returns the configuration a data set has when none is named."""
    if name == "synthetic":
        from restore_tf.datasets.synthetic import CONFIGS

        return CONFIGS[0]
    if name == "folder":
        return "pairs"
    return _layout(name).CONFIGS[0]


def _layout(name):
    if name not in FOLDER_LAYOUTS:
        raise UserError(f"--dataset {name}: no such data set; there are {', '.join(NAMES)}.")
    return importlib.import_module(f"restore_tf.datasets.{name}.layout")


def open_source(
    name: str,
    config: str | None,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    degraded_dir: str | os.PathLike | None = None,
    sharp_dir: str | os.PathLike | None = None,
    seed: int = 0,
    output_scale: int = 1,
):
    """Opens one split of a data set.

    Args:
      name: one of `NAMES`.
      config: the set's configuration, None for its default.
      split: "train", "validation" or "test".
      data_dir: the published folder layout, or a TensorFlow Datasets directory with prepared
        records of the set, which are then read instead.
      degraded_dir, sharp_dir: the two folders of `folder`.
      seed: draws the training pictures of `synthetic`.
      output_scale: how many times larger than the degraded pictures the sharp ones are.

    Raises:
      UserError: no such set, config or split; a missing folder or partner; a damaged file; two
        pictures of a pair whose sizes do not fit.
    """
    if output_scale != 1 and name != "folder":
        raise UserError(
            f"--dataset {name}: its two pictures of a pair have one size, but the network makes "
            f"pictures {output_scale} times as large; use --dataset folder."
        )
    if name == "synthetic":
        return _synthetic(config, split, seed)
    if name == "folder":
        pairs = _folder_pairs(split, data_dir, degraded_dir, sharp_dir)
        return FileSource(pairs, output_scale)
    layout = _layout(name)
    if data_dir is None:
        raise UserError(f"--dataset {name}: needs --data_dir, the folder that holds it.")
    from restore_tf.datasets import records

    config = config or layout.CONFIGS[0]
    if records.is_prepared(data_dir, name, config):
        return RecordSource(records.open_records(data_dir, name, config, split))
    return FileSource(layout.find_pairs(data_dir, config, split))


def _synthetic(config, split, seed):
    from restore_tf.datasets.synthetic import CONFIGS, Synthetic

    # Held-out pictures are the same for every training seed, so that results can be compared.
    return SyntheticSource(
        Synthetic(config or CONFIGS[0], split, seed=seed if split == "train" else 0)
    )


def _folder_pairs(split, data_dir, degraded_dir, sharp_dir):
    from restore_tf.datasets import folder

    pairs = folder.find_pairs(data_dir, degraded_dir, sharp_dir)
    if split == "test":
        return pairs
    # Two folders say nothing of sequences: a sub-folder counts as one.
    return pairing.training_split(pairs, split)
