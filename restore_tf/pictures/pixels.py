"""Arrays of pixels: number types, sizes, side-by-side pictures."""

from __future__ import annotations

import numpy as np

from restore_tf.errors import UserError


def _with_colours(pixels):
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def _as_type(pixels, dtype):
    return pixels if pixels.dtype == dtype else from_float(to_float(pixels), dtype)


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Converts pixels to float32 in [0, 1].

    Args:
      pixels: of any shape; uint8 in [0, 255], uint16 in [0, 65535], or floats (not scaled).

    Returns:
      float32 of the same shape.

    Raises:
      UserError: another type.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"pixels of type {pixels.dtype}; expected uint8, uint16 or float in [0, 1]."
        )
    return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max


def from_float(pixels: np.ndarray, dtype) -> np.ndarray:
    """Converts floats in [0, 1] to another type; integers are clipped and rounded, never truncated.

    Args:
      pixels: floats of any shape.
      dtype: uint8, uint16 or a float type, which is not scaled.

    Returns:
      An array of the same shape and the requested type.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return pixels.astype(dtype)
    limit = np.iinfo(dtype).max
    return np.rint(np.clip(pixels, 0.0, 1.0) * limit).astype(dtype)


def scale_of(restored: np.ndarray, degraded: np.ndarray) -> int:
    """Returns how many times as high and wide a restored picture is; 0 where it is no multiple.

    Args:
      restored: (height, width, …).
      degraded: (height, width, …).
    """
    sides = [divmod(a, b) for a, b in zip(restored.shape[:2], degraded.shape[:2], strict=True)]
    (scale, rest), other = sides
    return scale if not rest and (scale, rest) == other else 0


def repeat(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Enlarges by an integer factor: each pixel becomes a square.

    Args:
      pixels: (height, width, …).
      scale: the factor, 1 or more.

    Returns:
      The enlarged pixels.
    """
    return pixels if scale == 1 else pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def before_after(*pictures: np.ndarray, gap: int = 8) -> np.ndarray:
    """Puts pictures side by side, as one (height, width, 3) uint8; smaller ones are enlarged.

    Args:
      pictures: (height, width, 3) or (height, width) each, uint8 or uint16.
      gap: white columns between two pictures, in pixels.

    Returns:
      (height, width, 3) uint8.
    """
    columns, height = [], max(len(pixels) for pixels in pictures)
    for pixels in pictures:
        pixels = repeat(pixels, height // len(pixels))
        pixels = _as_type(_with_colours(pixels), np.uint8)
        columns += [pixels, np.full((pixels.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(columns[:-1], axis=1)
