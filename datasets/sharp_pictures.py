"""The sharp pictures of the synthetic set: embedded ones, or those of a folder.

The embedded ones are photos that scikit-image installs, and dead leaves pictures (`dead_leaves`);
for shots, some training pictures are text (`printed_text`). The photos of a split are used in no
other.

The photos' terms, as scikit-image states them: public domain or CC0, and "no known copyright
restrictions" for coins and ihc. Its photos without stated terms (motorcycle, moon, page) are not
used.

A picture has a margin of `MARGIN` pixels, which a blur mixes into its border.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from restore_tf.datasets import cropping, headers, kernels, pairing
from restore_tf.datasets.dead_leaves import dead_leaves, palette
from restore_tf.datasets.printed_text import printed_text
from restore_tf.errors import UserError

SPLITS = ("train", "validation", "test")
MARGIN = 24  # pixels around a picture


class View(NamedTuple):
    """A view of a photo.

    Attributes:
      photo: its file name.
      scale: at which the photo is shown.
      row: the view's middle as a share of the photo's height, moved inwards where the view would
        leave the photo.
      column: the same of its width.
    """

    photo: str
    scale: float
    row: float
    column: float


# The held-out pictures, in order. The first are those that people look at.
VIEWS = {
    "validation": (
        View("coffee.png", 0.66, 0.5, 0.45),
        View("coffee.png", 1.0, 0.3, 0.5),
        View("coffee.png", 1.0, 0.7, 0.75),
        View("coffee.png", 1.0, 0.7, 0.0),
        View("coins.png", 1.0, 0.5, 0.0),
        View("coins.png", 1.0, 0.5, 1.0),
    ),
    "test": (
        View("chelsea.png", 0.88, 0.5, 0.55),
        View("astronaut.png", 1.0, 0.1, 0.4),
        View("astronaut.png", 0.5, 0.5, 0.5),
        View("astronaut.png", 1.0, 1.0, 0.1),
        View("astronaut.png", 1.0, 1.0, 0.9),
        View("chelsea.png", 1.0, 0.5, 0.1),
        View("camera.png", 0.5, 0.5, 0.5),
        View("camera.png", 1.0, 0.35, 0.55),
    ),
}
TRAIN_PHOTOS = (
    "rocket.jpg",
    "brick.png",
    "hubble_deep_field.jpg",
    "grass.png",
    "ihc.png",
    "gravel.png",
)
_SCALES = (0.5, 0.7, 1.0)  # at which photos are shown in training
_PHOTO_EVERY = 4  # embedded training pictures: one in four is a photo
_LEAVES_EVERY = 5  # training pictures from a folder: one in five is dead leaves
_TEXT_EVERY = 10  # training pictures, where there is text among them: one in ten
_LONGEST = 1920  # pixels; longer photos are shrunk to it, as a camera's own pixels are not sharp
_LEAST = 64  # pixels of a photo's shorter side


class Embedded:
    """scikit-image's photos and dead leaves.

    Args:
      text: whether one training picture in ten is `printed_text`.
    """

    def __init__(self, text: bool = False):
        self._text = text

    def source(self, split: str, index: int) -> str:
        """Returns the content of a picture: "leaves", "text", or a photo's name.

        Args:
          split: one of `SPLITS`.
          index: of the picture.
        """
        if split != "train":
            views = VIEWS[split]
            return views[index].photo.split(".")[0] if index < len(views) else "leaves"
        if self._text and _has_text(index):
            return "text"
        place, rest = divmod(index, _PHOTO_EVERY)
        return "leaves" if rest else TRAIN_PHOTOS[place % len(TRAIN_PHOTOS)].split(".")[0]

    def picture(
        self,
        rng: np.random.Generator,
        split: str,
        index: int,
        size: tuple[int, int],
        whole: bool = False,
    ) -> np.ndarray:
        """Makes a sharp picture with its margin: (height + 48, width + 48, 3) float32 sRGB.

        Args:
          rng: of this picture.
          split: one of `SPLITS`.
          index: of the picture.
          size: (height, width) without the margin, in pixels.
          whole: shows as much of a photo as fits, rather than a piece of it.
        """
        painted = _PAINTED.get(self.source(split, index))
        if painted is not None:
            return painted(rng, *(side + 2 * MARGIN for side in size))
        if split != "train":
            view = VIEWS[split][index]
        else:
            name = TRAIN_PHOTOS[index // _PHOTO_EVERY % len(TRAIN_PHOTOS)]
            view = View(name, rng.choice(_SCALES), *rng.random(2))
        if whole:
            photo = embedded_photo(view.photo, 1.0)
            least = max(
                (side + 2 * MARGIN) / length
                for side, length in zip(size, photo.shape[:2], strict=True)
            )
            view = view._replace(scale=min(1.0, least))
        picture = _cut(view, size)
        return picture if split != "train" else _tinted(rng, picture)

    def count(self, split: str) -> int | None:
        """Returns the least number of pictures of a split; None leaves it to the set.

        Args:
          split: one of `SPLITS`.
        """
        return None


class PhotoFolder:
    """Sharp photos of a folder, at every depth; one training picture in five is dead leaves.

    The names in the folder alone decide the splits: photos are ordered by a hash of their names;
    a tenth of them each, at least one, are for test and validation, the rest for training.

    Args:
      folder: holds at least three photos.
      text: whether one training picture in ten is `printed_text`.

    Raises:
      UserError: no such folder, too few photos, or one that is too small or incomplete.
    """

    def __init__(self, folder: str | os.PathLike, text: bool = False):
        self._text = text
        found = pairing.pictures_below(pairing.existing_folder(folder, "a folder of sharp photos"))
        if len(found) < len(SPLITS):
            raise UserError(f"{folder}: holds {len(found)} photos; expected at least 3.")
        for path in found.values():
            _check_photo(path)
        names = sorted(found, key=lambda name: hashlib.sha256(name.encode()).digest())
        held = max(1, len(names) // 10)
        self._names = {
            "test": names[:held],
            "validation": names[held : 2 * held],
            "train": names[2 * held :],
        }
        self._paths = found

    def source(self, split: str, index: int) -> str:
        """Returns the content of a picture: "leaves", "text", or a photo's name.

        Args:
          split: one of `SPLITS`.
          index: of the picture.
        """
        names = self._names[split]
        if split != "train":
            return names[index % len(names)]
        if self._text and _has_text(index):
            return "text"
        place, rest = divmod(index, _LEAVES_EVERY)
        return "leaves" if rest == 0 else names[(index - place - 1) % len(names)]

    def picture(
        self,
        rng: np.random.Generator,
        split: str,
        index: int,
        size: tuple[int, int],
        whole: bool = False,
    ) -> np.ndarray:
        """Makes a sharp picture with its margin, see `Embedded.picture`.

        Args:
          rng: of this picture.
          split: one of `SPLITS`.
          index: of the picture.
          size: (height, width) without the margin, in pixels.
          whole: shows as much of a photo as fits, rather than a piece of it.
        """
        name = self.source(split, index)
        sides = tuple(side + 2 * MARGIN for side in size)
        if name in _PAINTED:
            return _PAINTED[name](rng, *sides)
        photo = _decoded(self._paths[name])
        scale = float(rng.choice(_SCALES)) * min(1.0, _LONGEST / max(photo.shape[:2]))
        if whole:
            scale = 0.0
        # The view is small enough to lie inside the photo, where that is possible.
        scale = min(1.0, max(scale, *np.divide(sides, photo.shape[:2])))
        reach = [math.ceil(side / scale) for side in sides]
        ranges = []
        for length, side, middle in zip(photo.shape[:2], reach, rng.random(2), strict=True):
            start = math.floor(middle * max(length - side + 1, 1)) + min(length - side, 0) // 2
            ranges.append(_mirrored(np.arange(start, start + side), length))
        view = photo[np.ix_(*ranges)] / np.float32(255)
        return view if view.shape[:2] == sides else _shrunk(view, sides)

    def count(self, split: str) -> int:
        """Returns the least number of pictures: one view of each photo, eight in training.

        Args:
          split: one of `SPLITS`.
        """
        return len(self._names[split]) * (8 if split == "train" else 1)


_PAINTED = {"leaves": dead_leaves, "text": printed_text}


def _has_text(index: int) -> bool:
    return index % _TEXT_EVERY == _TEXT_EVERY - 1  # where it displaces dead leaves, or a photo


def _check_photo(path: Path):
    height, width = headers.check_file(path).size
    if min(height, width) < _LEAST:
        raise UserError(
            f"{path}: is {width}x{height} pixels; sharp photos have at least {_LEAST} a side; "
            "leave it out."
        )


@functools.lru_cache(maxsize=4)
def _decoded(path: Path) -> np.ndarray:
    return cropping.decode(path)


@functools.lru_cache(maxsize=64)
def embedded_photo(name: str, scale: float) -> np.ndarray:
    """Reads a photo of scikit-image, shrunk in linear light: (h, w, 3) float32 sRGB, read-only.

    Args:
      name: the photo's file name.
      scale: to shrink by, above 0; 1 keeps its size.

    Raises:
      UserError: this scikit-image has no such photo.
    """
    path = importlib.resources.files("skimage.data").joinpath(name)
    if not path.is_file():
        raise UserError(f"{name}: not in this scikit-image; install scikit-image 0.26.0.")
    with path.open("rb") as file, Image.open(file) as image:
        photo = np.asarray(image.convert("RGB"), np.float32) / 255.0
    if scale != 1.0:
        photo = _shrunk(photo, tuple(round(side * scale) for side in photo.shape[:2]))
    photo.setflags(write=False)
    return photo


def _shrunk(photo, size):
    """Shrinks (h, w, 3) float32 sRGB to a size in linear light."""
    height, width = size
    planes = np.moveaxis(kernels.srgb_to_linear(photo), -1, 0).astype(np.float32)
    small = [
        Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS) for plane in planes
    ]
    light = np.clip(np.stack([np.asarray(plane) for plane in small], axis=-1), 0.0, 1.0)
    return kernels.linear_to_srgb(light).astype(np.float32)


def _cut(view: View, size: tuple[int, int]) -> np.ndarray:
    """The view with its margin: (height + 48, width + 48, 3); mirrored beyond the photo's edge."""
    photo = embedded_photo(view.photo, view.scale)
    ranges = []
    for length, side, middle in zip(photo.shape[:2], size, (view.row, view.column), strict=True):
        start = round(min(max(middle * length - side / 2, 0), max(length - side, 0)))
        ranges.append(_mirrored(np.arange(start - MARGIN, start + side + MARGIN), length))
    return photo[np.ix_(*ranges)]


def _mirrored(indices: np.ndarray, length: int) -> np.ndarray:
    """Folds indices into [0, length) as a mirror on the first and the last pixel does."""
    period = 2 * (length - 1)
    indices = np.abs(indices) % period
    return np.minimum(indices, period - indices)


def _tinted(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Gives a grey photo two colours, one for its shadows and one for its lights."""
    if np.any(picture[..., 0] != picture[..., 2]):
        return picture
    colours = palette(rng)
    colours = kernels.linear_to_srgb(colours[np.argsort(colours.sum(axis=-1))])
    return colours[0] + (colours[-1] - colours[0]) * picture
