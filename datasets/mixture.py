"""Mixes several data sets: 'gopro:blur@0.5,realblur:j@0.3,synthetic:shake@0.2'.

Of every 1,000 training samples, each part has exactly its share, in an order drawn from the seed.
Within a part, samples come as they would from that set alone, every pair once an epoch of its own.
So sample n stays a pure function of (seed, n).
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from restore_tf.datasets import names, sources
from restore_tf.datasets.augmentation import Noise
from restore_tf.datasets.samples import MIXTURE
from restore_tf.datasets.sources import Place, Source
from restore_tf.errors import UserError

CONFIG = "mixture"  # the configuration in experiments whose data set is a mixture

_BLOCK = 1000  # samples after which every part has had exactly its share
_FORM = "SET:CONFIG@WEIGHT,SET:CONFIG@WEIGHT,…"


class Part(NamedTuple):
    """One set of a mixture.

    Attributes:
      dataset: its name, of `names.NAMES`.
      config: its configuration.
      share: samples of every 1,000.
    """

    dataset: str
    config: str
    share: int

    @property
    def label(self) -> str:
        """The part's name: "gopro:blur"."""
        return f"{self.dataset}:{self.config}"


def is_mixture(dataset: str) -> bool:
    """Whether a data set's name is written as a mixture, even of one part.

    Args:
      dataset: the value of --dataset.
    """
    return any(sign in dataset for sign in ",:@")


def parse(text: str) -> list[Part]:
    """Parses a mixture. Without a config it is the set's default, without a weight 1.

    Weights are normalised, and rounded to thousandths.

    Args:
      text: SET:CONFIG@WEIGHT, several with commas.

    Raises:
      UserError: names the part that is malformed, unknown, named twice or too rare.
    """
    named = [_parse_part(part.strip(), text) for part in text.split(",")]
    weights = np.array([weight for *_, weight in named])
    exact = _BLOCK * weights / weights.sum()
    shares = np.floor(exact).astype(int)
    # The remaining samples go to the shares that were rounded down most.
    shares[np.argsort(shares - exact, kind="stable")[: _BLOCK - shares.sum()]] += 1
    parts = []
    for (dataset, config, _), share in zip(named, shares.tolist(), strict=True):
        part = Part(dataset, config, share)
        if share == 0:
            raise UserError(f"--dataset {part.label}: has less than a thousandth of the mixture.")
        if part.label in [other.label for other in parts]:
            raise UserError(f"--dataset {part.label}: is named twice; add the two weights.")
        parts.append(part)
    return parts


def _parse_part(part, text):
    found = re.fullmatch(r"([^:@]+)(?::([^:@]+))?(?:@(.*))?", part)
    if found is None:
        raise UserError(f"--dataset {text}: {part!r} is no part of a mixture; expected {_FORM}")
    dataset, config, weight = found.groups()
    try:
        number = 1.0 if weight is None else float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"--dataset {part}: expected a weight above 0 behind the @.")
    return dataset, names.config_of(dataset, config), number


def canonical(parts: Sequence[Part]) -> str:
    """Returns a mixture's text with every config and the rounded weights; `parse` reads it.

    Args:
      parts: from `parse`.
    """
    return ",".join(f"{part.label}@{part.share / _BLOCK:g}" for part in parts)


def parse_roots(data_dir: str | os.PathLike | None, parts: Sequence[Part]) -> dict[str, str]:
    """Parses --data_dir of a mixture, 'gopro=FOLDER,realblur:j=FOLDER'; returns {label: folder}.

    A set's name alone stands for all its parts. Folders may have commas in their names.

    Args:
      data_dir: the text; None for no folders.
      parts: of the mixture.

    Raises:
      UserError: malformed, or a set that is not in the mixture.
    """
    if not data_dir:
        return {}
    labels = [part.label for part in parts]
    known = {*labels, *(part.dataset for part in parts)}
    pieces = re.split(r",(?=[\w:]+=)", os.fspath(data_dir))
    given = dict(piece.partition("=")[::2] for piece in pieces)
    for piece in pieces:
        name, _, folder = piece.partition("=")
        if not folder:
            example = ",".join(f"{name}=FOLDER" for name in dict.fromkeys(p.dataset for p in parts))
            raise UserError(f"--data_dir {piece}: for a mixture expected {example}")
        if name not in known:
            raise UserError(f"--data_dir {piece}: the mixture has {', '.join(labels)}.")
    roots = {part.label: given.get(part.label) or given.get(part.dataset) for part in parts}
    return {label: folder for label, folder in roots.items() if folder}


def written_roots(roots: Mapping[str, str]) -> str | None:
    """Returns the text of a mixture's folders, made absolute; `parse_roots` reads it.

    Args:
      roots: {label: folder}.

    Returns:
      The text; None without folders.
    """
    return ",".join(f"{label}={os.path.abspath(f)}" for label, f in roots.items()) or None


class Mixture(Source):
    """Pairs of several sources, the first source's first.

    Args:
      parts: {label: its pairs}, all of one scale.
      shares: samples of every 1,000, for each part.

    Attributes:
      parts: as given.

    Raises:
      UserError: names a part whose scale is another, or that is empty.
    """

    def __init__(self, parts: Mapping[str, Source], shares: Sequence[int]):
        self.parts = dict(parts)
        self._shares = tuple(shares)
        self._sources = list(self.parts.values())
        self.output_scale = self._sources[0].output_scale
        for label, source in self.parts.items():
            if not len(source):
                raise UserError(f"{label} of the mixture: has no pairs.")
            if source.output_scale != self.output_scale:
                raise UserError(
                    f"{label} of the mixture: its sharp pictures are {source.output_scale} times "
                    f"as large, those before it {self.output_scale} times; all must be alike."
                )
        self._starts = np.cumsum([0, *map(len, self._sources)])
        self.names = [f"{label}/{name}" for label, one in self.parts.items() for name in one.names]
        known = all(source.sizes is not None for source in self._sources)
        self.sizes = [size for one in self._sources for size in one.sizes] if known else None

    def pair_of(self, number: int, seed: int) -> int:
        """Returns the index of the pair that a training sample shows: the next one of its part.

        Args:
          number: of the sample, from 0.
          seed: of the training.
        """
        block, place = divmod(number, _BLOCK)
        order = _order(seed, block, self._shares)
        part = int(order[place])
        before = block * self._shares[part] + int(np.count_nonzero(order[:place] == part))
        return int(self._starts[part]) + self._sources[part].pair_of(before, seed)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8.

        Args:
          index: of the pair.
        """
        source, own = self._find(index)
        return source.read(own)

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """See `sources.FileSource.read_crop`.

        Args:
          index: of the pair.
          place: see there.
          crop: side of the degraded crop, in pixels.
        """
        source, own = self._find(index)
        return source.read_crop(own, place, crop)

    def noise(self, index: int) -> Noise | None:
        """See `Source.noise`.

        Args:
          index: of the pair.
        """
        source, own = self._find(index)
        return source.noise(own)

    def changed(self, change: Callable[[str | None, Source], Source]) -> Mixture:
        """See `Source.changed`.

        Args:
          change: takes a part's label and its source; returns a source.
        """
        return Mixture({k: change(k, source) for k, source in self.parts.items()}, self._shares)

    def cached(self) -> Mixture:
        """Returns the mixture with every pair decoded in RAM."""
        return self.changed(lambda label, source: source.cached())

    def _find(self, index):
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._sources[part], index - int(self._starts[part])


@functools.lru_cache(maxsize=8)
def _order(seed, block, shares):
    """The part of each sample of a block."""
    parts = np.repeat(np.arange(len(shares)), shares)
    return np.random.default_rng([seed, MIXTURE, block]).permutation(parts)


def open_pairs(
    dataset: str,
    config: str | None,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    degraded_dir: str | os.PathLike | None = None,
    sharp_dir: str | os.PathLike | None = None,
    seed: int = 0,
    output_scale: int | None = 1,
) -> Source:
    """Opens one split of a data set or of a mixture.

    Args:
      dataset: a set's name, or a mixture's text.
      config: see `sources.open_source`; ignored for a mixture.
      split: "train", "validation" or "test".
      data_dir: see `sources.open_source`; for a mixture see `parse_roots`.
      degraded_dir: of the set "folder", in a mixture too.
      sharp_dir: of the set "folder", in a mixture too.
      seed: see `sources.open_source`.
      output_scale: see `sources.open_source`.

    Raises:
      UserError: see `sources.open_source`; in a mixture names the part.
    """
    folders = {"degraded_dir": degraded_dir, "sharp_dir": sharp_dir}
    others = {"seed": seed, "output_scale": output_scale}
    if not is_mixture(dataset):
        folders["data_dir"] = data_dir
        return sources.open_source(dataset, config, split, **folders, **others)
    parts = parse(dataset)
    roots = parse_roots(data_dir, parts)
    opened = {}
    for part in parts:
        root = roots.get(part.label)
        where = folders if part.dataset == "folder" and root is None else {}
        try:
            opened[part.label] = sources.open_source(
                part.dataset, part.config, split, data_dir=root, **where, **others
            )
        except UserError as error:
            raise UserError(f"{part.label} of the mixture: {error}") from None
    return Mixture(opened, [part.share for part in parts])
