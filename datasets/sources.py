"""Sources of pairs: files, prepared records or arrays in memory, all read by index.

Every source has `names`, `len()`, `read(index)` for whole pictures and `read_crop(index, place,
crop)` for training. As pairs are read by index, a training can start at any step.

Imports no TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from restore_tf.datasets import cropping, names, pairing
from restore_tf.datasets.augmentation import Noise
from restore_tf.datasets.samples import pair_index
from restore_tf.errors import UserError

# From the (height, width) of a degraded picture to the (top, left) of its crop, in pixels.
Place = Callable[[tuple[int, int]], tuple[int, int]]


class Source:
    """The base of all sources, which have `names`, `sizes`, `read` and `read_crop`.

    Attributes:
      names: one per pair.
      sizes: (height, width) of each degraded picture, or None where they are known only after
        decoding.
      output_scale: how many times larger than these the sharp pictures are.
      parts: {label: source} of a mixture; empty for a single set.
    """

    output_scale = 1
    parts: Mapping[str, Source] = {}

    def __len__(self):
        return len(self.names)

    def read_sharp_crop(self, index: int, corner: Sequence[int], crop: int) -> np.ndarray:
        """Returns a square of a pair's sharp picture alone, (crop, crop, 3) uint8.

        Args:
          index: of the pair.
          corner: (top, left) of the square, in pixels of the sharp picture.
          crop: its side, in pixels of the sharp picture.
        """
        return cropping.cut(self.read(index)[1], corner, crop)

    def pair_of(self, number: int, seed: int) -> int:
        """Returns the index of the pair that a training sample shows.

        Args:
          number: of the sample, from 0.
          seed: of the training.
        """
        return pair_index(number, len(self), seed)

    def noise(self, index: int) -> Noise | None:
        """Returns the noise that training adds to every crop of a pair; None for none.

        Args:
          index: of the pair.
        """
        return None

    def changed(self, change: Callable[[str | None, Source], Source]) -> Source:
        """Applies a function to this source, or to every part of a mixture.

        Args:
          change: takes a part's label, None for a single set, and its source; returns a source.
        """
        return change(None, self)

    def cached(self) -> Source:
        """Returns a source with every pair decoded in RAM."""
        # Copies: raw records return views of their file.
        pairs = (tuple(map(np.array, pair)) for pair in self._read_all())
        return MemorySource(self.names, pairs, self.output_scale)

    def _read_all(self):
        """Every pair in order, read by a thread for each core, with a bar."""
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            pairs = pool.map(self.read, range(len(self)))
            bar = {"total": len(self), "unit": "pair", "disable": None, "leave": False}
            yield from tqdm(pairs, "reading all", **bar)
        finally:
            pool.shutdown(cancel_futures=True)


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
        """Returns (degraded, sharp), each (height, width, 3) uint8.

        Args:
          index: of the pair.

        Raises:
          UserError: a file cannot be read.
        """
        pair = self.pairs[index]
        return cropping.decode(pair.degraded), cropping.decode(pair.sharp)

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the same place of both pictures, squares of uint8, see `cropping.cut_pair`.

        Args:
          index: of the pair.
          place: takes the (height, width) of the degraded picture; returns the crop's (top, left).
            Called once.
          crop: side of the degraded crop, in pixels.

        Raises:
          UserError: a file cannot be read, or its size changed.
        """
        _, degraded, sharp = self.pairs[index]
        corner = place(self.sizes[index])
        return cropping.cut_pair(
            cropping.cut_file, degraded, sharp, corner, crop, self.output_scale
        )

    def read_sharp_crop(self, index: int, corner: Sequence[int], crop: int) -> np.ndarray:
        """See `Source.read_sharp_crop`; of a PNG no more is decoded than needed.

        Args:
          index: of the pair.
          corner: (top, left) of the square, in pixels of the sharp picture.
          crop: its side, in pixels of the sharp picture.

        Raises:
          UserError: the file cannot be read.
        """
        return cropping.cut_file(self.pairs[index].sharp, corner, crop)


class RecordSource(Source):
    """Prepared pairs.

    Args:
      records: a `records.Records` or `raw_records.RawRecords`.
    """

    def __init__(self, records):
        self.records = records
        self.names = records.names
        self.sizes = getattr(records, "sizes", None)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8.

        Args:
          index: of the pair.
        """
        return self.records.read(index)

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """See `FileSource.read_crop`.

        Args:
          index: of the pair.
          place: see there.
          crop: side of the degraded crop, in pixels.
        """
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
        """Returns (degraded, sharp), each (height, width, 3) uint8.

        Args:
          index: of the pair.
        """
        return self._pairs[index]

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """See `FileSource.read_crop`.

        Args:
          index: of the pair.
          place: see there.
          crop: side of the degraded crop, in pixels.
        """
        corner = place(self.sizes[index])
        return cropping.cut_pair(cropping.cut, *self._pairs[index], corner, crop, self.output_scale)


class SyntheticSource(Source):
    """Pairs of the embedded data set, each made when it is first read and kept in RAM.

    Making all of them takes 15 seconds of a core, too long before the first step.

    Args:
      pictures: a `synthetic.Synthetic`.
    """

    def __init__(self, pictures):
        self.names = pictures.names
        self.output_scale = pictures.scale
        self.sizes = [tuple(side // pictures.scale for side in pictures.size)] * len(pictures)
        self._pictures = pictures
        self._pairs = [None] * len(pictures)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (degraded, sharp), each (height, width, 3) uint8.

        Args:
          index: of the pair.
        """
        pair = self._pairs[index]
        if pair is None:  # two threads may make the same one, and make it alike
            pair = tuple(map(np.ascontiguousarray, self._pictures[index]))
            self._pairs[index] = pair
        return pair

    def read_crop(self, index: int, place: Place, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """See `FileSource.read_crop`; without the noise that `noise` adds.

        Args:
          index: of the pair.
          place: see there.
          crop: side of the degraded crop, in pixels.
        """
        corner = place(self.sizes[index])
        degraded, sharp = self.read(index)
        if self._pictures.noise is not None:
            degraded = sharp
        return cropping.cut_pair(cropping.cut, degraded, sharp, corner, crop, self.output_scale)

    def noise(self, index: int) -> Noise | None:
        """See `Source.noise`.

        Args:
          index: of the pair.
        """
        return self._pictures.noise

    def cached(self) -> SyntheticSource:
        """Makes every pair now; returns itself."""
        for _ in self._read_all():
            pass
        return self


def cached(source: Source) -> Source:
    """Returns a source with every pair decoded in RAM.

    Args:
      source: any source.
    """
    return source.cached()


def open_source(
    name: str,
    config: str | None,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    degraded_dir: str | os.PathLike | None = None,
    sharp_dir: str | os.PathLike | None = None,
    seed: int = 0,
    output_scale: int | None = 1,
):
    """Opens one split of a data set.

    Args:
      name: one of `names.NAMES`.
      config: the set's configuration, None for its default.
      split: "train", "validation" or "test".
      data_dir: the published folder layout, or a directory with prepared records of the set, which
        are then read instead; for "synthetic" a folder of sharp photos in place of the embedded
        ones, or None.
      degraded_dir: for "folder": the folder of degraded pictures.
      sharp_dir: for "folder": the folder of sharp pictures.
      seed: of the training pictures of "synthetic".
      output_scale: how many times larger than the degraded pictures the sharp ones must be; None
        for any.

    Returns:
      A `Source`.

    Raises:
      UserError: no such set, config or split; a missing folder or partner; a damaged file; two
        pictures of a pair whose sizes do not fit.
    """
    if name == "synthetic":
        return _synthetic(config, split, data_dir, seed, output_scale)
    if output_scale not in (1, None) and name != "folder":
        raise UserError(
            f"--dataset {name}: its two pictures of a pair have one size, but the network makes "
            f"pictures {output_scale} times as large; use --dataset folder, or synthetic with "
            f"--config bicubic{output_scale}."
        )
    if name == "folder":
        pairs = _folder_pairs(split, data_dir, degraded_dir, sharp_dir)
        return FileSource(pairs, output_scale or pairing.scale_of(pairs))
    layout = names.layout(name)
    if data_dir is None:
        raise UserError(f"--dataset {name}: needs --data_dir, the folder that holds it.")
    from restore_tf.datasets import records

    config = config or layout.CONFIGS[0]
    if records.is_prepared(data_dir, name, config):
        return RecordSource(records.open_records(data_dir, name, config, split))
    return FileSource(layout.find_pairs(data_dir, config, split))


def _synthetic(config, split, data_dir, seed, output_scale):
    from restore_tf.datasets.synthetic import CONFIGS, Synthetic

    # Held-out pictures are the same for every training seed, so that results can be compared.
    seed = seed if split == "train" else 0
    pictures = Synthetic(config or CONFIGS[0], split, seed=seed, folder=data_dir)
    if output_scale not in (pictures.scale, None):
        advice = f"bicubic{output_scale}" if output_scale > 1 else CONFIGS[0]
        raise UserError(
            f"--config {pictures.config}: its sharp pictures are {pictures.scale} times as large "
            f"as the degraded ones, but the network makes them {output_scale} times as large; use "
            f"a configuration that fits, such as {advice}."
        )
    return SyntheticSource(pictures)


def _folder_pairs(split, data_dir, degraded_dir, sharp_dir):
    from restore_tf.datasets import folder

    pairs = folder.find_pairs(data_dir, degraded_dir, sharp_dir)
    if split == "test":
        return pairs
    # Two folders have no sequences: a sub-folder counts as one.
    return pairing.training_split(pairs, split)
