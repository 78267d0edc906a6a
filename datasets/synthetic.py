"""The embedded data set: (blurry, sharp) pairs made on the spot, so that nothing is downloaded.

Sharp pictures are photos that scikit-image installs with itself, and dead leaves pictures
(`dead_leaves`). They are blurred in linear light, saturated and made noisy (`kernels`) by

  shake    camera shake of 3 to 25 pixels, slightly out of focus, some with lamps that draw streaks;
  defocus  out-of-focus blur of sigma 1.2 to 2.0 pixels and mild noise. A light network learns
           something of it within minutes on a CPU.

Pair i is a pure function of (config, split, seed, i): it is the same in every process and in any
order. The photos of a split are used in no other, and every split draws from streams of its own.

The photos' terms, as scikit-image states them: public domain or CC0, and "no known copyright
restrictions" for coins and ihc. Its photos without stated terms (motorcycle, moon, page) are not
used.

Imports NumPy, SciPy and scikit-image (with its Pillow), no TensorFlow.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from restore_tf.datasets import kernels
from restore_tf.datasets.dead_leaves import dead_leaves, palette
from restore_tf.errors import UserError

CONFIGS = ("shake", "defocus")
SPLITS = ("train", "validation", "test")

MARGIN = 24  # pixels around a picture from which a kernel may bring light in


class View(NamedTuple):
    """What is shown of a photo: at which scale, and where the middle is.

    row, column: the middle as a share of the photo's height and width, moved inwards where the view
      would leave the photo.
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

_COUNTS = {"train": 480, "validation": 9, "test": 10}
_SIDES = {"train": 192, "validation": 256, "test": 256}
_PHOTO_EVERY = 4  # in train, one picture in four is a photo


class Synthetic:
    """A split of the data set, as a sequence of (blurry, sharp).

    Attributes:
      names: one name per pair, e.g. "leaves-0004" or "chelsea-0000".
    """

    def __init__(
        self,
        config: str = "shake",
        split: str = "train",
        seed: int = 0,
        count: int | None = None,
        size: tuple[int, int] | None = None,
    ):
        """Describes the split; pictures are made when asked for.

        Args:
          config: one of `CONFIGS`.
          split: one of `SPLITS`.
          seed: of the pictures, not of the training run: results on held-out splits can be compared
            at one seed only.
          count: number of pairs; None is 480, 9 and 10. Further held-out pairs are dead leaves.
          size: (height, width) of the pictures; None is (192, 192) for train, (256, 256) else. A
            photo that is too small is continued by its mirror image.

        Raises:
          UserError: an unknown config or split, a negative seed, an impossible count or size.
        """
        _check_member("config", config, CONFIGS)
        _check_member("split", split, SPLITS)
        self.config, self.split, self.seed = config, split, seed
        count = _COUNTS[split] if count is None else count
        self.size = (_SIDES[split], _SIDES[split]) if size is None else tuple(size)
        if seed < 0 or count < 1:
            raise UserError(f"seed {seed}, count {count}: expected a seed >= 0 and a count >= 1.")
        if len(self.size) != 2 or min(self.size) < 8:
            raise UserError(f"size is {size}; expected (height, width) of at least 8 pixels each.")
        self.names = [f"{self._source(index)}-{index:04d}" for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Makes pair `index`: (degraded, sharp), both (height, width, 3) uint8 sRGB.

        Raises:
          IndexError: the index is negative or past the end.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}; expected 0 to {len(self) - 1}.")
        entropy = [self.seed, SPLITS.index(self.split), index]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        picture = self._picture(rng, index)
        pair = (_shake if self.config == "shake" else _defocus)(rng, picture)
        return tuple(np.rint(255.0 * image).astype(np.uint8) for image in pair)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[index] for index in range(len(self)))

    def load_all(self, threads: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
        """Makes all pairs, in order, on a pool of threads."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.__getitem__, range(len(self))))

    def _source(self, index: int) -> str:
        """What picture `index` shows: "leaves", or a photo's name."""
        if self.split != "train":
            views = VIEWS[self.split]
            return views[index].photo.split(".")[0] if index < len(views) else "leaves"
        photo, rest = divmod(index, _PHOTO_EVERY)
        return "leaves" if rest else TRAIN_PHOTOS[photo % len(TRAIN_PHOTOS)].split(".")[0]

    def _picture(self, rng: np.random.Generator, index: int) -> np.ndarray:
        """The sharp picture with its margin: (height + 48, width + 48, 3) float32 sRGB."""
        height, width = (side + 2 * MARGIN for side in self.size)
        if self._source(index) == "leaves":
            return dead_leaves(rng, height, width)
        if self.split != "train":
            return _cut(VIEWS[self.split][index], self.size)
        photo = TRAIN_PHOTOS[index // _PHOTO_EVERY % len(TRAIN_PHOTOS)]
        view = View(photo, rng.choice([0.5, 0.7, 1.0]), *rng.random(2))
        return _tinted(rng, _cut(view, self.size))


def _check_member(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"unknown {what} {value!r}; expected one of {', '.join(known)}.")


def _shake(rng: np.random.Generator, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel = kernels.camera_shake_kernel(rng, defocus=rng.uniform(0.0, 1.0), max_radius=MARGIN)
    # Lamps are small: where much is white already, a sky or a wall, it stays as it is.
    lamps = rng.random() < 0.5 and np.mean(picture[..., 1] > 0.85) < 0.02
    return kernels.degrade(
        _without_border(picture, kernel),
        kernel,
        rng,
        highlights=np.exp(rng.uniform(np.log(2.0), np.log(10.0))) if lamps else 1.0,
        shot=np.exp(rng.uniform(np.log(1e-5), np.log(2e-4))),
        read=np.exp(rng.uniform(np.log(1e-4), np.log(1e-3))),
    )


def _defocus(rng: np.random.Generator, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel = kernels.defocus_kernel(rng.uniform(1.2, 2.0))
    return kernels.degrade(_without_border(picture, kernel), kernel, rng, shot=2e-5, read=2e-4)


def _without_border(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Leaves just the margin that this kernel reaches into."""
    border = MARGIN - len(kernel) // 2
    return picture[border : picture.shape[0] - border, border : picture.shape[1] - border]


@functools.lru_cache(maxsize=64)
def _photo(name: str, scale: float) -> np.ndarray:
    """A photo of scikit-image's own, shrunk in linear light: (h, w, 3) float32 sRGB, read-only."""
    path = importlib.resources.files("skimage.data").joinpath(name)
    if not path.is_file():
        raise UserError(f"{name}: not in this scikit-image; install scikit-image 0.26.0.")
    with path.open("rb") as file, Image.open(file) as image:
        photo = np.asarray(image.convert("RGB"), np.float32) / 255.0
    if scale != 1.0:
        height, width = (round(side * scale) for side in photo.shape[:2])
        planes = np.moveaxis(kernels.srgb_to_linear(photo), -1, 0).astype(np.float32)
        small = [
            Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS)
            for plane in planes
        ]
        light = np.clip(np.stack([np.asarray(plane) for plane in small], axis=-1), 0.0, 1.0)
        photo = kernels.linear_to_srgb(light).astype(np.float32)
    photo.setflags(write=False)
    return photo


def _cut(view: View, size: tuple[int, int]) -> np.ndarray:
    """The view with its margin: (height + 48, width + 48, 3); mirrored beyond the photo's edge."""
    photo = _photo(view.photo, view.scale)
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
