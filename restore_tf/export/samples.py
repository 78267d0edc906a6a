"""Real pictures that an exported file is calibrated and scored on.

Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from restore_tf.datasets import folder, pairing, sources
from restore_tf.errors import UserError
from restore_tf.pictures import files, planes
from restore_tf.pictures.kinds import PICTURES, is_picture
from restore_tf.pictures.pixels import from_float, to_float
from restore_tf.system.folders import walk
from restore_tf.system.log import logger

EMBEDDED = ("synthetic", "defocus", "validation")
COUNT = 16


@dataclasses.dataclass(frozen=True)
class Samples:
    """Degraded pictures, with sharp ones where those are known.

    Attributes:
      degraded: pictures (height, width, 3) uint8, of any sizes.
      sharp: their sharp partners, of the same sizes, or None.
      origin: their source, such as "synthetic/defocus/validation" or a folder.
    """

    degraded: tuple[np.ndarray, ...]
    sharp: tuple[np.ndarray, ...] | None
    origin: str

    def __len__(self) -> int:
        return len(self.degraded)

    def smaller_than(self, size: tuple[int, int]) -> int:
        """Returns the number of pictures that are smaller than a crop and are mirrored to fill it.

        Args:
          size: (height, width) of the crop in pixels.
        """
        return sum(any(np.less(picture.shape[:2], size)) for picture in self.degraded)

    def crops(
        self,
        size: tuple[int, int],
        count: int | None = None,
        model=None,
        dtype=np.float32,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Cuts crops, the same ones at every call.

        Crop i is of picture i modulo their number: at first every picture's middle, then places
        drawn from i. A picture that is smaller is mirrored at its bottom and right until it fills
        the crop (`smaller_than` counts these). For a one-channel network crop i is one plane as
        `restore_tf.restore` runs colours through it: red, green and blue in turn, or luminance.

        Args:
          size: (height, width) of a crop in pixels.
          count: of crops; None for the number of pictures.
          model: the network they are for; its channels, colour and output scale matter. None for
            RGB crops.
          dtype: uint8 in [0, 255], or a float type in [0, 1].

        Returns:
          (degraded, sharp), each (count, height, width, channels); sharp is None where there are
          no sharp pictures.
        """
        count = len(self) if count is None else count
        made = []
        scale = 1 if model is None else model.output_scale
        for pictures, times in ((self.degraded, 1), (self.sharp, scale)):
            if pictures is None:
                return made[0], None
            crops = [
                _plane(self._crop(pictures[i % len(self)], i, size, times), i, model)
                for i in range(count)
            ]
            pixels = np.stack(crops)
            made.append(pixels if dtype == np.uint8 else to_float(pixels).astype(dtype))
        return made[0], made[1]

    def save(self, path: str | os.PathLike) -> None:
        """Writes the samples to a file, which another process reads by `open`.

        Args:
          path: the file, `.npz`.
        """
        arrays = {f"degraded{i:05}": picture for i, picture in enumerate(self.degraded)}
        arrays |= {f"sharp{i:05}": picture for i, picture in enumerate(self.sharp or ())}
        np.savez(path, origin=np.array(self.origin), **arrays)

    @classmethod
    def open(cls, path: str | os.PathLike) -> Samples:
        """Reads samples that `save` wrote.

        Args:
          path: the file.
        """
        with np.load(path, allow_pickle=False) as found:
            degraded, sharp = (
                tuple(found[name] for name in sorted(found.files) if name.startswith(kind))
                for kind in ("degraded", "sharp")
            )
            return cls(degraded, sharp or None, str(found["origin"]))

    def _crop(self, picture, index, size, times):
        """The crop of a picture `times` as large as the one that `size` refers to."""
        wanted = [times * side for side in size]
        missing = [max(0, side - have) for side, have in zip(wanted, picture.shape, strict=False)]
        picture = np.pad(picture, (*((0, side) for side in missing), (0, 0)), mode="reflect")
        room = [(have - side) // times for have, side in zip(picture.shape, wanted, strict=False)]
        if index < len(self):
            corner = [side // 2 for side in room]
        else:
            corner = np.random.default_rng(index).integers(0, [side + 1 for side in room])
        top, left = (times * int(place) for place in corner)
        return picture[top : top + wanted[0], left : left + wanted[1]]


def _plane(crop, index, model):
    """A colour crop as a model takes it."""
    if model is None or model.channels == 3:
        return crop
    if planes.colour_of(model) == "luminance":
        return from_float(planes.luminance(to_float(crop)), crop.dtype)
    return crop[..., index % 3, None]


def load(
    degraded_dir: str | os.PathLike | None = None,
    sharp_dir: str | os.PathLike | None = None,
    count: int = COUNT,
) -> Samples:
    """Reads pictures of two folders, or the embedded ones.

    Of more than `count` pictures, evenly spaced ones of the list of names are taken: consecutive
    frames of a clip are nearly the same.

    Args:
      degraded_dir: pictures like those to restore, in any format that restore.py reads,
        sub-folders included. None for the held-out pictures of the embedded data set, which are
        mildly out of focus and have sharp partners.
      sharp_dir: their sharp partners, of the same names (without the extension) and sizes; None
        for no sharp pictures.
      count: the most pictures, 1 or more.

    Raises:
      UserError: sharp pictures without degraded ones, a folder that is missing or has no pictures,
        a picture without a partner, a partner of another size, a broken picture.
    """
    if count < 1:
        raise UserError(f"count {count}: expected at least 1 picture.")
    if degraded_dir is None:
        if sharp_dir is not None:
            raise UserError(f"{sharp_dir}: sharp pictures without degraded ones; give both.")
        logger.info(
            "files are calibrated and compared on the embedded pictures, mildly out of focus; "
            "--calibrate FOLDER takes pictures like those that will be restored."
        )
        return _embedded(count)
    if sharp_dir is None:
        paths = _evenly(_pictures(degraded_dir), count)
        return Samples(tuple(_read(path) for path in paths), None, str(degraded_dir))
    pairs = _evenly(folder.find_pairs(None, degraded_dir, sharp_dir), count)
    pairing.check(pairs)
    return Samples(
        tuple(_read(pair.degraded) for pair in pairs),
        tuple(_read(pair.sharp) for pair in pairs),
        f"{degraded_dir}, {sharp_dir}",
    )


def _embedded(count):
    source = sources.open_source(*EMBEDDED)
    pairs = [source.read(index) for index in range(min(count, len(source)))]
    degraded, sharp = zip(*pairs, strict=True)
    return Samples(degraded, sharp, "/".join(EMBEDDED))


def _pictures(directory):
    root = pairing.existing_folder(directory, "a folder of degraded pictures")
    found = [path for _, paths in walk(root, recursive=True) for path in paths if is_picture(path)]
    if not found:
        raise UserError(f"{root}: has no pictures ({', '.join(PICTURES)}).")
    return found


def _evenly(items, count):
    if len(items) <= count:
        return items
    return [items[index * len(items) // count] for index in range(count)]


def _read(path: Path):
    """(height, width, 3) uint8: 16 bits are rounded, gray is repeated, alpha left out."""
    pixels = files.read_picture(path).pixels
    if pixels.dtype != np.uint8:
        pixels = from_float(to_float(pixels), np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
