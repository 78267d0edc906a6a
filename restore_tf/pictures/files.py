"""Reads and writes picture files: bit depth, alpha, metadata and colour profiles are preserved.

Pillow decodes and encodes; `sixteen_bits` handles 16 bits a channel, `colour_profiles` the
profiles, `metadata` EXIF, XMP and IPTC. A warning names what a format cannot hold.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.pictures import (
    colour_profiles,
    decoding,
    hidden,
    kinds,
    metadata,
    metadata_writing,
    sixteen_bits,
)
from restore_tf.pictures.decoding import Picture
from restore_tf.pictures.pixels import _as_type, _with_colours, from_float, to_float
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

JPEG_QUALITY = 95
MAX_PIXELS = 300_000_000  # 900 MB of 8-bit colours; the largest cameras give 150 million
_FULL_CHROMA_FROM = 90  # JPEG quality


def read_picture(
    file: str | os.PathLike | bytes, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> Picture:
    """Reads a picture file, turned upright by its EXIF orientation, its colours as sRGB.

    Warnings name what is converted on the way (another colour space, CMYK) or left behind.

    Args:
      file: path of the file, or its bytes. The content decides the format, not the name.
      max_pixels: the largest picture that is decoded, width times height: small files can claim to
        be huge.
      name: what to call the file in messages; its path by default.

    Raises:
      UserError: missing, broken, truncated, animated, of several pages, larger than `max_pixels`,
        HDR, or of channels that are neither 8 nor 16-bit integers.
    """
    name = name or ("the picture" if isinstance(file, bytes) else str(file))
    picture = decoding.decode(file, max_pixels, name)
    if picture.colours is not None:
        logger.warning("%s: converted from %s to sRGB.", name, picture.colours.name)
        pixels = picture.colours.to_srgb(picture.pixels)
        profile = colour_profiles.srgb_profile() if pixels.ndim == 3 else None
    else:
        pixels, profile = colour_profiles.to_srgb(picture.pixels, picture.icc_profile, name)
    beside = picture.metadata
    if pixels is not picture.pixels:
        beside = metadata.as_srgb(beside, name)
    return dataclasses.replace(
        picture, pixels=pixels, icc_profile=profile, colours=None, metadata=beside
    )


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Returns a picture file's colours alone, (height, width, 3) uint8; gray is repeated.

    Colours are as stored, whatever the profile: the two pictures of a pair share one, and published
    protocols compare stored values. Hidden pixels get the colour of the nearest visible one.

    Args:
      path: the file.

    Raises:
      UserError: as `read_picture`, or 16 bits a channel.
    """
    picture = decoding.decode(path, MAX_PIXELS, str(path), pixels_only=True)
    pixels = hidden.fill(picture.pixels, picture.alpha)
    if pixels.dtype != np.uint8:
        raise UserError(f"{path}: has 16 bits a channel; convert it to 8 bits.")
    return _with_colours(pixels)


def restored(picture: Picture, pixels: np.ndarray) -> Picture:
    """Returns a picture with restored pixels; alpha and metadata are kept and follow its size.

    Args:
      picture: the degraded one.
      pixels: as large as its pixels, or a multiple; alpha is enlarged by Pillow's bicubic filter.
    """
    alpha, beside = picture.alpha, picture.metadata
    if pixels.shape[:2] != picture.pixels.shape[:2]:
        size = pixels.shape[1::-1]
        beside = metadata.resized(beside, size)
        if alpha is not None:
            plane = Image.fromarray(to_float(alpha)).resize(size, Image.Resampling.BICUBIC)
            alpha = from_float(np.asarray(plane), alpha.dtype)
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha, metadata=beside)


def encode_restored(
    picture: Picture,
    pixels: np.ndarray,
    format: str | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    name: str = "the picture",
) -> tuple[bytes, str]:
    """Returns the file of a restored picture, with what stood beside the degraded one's pixels.

    Args:
      picture, pixels: as for `restored`.
      format: an ending without its dot; by default that of the degraded picture's own format.
      jpeg_quality, name: as for `encode`.

    Returns:
      The file's bytes, and its ending with the dot.

    Raises:
      UserError: as `encode`.
    """
    suffix = f".{format}" if format else ending(picture.kind)
    return encode(restored(picture, pixels), suffix, jpeg_quality, name), suffix


def ending(kind: str) -> str:
    """Returns the usual ending, with its dot, of a format that Pillow calls `kind`.

    Args:
      kind: a value of `kinds.PICTURES`, such as "JPEG".
    """
    return next(suffix for suffix, known in kinds.PICTURES.items() if known == kind)


def write_picture(
    path: str | os.PathLike, picture: Picture | np.ndarray, jpeg_quality: int = JPEG_QUALITY
) -> None:
    """Writes a picture, in the format of the path's ending, under a temporary name first.

    Args:
      path: where to; JPEG, PNG, BMP, TIFF or WebP by its ending.
      picture: a `Picture`, or pixels (height, width, 3) or (height, width), uint8 or uint16.
      jpeg_quality: as for `encode`.

    Raises:
      UserError: the ending is not that of a known format, the format cannot hold the picture, or
        the folder cannot be written to.
    """
    path = Path(path)
    if not isinstance(picture, Picture):
        picture = Picture(np.asarray(picture))
    if not kinds.is_picture(path):
        raise UserError(kinds.unknown_ending(path))
    data = encode(picture, path.suffix, jpeg_quality, str(path))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def encode(
    picture: Picture, suffix: str, jpeg_quality: int = JPEG_QUALITY, name: str = "the picture"
) -> bytes:
    """Returns the bytes of a picture file in the format that belongs to a file name's ending.

    What the format cannot hold (alpha, 16 bits, metadata) is left out or rounded, with a warning.

    Args:
      picture: what to write.
      suffix: one of `kinds.PICTURES`.
      jpeg_quality: of JPEG and WebP, 1 to 100. From 90 on JPEG keeps the colours at full
        resolution: halving them, its usual way, would blur red and blue edges again.
      name: what to call the file in messages.

    Raises:
      UserError: the format cannot hold a picture of this size.
    """
    kind = kinds.PICTURES[suffix.lower()]
    planes, profile = _planes(picture, kind, name)
    options: dict[str, Any] = metadata_writing.save_options(picture.metadata, kind, name)
    if profile:
        options["icc_profile"] = profile
    if kind == "JPEG":
        full = jpeg_quality >= _FULL_CHROMA_FROM
        options |= {"quality": jpeg_quality, "subsampling": "4:4:4" if full else "4:2:0"}
    if kind == "WEBP":
        # exact: colours under full transparency stay.
        options |= {"quality": jpeg_quality, "lossless": picture.lossless_webp, "exact": True}
    try:
        if planes.dtype == np.uint16:
            return {"PNG": sixteen_bits.encode_png, "TIFF": sixteen_bits.encode_tiff}[kind](
                planes, options
            )
        buffer = io.BytesIO()
        Image.fromarray(planes).save(buffer, kind, **options)
        return buffer.getvalue()
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise UserError(f"{name}: cannot be written as {kind} ({error}).") from None


def _planes(picture, kind, name):
    """Returns the channels as the format can hold them, alpha last, and the profile to embed."""
    pixels, alpha, profile = picture.pixels, picture.alpha, picture.icc_profile
    if pixels.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        logger.warning("%s: %s holds 8 bits a channel; rounded from 16.", name, kind)
        pixels = _as_type(pixels, np.uint8)
    if alpha is not None and kind in ("JPEG", "BMP"):
        if alpha.min() < np.iinfo(alpha.dtype).max:
            logger.warning("%s: %s cannot hold alpha; left out.", name, kind)
        alpha = None
    # WebP has no gray. Of TIFF, Pillow reads no 16-bit gray with alpha.
    deep_pair = pixels.dtype == np.uint16 and alpha is not None
    if pixels.ndim == 2 and (kind == "WEBP" or (kind == "TIFF" and deep_pair)):
        pixels = _with_colours(pixels)
    too_long = kind == "PNG" and profile and len(profile) > metadata_writing.PNG_COMPRESSED
    if profile and (kind == "BMP" or too_long or (pixels.ndim == 3) != (picture.pixels.ndim == 3)):
        if not colour_profiles.inspect(profile).srgb:
            logger.warning("%s: %s cannot hold its colour profile; left out.", name, kind)
        profile = None
    if alpha is not None:
        alpha = _as_type(alpha, pixels.dtype)
        pixels = np.dstack([pixels, alpha])
    return pixels, profile
