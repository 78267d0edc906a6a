"""Pairs for a network that follows others: their degraded pictures are what a chain gives.

A link trains on a data set that the links before it restored. Their pictures are computed once,
rounded and clipped to 8 bits, and kept in the run directory as PNG files. An interrupted training
computes only those that are missing. A data set that draws new noise for every crop draws it once
per picture here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from restore_tf.datasets import cropping, headers
from restore_tf.datasets.sources import Place, Source
from restore_tf.errors import UserError
from restore_tf.pictures.files import write_picture
from restore_tf.system import outputs
from restore_tf.system.files import atomic_path

RECORD = "record.json"


class AfterChain(Source):
    """Pairs of pictures that a chain restored and the sharp pictures of a data set.

    Nothing can be read before `prepare`.

    Args:
      source: the data set's pairs, see `restore_tf.datasets.sources`.
      scale: how many times larger the chain makes pictures.
      folder: where the chain's pictures are kept.
      facts: what those pictures depend on, such as the SHA-256 of the chain's weights, as JSON.
    """

    def __init__(self, source, scale: int, folder: str | os.PathLike, facts: Mapping[str, Any]):
        self.names = list(source.names)
        self.sizes = source.sizes and [(scale * h, scale * w) for h, w in source.sizes]
        self.output_scale = getattr(source, "output_scale", 1) // scale
        self._source, self._folder = source, Path(folder)
        names = hashlib.sha256("\n".join(self.names).encode("utf-8", "surrogateescape"))
        self._facts = {**facts, "pairs": len(self.names), "names_sha256": names.hexdigest()}

    def pair_of(self, number: int, seed: int) -> int:
        """Returns the index of the pair that sample `number` is cut from; see `Source.pair_of`.

        Args:
          number: of the sample, counted from the training's first.
          seed: the run's.
        """
        return self._source.pair_of(number, seed)

    def missing(self) -> list[int]:
        """Returns the indices of the pairs that are not computed yet."""
        return [index for index in range(len(self)) if not self._file(index).is_file()]

    def check(self) -> None:
        """Checks that the folder's pictures come from this chain and data set.

        Raises:
          UserError: they come from others, or the folder's record cannot be read.
        """
        if not self._folder.is_dir() or not any(self._folder.iterdir()):
            return  # a kill can leave an empty one
        path = self._folder / RECORD
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(
                f"{path}: cannot be read, so the origin of the pictures beside it is unknown; "
                f"remove {self._folder} or pass another --workdir."
            ) from None
        if known != json.loads(json.dumps(self._facts)):
            raise UserError(
                f"{self._folder}: was computed from other weights or pairs; remove it to compute "
                "it again, or pass another --workdir."
            )

    def prepare(self, restore: Callable[[np.ndarray], np.ndarray]) -> None:
        """Computes the missing pictures; those that are done survive an interruption.

        Args:
          restore: the chain as a function of a (height, width, 3) uint8 picture.

        Raises:
          UserError: see `check`; a pair that cannot be read (named), or no space.
        """
        self.check()
        path = outputs.make_folder(self._folder) / RECORD
        if not path.is_file():
            with outputs.writing(path), atomic_path(path) as temporary:
                temporary.write_text(json.dumps(self._facts, indent=2) + "\n", encoding="utf-8")
        for index in tqdm(self.missing(), unit="image", desc="links before", disable=None):
            try:
                degraded, _ = self._source.read(index)
                write_picture(self._file(index), restore(degraded))
            except UserError as error:
                raise UserError(f"{self.names[index]}: {error}") from None
        if self.sizes is None:
            self.sizes = [headers.check_file(self._file(i)).size for i in range(len(self))]

    def _file(self, index):
        return self._folder / f"{index:06}.png"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8.

        Args:
          index: of the pair.
        """
        return cropping.decode(self._file(index)), self._source.read(index)[1]

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a square crop of a pair, from the same place in both pictures.

        Args:
          index: of the pair.
          place: returns (top, left) for a (height, width) in pixels.
          crop: side of the degraded crop in pixels; the sharp one's is `output_scale` times that.

        Returns:
          (degraded, sharp), each uint8.
        """
        top, left = place(self.sizes[index])
        degraded = cropping.cut_file(self._file(index), (top, left), crop)
        corner, side = (self.output_scale * top, self.output_scale * left), self.output_scale * crop
        return degraded, self._source.read_sharp_crop(index, corner, side)
