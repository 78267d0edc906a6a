"""Where pairs come from: files, prepared records or arrays in memory, all read by index.

Every source has `names`, `len()`, `read(index)` for whole pictures and `crops(index, draw, crop)`
for the graph of `pairs.training_batches`. Reading by index is what lets a training start at any
step.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

from restore_tf.datasets import cropping, pairing
from restore_tf.datasets.python_calls import python_call
from restore_tf.errors import UserError

# Data sets read from their published folder layout: datasets/<name>/layout.py.
FOLDER_LAYOUTS = ("gopro", "reds", "hide", "realblur", "blur_dataset")
NAMES = (*FOLDER_LAYOUTS, "folder", "synthetic")


class Source:
    """What all sources share. A source has `names`, `sizes`, `read` and `read_crop`.

    names: one per pair.
    sizes: (height, width) of each pair, or None where they are known only after decoding.
    """

    def __len__(self):
        return len(self.names)

    def crops(self, index, draw, crop: int, symmetry=0):
        """Returns the same crop of both pictures, as a tensor (2, crop, crop, 3) uint8.

        It is cut and turned before it becomes a tensor: no more is decoded or copied than is used.

        Args:
          index: scalar int64 tensor.
          draw: int32 tensor of shape (2,), see `cropping.corner`.
          crop: side of the square, in pixels.
          symmetry: scalar int32 tensor, which way both are turned, see `cropping.turn`.

        Raises:
          tf.errors.OpError: when run; the pair cannot be read (named) or is smaller than the crop.
        """
        import tensorflow as tf

        def cut(index, draw, symmetry):
            try:
                return cropping.turn(self.read_crop(int(index), draw, crop), int(symmetry))
            except UserError as error:
                raise UserError(f"{self.names[int(index)]}: {error}") from None

        return python_call(cut, [index, draw, symmetry], (2, crop, crop, 3), tf.uint8)

    def tensors(self, index):
        """Returns (degraded, sharp) for a scalar int64 tensor, each (height, width, 3) uint8."""
        import tensorflow as tf

        def read(index):
            try:
                return np.stack(self.read(int(index)))
            except UserError as error:
                raise tf.errors.InvalidArgumentError(None, None, str(error)) from None

        pair = python_call(read, [index], (2, None, None, 3), tf.uint8)
        return pair[0], pair[1]


class FileSource(Source):
    """Pairs of picture files, decoded when read.

    Raises:
      UserError: from `pairing.check`: a file is unreadable or truncated, or sizes differ.
    """

    def __init__(self, pairs: Sequence[pairing.Pair]):
        self.pairs = list(pairs)
        self.sizes = pairing.check(self.pairs)
        self.names = [pair.name for pair in self.pairs]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        pair = self.pairs[index]
        return cropping.decode(pair.degraded), cropping.decode(pair.sharp)

    def read_crop(self, index: int, draw, crop: int) -> np.ndarray:
        """Returns the same crop of both, (2, crop, crop, 3) uint8."""
        pair = self.pairs[index]
        return np.stack(
            [cropping.cut_file(path, draw, crop) for path in (pair.degraded, pair.sharp)]
        )


class RecordSource(Source):
    """Prepared pairs, see `records.Records` and `raw_records.RawRecords`."""

    def __init__(self, records):
        self.records = records
        self.names = records.names
        self.sizes = getattr(records, "sizes", None)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        return self.records.read(index)

    def read_crop(self, index: int, draw, crop: int) -> np.ndarray:
        """Returns the same crop of both, (2, crop, crop, 3) uint8."""
        return self.records.read_crop(index, draw, crop)


class MemorySource(Source):
    """Decoded pairs kept in RAM, of one size or of many.

    Args:
      names: one per pair.
      arrays: (degraded, sharp) of each, both (height, width, 3) uint8.
    """

    def __init__(self, names: Sequence[str], arrays: Iterable[tuple[np.ndarray, np.ndarray]]):
        self.names = list(names)
        self._pairs = [np.stack(pair) for pair in arrays]
        self.sizes = [pair.shape[1:3] for pair in self._pairs]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        return tuple(self._pairs[index])

    def read_crop(self, index: int, draw, crop: int) -> np.ndarray:
        """Returns the same crop of both, (2, crop, crop, 3) uint8."""
        return cropping.cut(self._pairs[index], draw, crop)


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
        return tuple(self._pair(index))

    def read_crop(self, index: int, draw, crop: int) -> np.ndarray:
        """Returns the same crop of both, (2, crop, crop, 3) uint8."""
        return cropping.cut(self._pair(index), draw, crop)

    def _pair(self, index):
        pair = self._pairs[index]
        if pair is None:  # two threads may make the same one, and make it alike
            pair = self._pairs[index] = np.stack(self._pictures[index])
        return pair


def cached(source) -> MemorySource:
    """Decodes every pair of a source into RAM."""
    return MemorySource(source.names, (source.read(index) for index in range(len(source))))


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

    Raises:
      UserError: no such set, config or split; a missing folder or partner; a damaged file.
    """
    if name == "synthetic":
        return _synthetic(config, split, seed)
    if name == "folder":
        return FileSource(_folder_pairs(split, data_dir, degraded_dir, sharp_dir))
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
    training, validation = pairing.hold_out(pairs, lambda pair: pair.name.rpartition("/")[0])
    return training if split == "train" else validation
