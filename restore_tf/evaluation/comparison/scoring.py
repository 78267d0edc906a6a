"""Scores of a row's pictures, kept on disk: nothing is scored twice.

    OUTPUT/pictures/BLOCK/ROW/PICTURE.png    output of the row's networks, 8-bit
    OUTPUT/scores/BLOCK/ROW.json             {"of": digest, "scores": {picture: {metric: value}}}

The digest identifies what made the pictures: when weights change, all of a row's pictures are made
again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.evaluation import score
from restore_tf.evaluation.comparison.results import BICUBIC, INPUT, SHARP, UNSHARP, Block, Picture
from restore_tf.pictures.files import read_rgb, write_picture
from restore_tf.pictures.planes import enlarged_to
from restore_tf.system import outputs
from restore_tf.system.files import atomic_path

PICTURES, SCORES = "pictures", "scores"

Restore = Callable[[str, np.ndarray], np.ndarray]


class TestPairs:
    """The test pictures of a block: a part of a source, the same for every row.

    Args:
      name: the block's.
      dataset: that the source comes from.
      config: of the data set.
      split: of the data set.
      source: pairs read by index, see `restore_tf.datasets.sources`.
      limit: the most pairs, evenly spaced over the source; None for all.

    Raises:
      UserError: no pairs.

    Attributes:
      block: its `Block` in a `Comparison`.
    """

    __test__ = False  # pytest

    def __init__(self, name: str, dataset: str, config: str, split: str, source, limit=None):
        if not len(source):
            raise UserError(f"{dataset}:{config}/{split}: has no pairs.")
        count = len(source) if limit is None else min(limit, len(source))
        places = np.unique(np.linspace(0, len(source) - 1, count).round().astype(int))
        chosen = sorted((source.names[index], int(index)) for index in places)
        self._source, self._indices = source, dict(chosen)
        self.scale = source.output_scale
        pictures = [Picture(each, _sequence(each), self._size(each)) for each in self._indices]
        self.block = Block(name, dataset, config, split, pictures)

    def read(self, picture: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8.

        Args:
          picture: its name.

        Raises:
          UserError: names a picture that cannot be read.
        """
        try:
            return self._source.read(self._indices[picture])
        except UserError as error:
            raise UserError(f"{self.block.name}/{picture}: {error}") from None

    def _size(self, picture):
        index = self._indices[picture]
        if self._source.sizes is None:
            return tuple(self._source.read(index)[1].shape[:2])
        return tuple(self.scale * side for side in self._source.sizes[index])


def _sequence(name):
    """The video that a picture is a frame of: the folder in its name."""
    return name.rpartition("/")[0] or None


def baselines(scale: int) -> dict[str, Restore]:
    """Returns {row: function} of the rows that need no network, without the sharp one.

    Args:
      scale: how many times larger networks make the pictures; where they do, the input is enlarged
        by repeating its pixels, and bicubic enlargement is a row of its own.
    """
    if scale == 1:
        return {INPUT: lambda name, degraded: degraded, UNSHARP: lambda n, d: score.unsharp(d)}

    def enlarged(degraded):
        return enlarged_to(degraded, tuple(scale * side for side in degraded.shape[:2]))

    return {
        INPUT: lambda name, degraded: degraded.repeat(scale, axis=0).repeat(scale, axis=1),
        UNSHARP: lambda name, degraded: score.unsharp(enlarged(degraded)),
        BICUBIC: lambda name, degraded: enlarged(degraded),
    }


class Scorer:
    """Restores and scores pictures, or reads stored scores.

    Args:
      folder: the comparison's.
      metrics: names; those that cannot be measured on this machine are left out.
      advance: called once for each picture that is done.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        metrics: Sequence[str],
        advance: Callable[[], None] = lambda: None,
    ):
        lacking = score.missing(metrics)
        self.metrics = [name for name in metrics if name not in lacking]
        self._folder, self._advance = Path(folder), advance

    def write_sharp(self, pairs: TestPairs) -> None:
        """Stores the sharp pictures, which have no scores.

        Args:
          pairs: the block's pictures.
        """
        for picture in pairs.block.pictures:
            path = self.path(pairs, SHARP, picture.name)
            if not path.is_file():
                _write(path, pairs.read(picture.name)[1])

    def path(self, pairs: TestPairs, row: str, picture: str) -> Path:
        """Returns the path of a row's picture.

        Args:
          pairs: the block's pictures.
          row: its name.
          picture: its name.
        """
        return self._folder / PICTURES / pairs.block.name / row / f"{picture}.png"

    def digest(self, pairs: TestPairs, row: str) -> str:
        """Returns the digest that `score` stored with a row's pictures.

        Args:
          pairs: the block's pictures.
          row: its name.
        """
        path = self._folder / SCORES / pairs.block.name / f"{row}.json"
        return json.loads(path.read_text(encoding="utf-8"))["of"]

    def score(
        self,
        row: str,
        pairs: TestPairs,
        restore: Restore,
        digest: str = "",
        names: Sequence[str] | None = None,
        keep: bool = True,
    ) -> dict[str, dict[str, float]]:
        """Returns {picture: {metric: value}} of all pictures of a block.

        Args:
          row: name of the row and of its files.
          pairs: the block's pictures.
          restore: takes a picture's name and the degraded picture, returns the restored one.
          digest: of whatever the pictures depend on, such as the weights.
          names: metrics in place of the scorer's; None for the scorer's.
          keep: whether the pictures are kept as files.

        Raises:
          UserError: names a picture that cannot be read or restored.
        """
        wanted = [name for name in names or self.metrics if name in self.metrics]
        path = self._folder / SCORES / pairs.block.name / f"{row}.json"
        known = _read(path, digest)
        if known is None:
            known = {}
            shutil.rmtree(self._folder / PICTURES / pairs.block.name / row, ignore_errors=True)
            _save(path, digest, known)
        for picture in pairs.block.pictures:
            missing = _missing(wanted, known.get(picture.name, {}), picture.size)
            file = self.path(pairs, row, picture.name)
            if missing or (keep and not file.is_file()):
                found = self._score(pairs, picture.name, restore, missing, file if keep else None)
                known[picture.name] = {**known.get(picture.name, {}), **found}
                _save(path, digest, known)
            self._advance()
        return {
            picture.name: {name: known[picture.name][name] for name in wanted
                           if name in known[picture.name]}
            for picture in pairs.block.pictures
        }  # fmt: skip

    def _score(self, pairs, name, restore, metrics, file):
        degraded, sharp = pairs.read(name)
        if file is not None and file.is_file():
            restored = read_rgb(file)
        else:
            restored = restore(name, degraded)
            if restored.shape != sharp.shape:
                raise UserError(
                    f"{pairs.block.name}/{name}: restored to {restored.shape[1]}x"
                    f"{restored.shape[0]} pixels, but the sharp one has {sharp.shape[1]}x"
                    f"{sharp.shape[0]}."
                )
            if file is not None:
                _write(file, restored)
        shave = pairs.scale if pairs.scale > 1 else 0
        return score.score(sharp, restored, metrics, shave)[0]


def _missing(wanted, known, size):
    return [name for name in wanted if name not in known and not score.too_small(name, size)]


def _read(path, digest):
    """The scores of a file; None where there are none of that digest."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["scores"] if content["of"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(path, digest, scores):
    outputs.make_folder(path.parent)
    with outputs.writing(path), atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"of": digest, "scores": scores}), encoding="utf-8")


def _write(path, pixels):
    outputs.make_folder(path.parent)
    write_picture(path, pixels)


def blends(
    first: Callable[[str], np.ndarray], second: Callable[[str], np.ndarray], shares: Sequence[float]
) -> Iterator[tuple[float, Restore]]:
    """Yields (share, function) that mixes two pictures of a name, in 8 bits as files hold them.

    Args:
      first: function of a picture's name that returns it as uint8.
      second: likewise.
      shares: of the second, from 0 to 1.
    """
    for share in shares:

        def mixed(name, degraded, share=share):
            total = (1 - share) * first(name).astype(np.float64) + share * second(name)
            return np.rint(total).astype(np.uint8)

        yield share, mixed
