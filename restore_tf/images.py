"""Picture files and arrays: reading, writing, and the quiet conversions that go wrong."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from restore_tf.errors import UserError
from restore_tf.files import atomic_path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I", "F")
_JPEG_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded picture file.

    Attributes:
      pixels: (height, width, 3) uint8 for colour, (height, width) uint8 for gray pictures, upright.
      alpha: (height, width) uint8, or None.
      icc_profile: the embedded colour profile, or None.
      exif: the metadata with the orientation reset, or None.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    exif: Any = None


def read_picture(path: str | os.PathLike) -> Picture:
    """Reads an 8-bit picture file, turned upright by its EXIF orientation.

    Raises:
      UserError: missing, broken, truncated, animated, deeper than 8 bits, or larger than Pillow's
        limit against decompression bombs.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise UserError(f"{path}: has several frames; expected a still picture.")
            if image.mode in _DEEP_MODES:
                raise UserError(f"{path}: has more than 8 bits a channel; convert it to 8 bits.")
            image = ImageOps.exif_transpose(image)
            profile, exif = image.info.get("icc_profile"), image.getexif() or None
            alpha = None
            if image.has_transparency_data:
                image = image.convert("RGBA")
                alpha = np.asarray(image.getchannel("A"))
            mode = "L" if image.mode in ("L", "1") else "RGB"
            return Picture(np.asarray(image.convert(mode)), alpha, profile, exif)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a picture.") from None
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({error}).") from None


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Returns a picture file's colours alone, (height, width, 3) uint8; gray is repeated."""
    pixels = read_picture(path).pixels
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def write_picture(path: str | os.PathLike, picture: Picture | np.ndarray) -> None:
    """Writes a picture, in the format of the path's ending, under a temporary name first.

    Args:
      path: where to; JPEG, PNG, BMP, TIFF or WebP by its ending.
      picture: a `Picture`, or pixels (height, width, 3) or (height, width) uint8.

    Raises:
      UserError: the ending is not that of a known format, or the folder cannot be written to.
    """
    path = Path(path)
    if not isinstance(picture, Picture):
        picture = Picture(np.asarray(picture))
    if path.suffix.lower() not in EXTENSIONS:
        raise UserError(f"{path}: unknown ending; expected one of {', '.join(EXTENSIONS)}.")
    data = encode(picture, path.suffix)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}).") from None


def encode(picture: Picture, suffix: str) -> bytes:
    """Returns the bytes of a picture file in the format that belongs to a file name's ending."""
    image = Image.fromarray(picture.pixels)
    kind = Image.registered_extensions()[suffix.lower()]
    if picture.alpha is not None and kind != "JPEG":
        image.putalpha(Image.fromarray(picture.alpha))
    options: dict[str, Any] = {}
    if picture.icc_profile:
        options["icc_profile"] = picture.icc_profile
    if picture.exif and kind != "BMP":
        options["exif"] = picture.exif
    if kind in ("JPEG", "WEBP"):
        options["quality"] = _JPEG_QUALITY
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 in [0, 255] or uint16 in [0, 65535] to float32 in [0, 1]; floats become float32."""
    pixels = np.asarray(pixels)
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"pixels of type {pixels.dtype}; expected uint8, uint16 or float in [0, 1]."
        )
    return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max


def from_float(pixels: np.ndarray, dtype) -> np.ndarray:
    """Float in [0, 1] to `dtype`: integers are clipped and rounded, never truncated."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return pixels.astype(dtype)
    limit = np.iinfo(dtype).max
    return np.rint(np.clip(pixels, 0.0, 1.0) * limit).astype(dtype)


def before_after(*pictures: np.ndarray, gap: int = 8) -> np.ndarray:
    """Puts pictures of one height beside each other with white gaps, as one (h, w, 3) uint8."""
    columns = []
    for pixels in pictures:
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=-1)
        columns += [pixels, np.full((pixels.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(columns[:-1], axis=1)
