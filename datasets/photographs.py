"""The configuration `photo`: the faults of a hand-held camera, of many kinds.

  shake      the camera shifts: one blur everywhere
  turn       it turns as well: the blur differs from place to place
  depth      it shifts before a near thing, which moves more, and one of the two is out of focus
  moving     a thing moves before a still background
  defocus    out of focus, by a disc or a Gaussian
  both       shaken and out of focus
  sensor     sharp: noise and JPEG alone
  untouched  the sharp picture itself, so that a network learns to keep it; in training only

The last two show photos as a whole: a piece of a sharp photo may be as soft as a blurred one. All
in linear light. Bright lights are brighter than white in some; sensor noise follows, then in a
quarter of the pairs the picture is shrunk, then in most it becomes a JPEG of quality 75 to 100.

The configuration `video` shows the kinds that move, as the published sets of pairs do: frames of a
video averaged as stored, not as light (GoPro's `blur`, see `averaging`). Black and white in equal
parts make 0.5 stored, but light that is stored as 0.735.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image

from restore_tf.datasets import kernels
from restore_tf.datasets.varying_blur import STILL, Motion, blur, disc_kernel

# Of 20 pictures in a row so many are of each kind.
_KINDS = {
    "shake": 3,
    "turn": 3,
    "depth": 2,
    "moving": 2,
    "defocus": 4,
    "both": 2,
    "sensor": 2,
    "untouched": 2,
}
_VIDEO_KINDS = {"shake": 7, "turn": 6, "depth": 3, "moving": 4}
SHARP = ("sensor", "untouched")  # kinds that show photos as a whole
_ZOOMS = {1.0: 15, 1.25: 3, 1.5: 2}  # how many times larger than shown a scene is photographed
_BLOCK = 20
_LENS_REACH = 7  # pixels: no lens here spreads light farther


class Shot(NamedTuple):
    """Decisions about a picture before it is made.

    Attributes:
      kind: one of the kinds above.
      zoom: how many times larger it is photographed, then shrunk.
      stored: whether stored values are blurred in place of light.
    """

    kind: str
    zoom: float
    stored: bool = False


def shot(index: int, training: bool = True) -> Shot:
    """Returns the kind and zoom of a picture; every 20 in a row have all of them.

    Held-out pictures are never untouched, as their PSNR would be infinite, and with it every mean:
    the kind "sensor" shows how a network changes sharp pictures.

    Args:
      index: of the picture.
      training: whether it is a training picture.
    """
    block, place = divmod(index, _BLOCK)
    made = _shots(block)[place]
    if made.kind == "untouched" and not training:
        return made._replace(kind="sensor")
    return made


def video_shot(index: int, training: bool = True) -> Shot:
    """Returns the kind and zoom of a picture of `video`; every 20 in a row have all of them.

    Args:
      index: of the picture.
      training: changes nothing.
    """
    block, place = divmod(index, _BLOCK)
    return _shots(block, video=True)[place]


@functools.lru_cache(maxsize=8)
def _shots(block, video=False):
    random = np.random.default_rng(block)
    kinds, zooms = (
        [value for value, count in table.items() for _ in range(count)]
        for table in (_VIDEO_KINDS if video else _KINDS, _ZOOMS)
    )
    pairs = zip(random.permutation(_BLOCK), random.permutation(_BLOCK), strict=True)
    return [Shot(kinds[kind], zooms[zoom], video) for kind, zoom in pairs]


def average_frames(
    rng: np.random.Generator, picture: np.ndarray, kind: str, margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Averages frames of a video as stored; the mean of many has little noise.

    Args:
      rng: source of randomness.
      picture: (height + 2 margin, width + 2 margin, 3) float32 sRGB in [0, 1].
      kind: one that moves: "shake", "turn", "depth" or "moving".
      margin: pixels at every border that are blurred into the picture and then cut off.

    Returns:
      (degraded, sharp), (height, width, 3) float32 sRGB in [0, 1], before JPEG.
    """
    inside = (slice(None), slice(margin, -margin), slice(margin, -margin))
    planes = np.moveaxis(picture, -1, 0).astype(np.float32, order="C")
    make = _two_layers if kind in ("depth", "moving") else _one_layer
    blurred, sharp = (one[inside] for one in make(rng, planes, kind, margin))
    noise = np.float32(_log_uniform(rng, 0.2, 2.0) / 255)
    blurred = blurred + noise * rng.standard_normal(blurred.shape, dtype=np.float32)
    return tuple(np.moveaxis(np.clip(one, 0.0, 1.0), 0, -1) for one in (blurred, sharp))


def photograph(
    rng: np.random.Generator, picture: np.ndarray, kind: str, margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Photographs a scene.

    Args:
      rng: source of randomness.
      picture: (height + 2 margin, width + 2 margin, 3) float32 sRGB in [0, 1].
      kind: one of the kinds above.
      margin: pixels at every border that are blurred into the picture and then cut off.

    Returns:
      (degraded, sharp), (height, width, 3) float32 sRGB in [0, 1], before JPEG.
    """
    inside = (slice(None), slice(margin, -margin), slice(margin, -margin))
    if kind == "untouched":
        sharp = picture[inside[1:]]
        return sharp, sharp
    planes = np.moveaxis(picture, -1, 0).astype(np.float32, order="C")
    light = kernels.srgb_to_linear(planes).astype(np.float32)
    lamps = rng.random() < 0.4 and np.mean(planes[1] > 0.85) < 0.02
    light = kernels.brighten(light, _log_uniform(rng, 2.0, 10.0) if lamps else 1.0)
    make = _two_layers if kind in ("depth", "moving") else _one_layer
    blurred, sharp = (one[inside] for one in make(rng, light, kind, margin))
    shot_noise, read_noise = _log_uniform(rng, 1e-5, 1e-3), _log_uniform(rng, 1e-4, 2e-3)
    noise = rng.standard_normal(blurred.shape, dtype=np.float32)
    blurred = np.maximum(blurred, 0.0)
    blurred += noise * np.sqrt(np.float32(shot_noise) * blurred + np.float32(read_noise**2))
    return kernels.encode(blurred), kernels.encode(sharp)


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _one_layer(rng, light, kind, margin):
    """(blurred, sharp) of a scene that moves as one."""
    if kind == "sensor":
        return light, light
    lens = _lens(rng) if kind in ("defocus", "both") else _slight_lens(rng)
    motion = STILL
    if kind != "defocus":
        turns = kind == "turn" or (kind == "both" and rng.random() < 0.5)
        motion = _camera(rng, light.shape[1:], turns)
    motion = motion.within(margin - len(lens) // 2, *light.shape[1:])
    return blur(light, motion, lens), light


def _two_layers(rng, light, kind, margin):
    """(blurred, sharp) of a thing before a background.

    The thing shows another part of the picture, brighter or darker, with an edge of its own. Each
    layer is blurred separately, and the thing's blurred outline covers the background, which shows
    through at the edge as it does behind a moving one.
    """
    size = light.shape[1:]
    thing = light[:, ::-1, ::-1] * np.float32(_log_uniform(rng, 0.6, 1.6))
    cover = _outline(rng, size, margin, 0.45 if kind == "depth" else 0.22)
    near, far = _camera(rng, size, kind == "depth" and rng.random() < 0.5), STILL
    lenses = [_slight_lens(rng), _slight_lens(rng)]
    if kind == "depth":
        # Far things shift less, but turn as much.
        far = Motion(rng.uniform(0.1, 0.6) * near.path, near.turn, near.centre)
        lenses[rng.integers(2)] = _lens(rng)
    else:
        near = Motion(_stride(rng), np.zeros(kernels.SAMPLES), (0.0, 0.0))
    near, far = (
        motion.within(margin - len(lens) // 2, *size)
        for motion, lens in zip((near, far), lenses, strict=True)
    )
    front = blur(np.concatenate([thing * cover, cover]), near, lenses[0])
    hidden = np.clip(front[3:], 0.0, 1.0)
    blurred = front[:3] + (1.0 - hidden) * blur(light, far, lenses[1])
    return blurred, thing * cover + (1.0 - cover) * light


def _camera(rng, size, turns):
    """How a hand moves the camera: shifts of 1 to 25 pixels, short ones likelier, and turns."""
    path = kernels.shake_path(rng, 1.0 + 24.0 * rng.random() ** 1.5)
    turn, centre = np.zeros(len(path)), (0.0, 0.0)
    if turns:
        path *= rng.random()
        sway = kernels.shake_path(rng, 1.0)[:, 0]
        turn = sway / np.ptp(sway) * _log_uniform(rng, 0.01, 0.1)
        # The picture is a piece of a larger frame, whose middle the camera turns about.
        centre = tuple(rng.normal(0.5, 1.0, 2) * size)
    return Motion(path, turn, centre)


def _stride(rng):
    """The path of a moving thing: nearly straight, 3 to 24 pixels."""
    times = np.linspace(-0.5, 0.5, kernels.SAMPLES)
    length, angle = 3.0 + 21.0 * rng.random(), rng.uniform(0.0, 2 * np.pi)
    bend = rng.normal(0.0, 0.15)
    along, across = times, bend * (4 * times**2 - 1)
    path = length * np.stack(
        [
            along * np.sin(angle) + across * np.cos(angle),
            along * np.cos(angle) - across * np.sin(angle),
        ],
        axis=-1,
    )
    return path - path.mean(axis=0)


def _lens(rng):
    """The kernel of a lens out of focus."""
    if rng.random() < 0.6:
        return disc_kernel(_log_uniform(rng, 0.8, _LENS_REACH - 1.0))
    return _cropped(kernels.defocus_kernel(_log_uniform(rng, 0.6, 2.2)))


def _slight_lens(rng):
    """No lens and no sensor is perfectly sharp."""
    return _cropped(kernels.defocus_kernel(rng.uniform(0.0, 0.6)))


def _cropped(kernel):
    """The kernel without the far ends of its tails."""
    spare = max(0, len(kernel) // 2 - _LENS_REACH)
    kernel = kernel[spare : len(kernel) - spare, spare : len(kernel) - spare]
    return kernel / kernel.sum()


def _outline(rng, size, margin, share):
    """A thing's outline, a wavy disc with a soft edge: (1, height, width) float32 in [0, 1].

    share: its radius as a share of the smaller side without the margin, up to that and a half.
    """
    height, width = size
    radius = share * rng.uniform(0.6, 1.5) * (min(size) - 2 * margin)
    middle = margin + rng.random(2) * (np.array(size) - 2 * margin)
    rows = np.arange(height, dtype=np.float32)[:, None] - np.float32(middle[0])
    columns = np.arange(width, dtype=np.float32) - np.float32(middle[1])
    angle = np.arctan2(rows * np.float32(rng.uniform(0.6, 1.6)), columns)
    edge = np.full((height, width), radius, np.float32)
    for waves, strength in zip((2, 3, 5), rng.normal(0.0, (0.2, 0.12, 0.06)), strict=True):
        edge += np.float32(radius * strength) * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    # The edge of a pixel's width, steeper where the outline is slanted.
    return np.clip(0.5 + (edge - np.hypot(rows, columns)) / 1.3, 0.0, 1.0)[None].astype(np.float32)


def shrink(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrinks a picture by bicubic interpolation of sRGB values, as most programs do.

    Args:
      picture: (height, width, 3) float32 in [0, 1].
      size: (height, width) of the result, in pixels.
    """
    height, width = size
    if picture.shape[:2] == (height, width):
        return picture
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.BICUBIC)
        for plane in np.moveaxis(picture, -1, 0)
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1), 0.0, 1.0)
