"""Where pairs come from: files, prepared records or arrays in memory, all read by index.

Every source has `names`, `len()`, `read(index)` for NumPy and `tensors(index)` for the graph of
`pairs.training_batches`. Reading by index is what lets a training start at any step.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

from restore_tf.datasets import pairing
from restore_tf.errors import UserError
from restore_tf.images import read_rgb

# Data sets read from their published folder layout: datasets/<name>/layout.py.
FOLDER_LAYOUTS = ("gopro", "reds", "hide", "realblur", "blur_dataset")
NAMES = (*FOLDER_LAYOUTS, "folder", "synthetic")


class FileSource:
    """Pairs of picture files, decoded when read.

    Raises:
      UserError: from `pairing.check`: a file is unreadable or truncated, or sizes differ.
    """

    def __init__(self, pairs: Sequence[pairing.Pair]):
        self.pairs = list(pairs)
        self.sizes = pairing.check(self.pairs)
        self.names = [pair.name for pair in self.pairs]

    def __len__(self):
        return len(self.pairs)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        pair = self.pairs[index]
        return read_rgb(pair.degraded), read_rgb(pair.sharp)

    def tensors(self, index):
        """Returns (degraded, sharp) for a scalar int64 tensor, each (height, width, 3) uint8."""
        import tensorflow as tf

        paths = tf.constant([[str(pair.degraded), str(pair.sharp)] for pair in self.pairs])
        return tuple(_decode(tf.io.read_file(path)) for path in tf.unstack(paths[index]))


class RecordSource:
    """Pairs prepared with TensorFlow Datasets (see `records.Records`), decoded when read."""

    def __init__(self, records):
        self.records = records
        self.names = records.names
        self.sizes = None  # known only after decoding

    def __len__(self):
        return len(self.records)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        return tuple(_decode(data).numpy() for data in self.records.encoded(index))

    def tensors(self, index):
        """Returns (degraded, sharp) for a scalar int64 tensor, each (height, width, 3) uint8."""
        import tensorflow as tf

        encoded = tf.numpy_function(
            lambda i: self.records.encoded(int(i)), [index], [tf.string, tf.string], stateful=False
        )
        return tuple(_decode(tf.ensure_shape(data, ())) for data in encoded)


class MemorySource:
    """Decoded pairs kept in RAM, of one size or of many.

    They lie in one flat buffer of bytes, so that a training step copies no more than it uses.

    Args:
      names: one per pair.
      arrays: (degraded, sharp) of each, both (height, width, 3) uint8.
    """

    def __init__(self, names: Sequence[str], arrays: Iterable[tuple[np.ndarray, np.ndarray]]):
        self.names = list(names)
        pieces, shapes = [], []
        for pair in arrays:
            pieces.append(np.stack(pair).reshape(-1))
            shapes.append(pair[0].shape)
        self.sizes = [shape[:2] for shape in shapes]
        self._shapes = np.array(shapes, np.int64)
        self._offsets = np.cumsum([0] + [piece.size for piece in pieces])
        self._buffer = np.concatenate(pieces)

    def __len__(self):
        return len(self.names)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8."""
        piece = self._buffer[self._offsets[index] : self._offsets[index + 1]]
        return tuple(piece.reshape(2, *self._shapes[index]))

    def tensors(self, index):
        """Returns (degraded, sharp) for a scalar int64 tensor, each (height, width, 3) uint8."""
        import tensorflow as tf

        with tf.init_scope():  # one tensor beside the graph, not a constant inside it
            buffer = tf.constant(self._buffer)
            offsets, shapes = tf.constant(self._offsets), tf.constant(self._shapes)
        begin, end = offsets[index], offsets[index + 1]
        pair = tf.reshape(buffer[begin:end], tf.concat([[2], shapes[index]], axis=0))
        pair = tf.ensure_shape(pair, (2, None, None, 3))
        return pair[0], pair[1]


def cached(source) -> MemorySource:
    """Decodes every pair of a source into RAM."""
    return MemorySource(source.names, (source.read(index) for index in range(len(source))))


def _decode(data):
    import tensorflow as tf

    return tf.io.decode_image(data, channels=3, expand_animations=False)


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
        return RecordSource(records.Records(data_dir, name, config, split))
    return FileSource(layout.find_pairs(data_dir, config, split))


def _synthetic(config, split, seed):
    from restore_tf.datasets.synthetic import CONFIGS, Synthetic

    # Held-out pictures are the same for every training seed, so that results can be compared.
    pictures = Synthetic(config or CONFIGS[0], split, seed=seed if split == "train" else 0)
    return MemorySource(pictures.names, pictures.load_all())


def _folder_pairs(split, data_dir, degraded_dir, sharp_dir):
    from restore_tf.datasets import folder

    pairs = folder.find_pairs(data_dir, degraded_dir, sharp_dir)
    if split == "test":
        return pairs
    # Two folders say nothing of sequences: a sub-folder counts as one.
    training, validation = pairing.hold_out(pairs, lambda pair: pair.name.rpartition("/")[0])
    return training if split == "train" else validation
