"""Simulates a long exposure: the average of frames, by three readings of their stored values.

See `averaging` for the readings of the published folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from restore_tf.errors import UserError

MODES = ("linear", "gamma", "encoded")


def average(frames: Iterable[np.ndarray], mode: str = "linear") -> np.ndarray:
    """Averages frames as a long exposure would have, as far as `mode` models it.

    Args:
      frames: uint8 sRGB frames (height, width, 3), all of one size. Read one at a time; none is
        kept.
      mode: "linear": average of light, by the sRGB curve of IEC 61966-2-1. "gamma": average of
        light, by the gamma of 2.2 of Nah et al. 2017. "encoded": average of the stored values.

    Returns:
      uint8 (height, width, 3), rounded to the nearest value, halves upwards.

    Raises:
      UserError: no frame, a frame of another type or size, an unknown mode.
    """
    light, to_value = curve(mode)
    total, count = None, 0
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise UserError(
                f"frame {count} has shape {frame.shape} and type {frame.dtype}; expected uint8 "
                "(height, width, 3)."
            )
        if total is None:
            total = np.zeros(frame.shape, np.float32)
        if frame.shape != total.shape:
            raise UserError(
                f"frame {count} has shape {frame.shape}, the frames before it {total.shape}; "
                "average frames of one size."
            )
        total += light[frame]
        count += 1
    if total is None:
        raise UserError("no frames to average; expected at least one.")
    return np.floor(to_value(total / count) + 0.5).astype(np.uint8)


def curve(mode: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Returns a mode's curve from stored value to light, and its inverse.

    Light is in [0, 1], except for "encoded", where it is the value itself: sums and halves of whole
    numbers are exact.

    Args:
      mode: one of `MODES`.

    Returns:
      (256,) float32, the light of each value; a function from light to values in [0, 255].

    Raises:
      UserError: an unknown mode.
    """
    values = np.arange(256)
    if mode == "linear":
        light, to_value = _srgb_to_light(values / 255), lambda y: 255 * _light_to_srgb(y)
    elif mode == "gamma":
        light, to_value = (values / 255) ** 2.2, lambda y: 255 * y ** (1 / 2.2)
    elif mode == "encoded":
        light, to_value = values, lambda y: y
    else:
        raise UserError(f"mode {mode!r}: expected one of {', '.join(MODES)}.")
    return light.astype(np.float32), to_value


def _srgb_to_light(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _light_to_srgb(y: np.ndarray) -> np.ndarray:
    return np.where(y <= 0.0031308, 12.92 * y, 1.055 * y ** (1 / 2.4) - 0.055)
