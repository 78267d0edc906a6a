"""Prepared records: a set's pairs are written once, and read by their index.

    python -m restore_tf.datasets.records gopro crops --manual_dir GOPRO_Large --data_dir RECORDS

writes `RECORDS/gopro/crops/1.0.0/` with TensorFlow Datasets. Pictures are stored encoded, as
published (PNG or JPEG). The file format is ArrayRecord because it can be read at any index: an
interrupted training resumes at exactly the same pair.

With `--encoding raw` pictures are decoded once and stored as plain pixels: see `raw_records`.

TFDS is imported when records are written or opened, not with this module.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.datasets import cropping, headers, pairing, raw_records
from restore_tf.errors import UserError
from restore_tf.system import log

NAMES = ("blur_dataset", "gopro", "hide", "realblur", "reds")
FILE_FORMAT = "array_record"
ENCODINGS = ("png", "raw")  # files as published, crops as PNG; plain pixels


class Records:
    """Random access to one split of a prepared set.

    Safe to read from several threads. `len(records)` is the number of pairs.

    Args:
      data_dir: the folder given as --data_dir when the records were prepared.
      name: the data set, e.g. "gopro".
      config: e.g. "crops".
      split: e.g. "train".

    Raises:
      UserError: the records are missing, damaged, of another file format, or lack the split.
    """

    def __init__(self, data_dir: str | os.PathLike, name: str, config: str, split: str):
        folder = _version_folder(data_dir, name, config)
        if folder is None:
            raise UserError(
                f"{Path(data_dir) / name / config}: holds no prepared records; prepare them with:"
                f" {prepare_command(name, config, data_dir)}"
            )
        self._folder = folder
        self._split = split
        self._again = f"delete the folder and run: {prepare_command(name, config, data_dir)}"
        self._source = self._open()

    def __len__(self) -> int:
        return len(self._source)

    @property
    def names(self) -> list[str]:
        """The pairs' names in the order of the records, e.g. "GOPR0372_07_00/000047".

        Read from metadata.json. Records of other builders have no names there: split and index are
        used instead.

        Raises:
          UserError: metadata.json is damaged.
        """
        path = self._folder / "metadata.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            names = stored.get("names", {}).get(self._split)
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read ({error}); {self._again}") from None
        if names is None:
            return [f"{self._split}/{index:08d}" for index in range(len(self))]
        return names[: len(self)]

    def encoded(self, index: int) -> tuple[bytes, bytes]:
        """Returns the undecoded (degraded, sharp) files of a pair: PNG or JPEG bytes.

        Args:
          index: of the pair.

        Raises:
          IndexError: there is no such pair.
          UserError: the records are damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self._folder}: index {index}, but it holds {len(self)} pairs.")
        try:
            example = self._source[index]
        except RuntimeError as error:  # what ArrayRecord raises for wrong checksums
            reason = str(error).partition(";")[0]
            raise UserError(f"{self._folder}: damaged records ({reason}); {self._again}") from None
        return bytes(example["degraded"]), bytes(example["sharp"])

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp) of a pair, each (height, width, 3) uint8.

        Args:
          index: of the pair.

        Raises:
          IndexError: there is no such pair.
          UserError: the records are damaged, or a picture cannot be decoded.
        """
        degraded, sharp = self.encoded(index)
        return cropping.decode(degraded), cropping.decode(sharp)

    def read_crop(self, index: int, place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the same place of both pictures, see `sources.FileSource.read_crop`.

        Args:
          index: of the pair.
          place: takes the (height, width) of the degraded picture; returns the crop's (top, left).
          crop: side of the crop, in pixels.

        Raises:
          IndexError: as `read`.
          UserError: as `read`, or the sizes of the two do not fit.
        """
        degraded, sharp = self.encoded(index)
        corner = place(headers.upright_size(degraded))
        return cropping.cut_pair(cropping.cut_file, degraded, sharp, corner, crop)

    def _open(self) -> Any:
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(self._folder)
        info = builder.info
        if info.file_format.value != FILE_FORMAT:
            raise UserError(
                f"{self._folder}: is in the format {info.file_format.value}, but reading at any"
                f" index needs {FILE_FORMAT}; {self._again}"
            )
        if self._split not in info.splits:
            known = ", ".join(info.splits)
            raise UserError(f"{self._folder}: no split {self._split!r}; use one of: {known}.")
        for path in info.splits[self._split].filepaths:
            if not Path(path).is_file():
                raise UserError(f"{path}: no such file; {self._again}")
        skip = tfds.decode.SkipDecoding()
        return builder.as_data_source(self._split, decoders={"degraded": skip, "sharp": skip})


def is_prepared(data_dir: str | os.PathLike, name: str, config: str) -> bool:
    """Whether prepared records exist; looks for their files and opens none.

    Args:
      data_dir: the folder given as --data_dir when they were prepared.
      name: the data set.
      config: its configuration.
    """
    if raw_records.is_prepared(data_dir, name, config):
        return True
    return _version_folder(data_dir, name, config) is not None


def open_records(
    data_dir: str | os.PathLike, name: str, config: str, split: str
) -> Records | raw_records.RawRecords:
    """Opens one split of a prepared set; raw records, if there are any, because they are faster.

    Args:
      data_dir: the folder given as --data_dir when they were prepared.
      name: the data set.
      config: its configuration.
      split: e.g. "train".

    Raises:
      UserError: see `Records` and `raw_records.RawRecords`.
    """
    if not raw_records.is_prepared(data_dir, name, config):
        return Records(data_dir, name, config, split)
    again = prepare_command(name, config, data_dir, "raw")
    return raw_records.RawRecords(data_dir, name, config, split, again)


def prepare_command(
    name: str, config: str, data_dir: str | os.PathLike, encoding: str = "png"
) -> str:
    """Returns the shell command that prepares records, for error messages.

    Args:
      name: the data set.
      config: its configuration.
      data_dir: the records' folder.
      encoding: one of `ENCODINGS`.
    """
    return (
        f"python -m restore_tf.datasets.records {name} {config}"
        f" --manual_dir PUBLISHED_FOLDER --data_dir {data_dir}"
        + ("" if encoding == "png" else f" --encoding {encoding}")
    )


def prepare(
    name: str,
    config: str,
    manual_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    encoding: str = "png",
) -> Path:
    """Writes the records of one config, all splits, and returns their folder.

    Prepared records stay as they are. An interrupted run leaves none: TFDS writes into a folder of
    another name and renames it at the end.

    Args:
      name: the data set, one of NAMES.
      config: one of its configs, e.g. "blur".
      manual_dir: the published folder, downloaded and unpacked by hand.
      data_dir: records are written to `data_dir/name/config/1.0.0/`, or `raw/` for `1.0.0/`.
      encoding: one of ENCODINGS.

    Raises:
      UserError: unknown name, config or encoding, the published folder is not as expected, or the
        disk is too small for raw records.
    """
    if name not in NAMES:
        raise UserError(f"no data set {name!r} to prepare; use one of: {', '.join(NAMES)}.")
    if encoding not in ENCODINGS:
        raise UserError(f"no encoding {encoding!r}; use one of: {', '.join(ENCODINGS)}.")
    layout = importlib.import_module(f"restore_tf.datasets.{name}.layout")
    configs = (*layout.CONFIGS, *getattr(layout, "RECORD_CONFIGS", ()))
    if config not in configs:
        raise UserError(f"{name} has no config {config!r}; use one of: {', '.join(configs)}.")
    pairing.existing_folder(manual_dir, f"the published folder of {name}")
    if encoding == "raw":
        return raw_records.prepare(name, config, layout, manual_dir, data_dir)
    import tensorflow_datasets as tfds

    module = importlib.import_module(f"restore_tf.datasets.{name}.{name}_dataset_builder")
    builder = module.Builder(config=config, data_dir=data_dir)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    )
    return Path(builder.data_path)


def _version_folder(data_dir: str | os.PathLike, name: str, config: str) -> Path | None:
    """Returns the newest prepared version's folder; a half-written one has another name."""
    versions = [
        path
        for path in Path(data_dir).glob(f"{name}/{config}/*/")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.name)
        and (path / "dataset_info.json").is_file()
        and (path / "features.json").is_file()
    ]
    newest_last = sorted(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    return newest_last[-1] if newest_last else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepares records from the command line; returns the exit code.

    Args:
      arguments: without the program's name; None for those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m restore_tf.datasets.records", description="Prepares records of a set."
    )
    parser.add_argument("name", help=", ".join(NAMES))
    parser.add_argument("config", help="e.g. blur or crops")
    parser.add_argument("--manual_dir", required=True, help="the published folder, unpacked")
    parser.add_argument("--data_dir", required=True, help="folder for the records")
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default="png",
        help="png (default): as published, crops as PNG; raw: plain pixels, larger, much faster",
    )
    given = parser.parse_args(arguments)
    log.show()
    try:
        folder = prepare(given.name, given.config, given.manual_dir, given.data_dir, given.encoding)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{folder}: prepared.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
