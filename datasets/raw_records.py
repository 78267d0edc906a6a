"""Raw records: a set's pairs decoded once into flat files, from which crops are copied.

    python -m restore_tf.datasets.records gopro blur --encoding raw --manual_dir GOPRO_Large \\
      --data_dir RECORDS

writes `RECORDS/gopro/blur/raw/`: for every split a file of pixels alone (pair after pair, degraded
and sharp, each height x width x 3 bytes), and `index.json` with names, sizes, checksums. The files
are mapped into memory, so a crop costs no more than copying its rows, and processes share the
system's file cache.

TFDS' ArrayRecord is not used for these: it copies a whole record four times before a crop can be
cut, which took 6 ms of a core for a pair of 512x512 where this takes 0.1.

Imports neither TensorFlow nor TensorFlow Datasets.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from tqdm import tqdm

from restore_tf.datasets import cropping, pairing
from restore_tf.errors import UserError

INDEX = "index.json"


class RawRecords:
    """One split of raw records, read by index; safe to read from several threads.

    Args:
      data_dir: the folder given as --data_dir when they were prepared.
      name: the data set, e.g. "gopro".
      config: e.g. "blur".
      split: e.g. "train".
      again: the command that prepares the records, for messages.

    Attributes:
      names: of the pairs, e.g. "GOPR0372_07_00/000047".
      sizes: (height, width) of each.

    Raises:
      UserError: the index or the file is missing or damaged, or there is no such split.
    """

    def __init__(
        self, data_dir: str | os.PathLike, name: str, config: str, split: str, again: str = ""
    ):
        self._folder, self._split = folder_of(data_dir, name, config), split
        self._again = f"delete {self._folder} and run: {again}"
        entry = self._read_index()
        self.names = entry["names"]
        self.sizes = [tuple(size) for size in entry["sizes"]]
        self._checksums = entry["checksums"]
        lengths = [2 * height * width * 3 for height, width in self.sizes]
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._bytes = self._map()

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp) of a pair, each (height, width, 3) uint8, read-only.

        Args:
          index: of the pair.

        Raises:
          IndexError: there is no such pair.
          UserError: its checksum is wrong.
        """
        pair = self._pair(index)
        if zlib.crc32(pair) != self._checksums[index]:
            raise UserError(
                f"{self._folder}: damaged records ({self._split} pair {index},"
                f" {self.names[index]}: wrong checksum); {self._again}"
            )
        return pair[0], pair[1]

    def read_crop(self, index: int, place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the same place of both pictures, see `sources.FileSource.read_crop`.

        Checksums are not verified: that would mean reading both pictures.

        Args:
          index: of the pair.
          place: takes the (height, width) of the pictures; returns the crop's (top, left).
          crop: side of the crop, in pixels.

        Raises:
          IndexError: there is no such pair.
          UserError: the crop reaches beyond the pictures.
        """
        pair = self._pair(index)
        return cropping.cut_pair(cropping.cut, *pair, place(self.sizes[index]), crop)

    def _pair(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"{self._folder}: index {index}, but it holds {len(self)} pairs.")
        start, end = self._starts[index : index + 2]
        return self._bytes[start:end].reshape(2, *self.sizes[index], 3)

    def _read_index(self):
        path = self._folder / INDEX
        try:
            splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
            if self._split not in splits:
                known = ", ".join(splits)
                raise UserError(f"{self._folder}: no split {self._split!r}; use one of: {known}.")
            return splits[self._split]
        except (OSError, KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read ({error}); {self._again}") from None

    def _map(self):
        path, expected = self._folder / f"{self._split}.raw", int(self._starts[-1])
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            what = "no such file" if found is None else f"has {found} bytes, not {expected}"
            raise UserError(f"{path}: {what}; {self._again}")
        # Plain arrays index faster than np.memmap, whose every slice is a memmap again.
        return np.asarray(np.memmap(path, np.uint8, "r"))


def folder_of(data_dir: str | os.PathLike, name: str, config: str) -> Path:
    """Returns the folder of raw records.

    Args:
      data_dir: the folder given as --data_dir when they were prepared.
      name: the data set, e.g. "gopro".
      config: its configuration, e.g. "blur".
    """
    return Path(data_dir) / name / config / "raw"


def is_prepared(data_dir: str | os.PathLike, name: str, config: str) -> bool:
    """Whether raw records exist; looks for the index and opens nothing.

    Args:
      data_dir: as for `folder_of`.
      name: the data set.
      config: its configuration.
    """
    return (folder_of(data_dir, name, config) / INDEX).is_file()


def prepare(
    name: str,
    config: str,
    layout: ModuleType,
    manual_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
) -> Path:
    """Writes the raw records of one config, all splits, and returns their folder.

    Prepared records stay as they are. An interrupted run leaves none: everything is written into a
    folder of another name, which is renamed at the end.

    Args:
      name: the data set, e.g. "gopro".
      config: one of its configs, e.g. "blur".
      layout: the set's layout module.
      manual_dir: the published folder, unpacked.
      data_dir: the records are written to `data_dir/name/config/raw/`.

    Raises:
      UserError: the published folder is not as expected, or the disk is too small.
    """
    folder = folder_of(data_dir, name, config)
    if is_prepared(data_dir, name, config):
        return folder
    crops = config in getattr(layout, "RECORD_CONFIGS", ())
    published = layout.CONFIGS[0] if crops else config
    found = {split: layout.find_pairs(manual_dir, published, split) for split in layout.SPLITS}
    pieces = {
        split: _pieces(layout, pairs, crops and split != "test") for split, pairs in found.items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_room(folder.parent, pieces)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".raw."))
    try:
        splits = {
            split: _write(temporary / f"{split}.raw", _pictures(pairs, pieces[split]))
            for split, pairs in found.items()
        }
        (temporary / INDEX).write_text(json.dumps({"splits": splits}), encoding="utf-8")
        temporary.chmod(0o755)  # mkdtemp makes folders that only the owner can read
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _pieces(layout, pairs, crops):
    """The stored parts of every pair, as [(name, (top, left, height, width))]."""
    sizes = pairing.check(pairs)
    if not crops:
        return [[(pair.name, (0, 0, *size))] for pair, size in zip(pairs, sizes, strict=True)]
    return [
        [(layout.crop_name(pair, box), box) for box in layout.crop_boxes(*size)]
        for pair, size in zip(pairs, sizes, strict=True)
    ]


def _check_room(folder, pieces):
    boxes = [box for split in pieces.values() for pair in split for _, box in pair]
    needed = sum(2 * height * width * 3 for _, _, height, width in boxes)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: has {free / 1e9:.1f} GB free, but these records take {needed / 1e9:.1f} GB;"
            " pass another --data_dir, or --encoding png."
        )


def _pictures(pairs, pieces) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name, (2, height, width, 3) uint8) of all stored parts of a split."""
    for pair, wanted in zip(
        tqdm(pairs, unit="pair", leave=False, disable=None), pieces, strict=True
    ):
        pictures = np.stack([cropping.decode(path) for path in (pair.degraded, pair.sharp)])
        for name, (top, left, height, width) in wanted:
            yield name, pictures[:, top : top + height, left : left + width]


def _write(path, pictures):
    entry = {"names": [], "sizes": [], "checksums": []}
    with open(path, "wb") as file:
        for name, pair in pictures:
            data = pair.tobytes()
            file.write(data)
            entry["names"].append(name)
            entry["sizes"].append(pair.shape[1:3])
            entry["checksums"].append(zlib.crc32(data))
    return entry
