"""The degradation of each configuration of the synthetic set.

  shake           camera shake of 3 to 25 pixels, slightly out of focus, some with lamps that draw
                  streaks; in linear light, with sensor noise
  defocus         out-of-focus blur of sigma 1.2 to 2.0 pixels and mild noise, in linear light. A
                  light network learns to reduce it within minutes on a CPU.
  gaussian        Pillow's GaussianBlur(3), JPEG of quality 75
  box             Pillow's BoxBlur(3), a mean of 7 x 7 pixels, JPEG of quality 75
  motion          a mean of 15 pixels in a row, borders reflected, JPEG of quality 95
  noise15, 25, 50 Gaussian noise of that sigma, in levels of 255 (Zhang et al., DnCNN, TIP 2017)
  noise_blind     the same with a sigma from 0 to 55 that differs from picture to picture
  bicubic2, 3, 4  shrunk by bicubics as MATLAB's imresize does: pairs of two sizes
  repair          a Gaussian blur of sigma 0.8 to 1.4 pixels, then noise of sigma 5 to 15
  repair2         shrunk as for bicubic2, then degraded as for repair
  photo           the faults of a hand-held camera, of many kinds; see `photographs`
  video           blur by motion as an average of stored frames, which GoPro's is; see `photographs`

`gaussian`, `box` and `motion` work on 8-bit sRGB as stored and on whole pictures, so their borders
and JPEG artefacts are part of the degradation. They and the noises have variants of gray pictures,
`gaussian_gray` and so on: three equal channels.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from restore_tf.datasets import kernels, photographs
from restore_tf.datasets.augmentation import Noise
from restore_tf.datasets.sharp_pictures import MARGIN


class Degradation(NamedTuple):
    """One configuration.

    Attributes:
      degrade: takes a generator and a picture with its margin, (height + 48, width + 48, 3) float32
        sRGB; returns (degraded, sharp) without it, uint8. Where `shot` is given, it also takes the
        shot and the size of the result, and the picture is larger by the shot's zoom.
      scale: how many times larger than the degraded picture the sharp one is.
      noise: for configurations of noise alone, the noise that training adds to each crop; else
        None.
      shot: takes a picture's index and whether it is for training; returns its `Shot`. None where
        there are no shots.
    """

    degrade: Callable[..., tuple[np.ndarray, np.ndarray]]
    scale: int = 1
    noise: Noise | None = None
    shot: Callable[[int, bool], photographs.Shot] | None = None


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Rounds a float picture, clipped to [0, 1], to uint8.

    Args:
      picture: floats of any shape.

    Returns:
      uint8 of the same shape.
    """
    return np.rint(255.0 * np.clip(picture, 0.0, 1.0)).astype(np.uint8)


def without_margin(picture: np.ndarray) -> np.ndarray:
    """Cuts off the margin of `MARGIN` pixels.

    Args:
      picture: (height + 48, width + 48, channels).

    Returns:
      The picture without its margin, a view.
    """
    return picture[MARGIN:-MARGIN, MARGIN:-MARGIN]


def shake(rng: np.random.Generator, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrades by camera shake; half of the pictures with little white get lamps with streaks.

    Args:
      rng: source of randomness.
      picture: (height + 48, width + 48, 3) float32 sRGB in [0, 1].

    Returns:
      (degraded, sharp), (height, width, 3) uint8.
    """
    kernel = kernels.camera_shake_kernel(rng, defocus=rng.uniform(0.0, 1.0), max_radius=MARGIN)
    # Lamps are small: pictures with large white areas, such as a sky or a wall, get none.
    lamps = rng.random() < 0.5 and np.mean(picture[..., 1] > 0.85) < 0.02
    pair = kernels.degrade(
        _without_border(picture, kernel),
        kernel,
        rng,
        highlights=np.exp(rng.uniform(np.log(2.0), np.log(10.0))) if lamps else 1.0,
        shot=np.exp(rng.uniform(np.log(1e-5), np.log(2e-4))),
        read=np.exp(rng.uniform(np.log(1e-4), np.log(1e-3))),
    )
    return tuple(map(to_bytes, pair))


def defocus(rng: np.random.Generator, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrades by out-of-focus blur and mild noise.

    Args:
      rng: source of randomness.
      picture: (height + 48, width + 48, 3) float32 sRGB in [0, 1].

    Returns:
      (degraded, sharp), (height, width, 3) uint8.
    """
    kernel = kernels.defocus_kernel(rng.uniform(1.2, 2.0))
    pair = kernels.degrade(_without_border(picture, kernel), kernel, rng, shot=2e-5, read=2e-4)
    return tuple(map(to_bytes, pair))


def _without_border(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Leaves just the margin that this kernel reaches into."""
    border = MARGIN - len(kernel) // 2
    return picture[border : picture.shape[0] - border, border : picture.shape[1] - border]


def gaussian_blur(pixels: np.ndarray) -> np.ndarray:
    """Blurs with a standard deviation of 3 pixels, edges replicated.

    Args:
      pixels: (height, width, 3) uint8.

    Returns:
      Pixels of the same shape and type.
    """
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3)))


def box_blur(pixels: np.ndarray) -> np.ndarray:
    """Takes means of 7 x 7 pixels, edges replicated.

    Args:
      pixels: (height, width, 3) uint8.

    Returns:
      Pixels of the same shape and type.
    """
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.BoxBlur(3)))


def motion_blur(pixels: np.ndarray) -> np.ndarray:
    """Takes means of 15 pixels in a row; borders are reflected, the outermost pixel once.

    Args:
      pixels: (height, width, channels) uint8.

    Returns:
      Pixels of the same shape and type.
    """
    return np.rint(
        ndimage.uniform_filter1d(pixels.astype(np.float64), 15, axis=1, mode="mirror")
    ).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int, subsampling: str = "4:2:0") -> np.ndarray:
    """Stores (height, width, 3) uint8 pixels as JPEG and reads them again.

    Args:
      pixels: the picture. Three equal channels are stored as a gray one.
      quality: libjpeg's, 1 to 100.
      subsampling: of the colours, "4:2:0" for half their resolution, "4:4:4" for all of it.

    Returns:
      Pixels of the same shape and type.
    """
    gray = (pixels[..., :1] == pixels).all()
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if gray else pixels).save(
        stream, "JPEG", quality=quality, **({} if gray else {"subsampling": subsampling})
    )
    with Image.open(stream) as image:
        return np.asarray(image.convert("RGB"))


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """Returns the luma (BT.601), rounded, as three equal channels.

    Args:
      pixels: (height, width, 3) uint8.
    """
    luma = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=-1)


def bicubic_shrink(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Shrinks uint8 pixels by a whole number, as MATLAB's imresize does by default.

    Keys' cubic (IEEE TASSP 1981) with a = -0.5, stretched by the scale against aliasing; beyond the
    border the picture is mirrored, its outermost pixel twice. Rounded once, at the end.

    Args:
      pixels: (height, width, channels), both sides multiples of `scale`.
      scale: 2 or more.

    Returns:
      The smaller picture, uint8.
    """
    middle = (scale - 1) / 2  # of the pixels that make the first output pixel
    taps = np.arange(np.ceil(middle - 2 * scale), middle + 2 * scale + 1).astype(int)
    distance = np.abs(taps - middle) / scale
    weights = np.select(
        [distance <= 1, distance <= 2],
        [
            1.5 * distance**3 - 2.5 * distance**2 + 1,
            -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2,
        ],
    )
    weights /= weights.sum()
    small = pixels.astype(np.float64)
    for _ in range(2):  # each time the first axis shrinks and is moved behind the second
        count = len(small) // scale
        indices = (scale * np.arange(count)[:, None] + taps) % (2 * len(small))
        indices = np.minimum(indices, 2 * len(small) - 1 - indices)
        small = np.tensordot(small[indices], weights, (1, 0)).swapaxes(0, 1)
    return to_bytes(small / 255)


def photo(
    rng: np.random.Generator, picture: np.ndarray, shot: photographs.Shot, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Photographs a scene, shrinks it, and stores most of the pictures as JPEG.

    Args:
      rng: source of randomness.
      picture: the scene with its margin, (height + 48, width + 48, 3) float32 sRGB in [0, 1].
      shot: its kind and zoom.
      size: (height, width) of the result, in pixels.

    Returns:
      (degraded, sharp), (height, width, 3) uint8.
    """
    make = photographs.average_frames if shot.stored else photographs.photograph
    pair = make(rng, picture, shot.kind, MARGIN)
    degraded, sharp = (to_bytes(photographs.shrink(one, size)) for one in pair)
    if shot.kind != "untouched" and rng.random() < 0.75:
        subsampling = "4:2:0" if rng.random() < 0.6 else "4:4:4"
        degraded = jpeg(degraded, int(rng.integers(75, 101)), subsampling)
    return degraded, sharp


def _of_bytes(change, gray=False):
    """A degradation of 8-bit pixels, with the generator where `change` takes one."""

    def degrade(rng, picture):
        sharp = to_bytes(without_margin(picture))
        if gray:
            sharp = to_gray(sharp)
        return change(sharp, rng), sharp

    return degrade


def _noisy(noise):
    return lambda sharp, rng: to_bytes(noise.add(sharp / np.float32(255), rng))


_OF_BYTES = {
    "gaussian": lambda sharp, rng: jpeg(gaussian_blur(sharp), 75),
    "box": lambda sharp, rng: jpeg(box_blur(sharp), 75),
    "motion": lambda sharp, rng: jpeg(motion_blur(sharp), 95),
}


def _repair(sharp, rng):
    """Out of focus, then noisy: a chain undoes one by each link."""
    radius = rng.uniform(0.8, 1.4)
    blurred = ndimage.gaussian_filter(sharp / np.float32(255), (radius, radius, 0), mode="nearest")
    return to_bytes(Noise(5, 15).add(blurred, rng))


_SIGMAS = {
    "noise15": (15, 15),
    "noise25": (25, 25),
    "noise50": (50, 50),
    "noise_blind": (0, 55),
}


def _table() -> dict[str, Degradation]:
    table = {
        "shake": Degradation(shake),
        "defocus": Degradation(defocus),
        "photo": Degradation(photo, shot=photographs.shot),
        "video": Degradation(photo, shot=photographs.video_shot),
    }
    for ending, gray in (("", False), ("_gray", True)):
        for name, change in _OF_BYTES.items():
            table[name + ending] = Degradation(_of_bytes(change, gray))
        for name, sigmas in _SIGMAS.items():
            noise = Noise(*sigmas, gray)
            table[name + ending] = Degradation(_of_bytes(_noisy(noise), gray), noise=noise)
    for scale in (2, 3, 4):
        shrink = functools.partial(lambda scale, sharp, rng: bicubic_shrink(sharp, scale), scale)
        table[f"bicubic{scale}"] = Degradation(_of_bytes(shrink), scale)
    table["repair"] = Degradation(_of_bytes(_repair))
    table["repair2"] = Degradation(
        _of_bytes(lambda sharp, rng: _repair(bicubic_shrink(sharp, 2), rng)), scale=2
    )
    return table


DEGRADATIONS = _table()
