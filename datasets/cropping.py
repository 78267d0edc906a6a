"""Cuts training crops in NumPy, decoding as little as possible.

Of a PNG, rows below the crop are not decoded. libvips does that fastest and is used where pyvips is
installed (`pip install 'restore_tf[deep]'`); else Pillow. PNG is lossless: both give equal pixels.

Imports no TensorFlow.
"""

from __future__ import annotations

import functools
import io
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.pictures import decoding, hidden
from restore_tf.pictures.files import MAX_PIXELS
from restore_tf.pictures.pixels import from_float, to_float

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# 8 bits; gray or RGB, with alpha or without; deflate, the usual filters, no Adam7.
_PLAIN = tuple(struct.pack(">BBBBB", 8, colours, 0, 0, 0) for colours in (0, 2, 4, 6))
# Chunks, and beginnings of texts, that can turn the picture, hide pixels, or say that it is HDR or
# one of several.
_SPECIAL = (b"acTL", b"cICP", b"eXIf", b"tRNS")
_SPECIAL_TEXTS = (b"Raw profile type", b"XML:com.adobe.xmp")


def cut(pixels: np.ndarray, corner: Sequence[int], crop: int) -> np.ndarray:
    """Returns the crop of a decoded picture (height, width, channels), as a view of it.

    Args:
      pixels: the picture.
      corner: (top, left) of the crop, in pixels.
      crop: side of the square, in pixels.

    Raises:
      UserError: the crop reaches beyond the picture.
    """
    top, left = corner
    piece = pixels[top : top + crop, left : left + crop]
    if piece.shape[:2] != (crop, crop):
        height, width = pixels.shape[:2]
        raise UserError(
            f"is {width}x{height} pixels, too small for the crop of {crop} at {left}, {top}; the "
            "two pictures of a pair must match, and stay as they are during a training."
        )
    return piece


def cut_pair(
    cutter: Callable, degraded, sharp, corner: Sequence[int], crop: int, scale: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the same place out of both pictures of a pair.

    Args:
      cutter: `cut` or `cut_file`.
      degraded: the degraded picture, as `cutter` takes it.
      sharp: the sharp one, `scale` times as large.
      corner: (top, left) of the degraded crop, in pixels.
      crop: side of the degraded crop, in pixels.
      scale: how many times larger the sharp picture is.

    Returns:
      (crop, crop, 3) and (scale * crop, scale * crop, 3) uint8.

    Raises:
      UserError: the crop reaches beyond a picture, or as `cutter`.
    """
    place = [scale * side for side in corner]
    return cutter(degraded, corner, crop), cutter(sharp, place, scale * crop)


def turn(pixels: np.ndarray, symmetry: int) -> np.ndarray:
    """Applies one of the square's eight symmetries.

    Args:
      pixels: (side, side, channels).
      symmetry: 0 (the identity) to 7: quarter turns counterclockwise; from 4 on mirrored left to
        right as well.

    Returns:
      The turned picture.
    """
    # Moving whole pixels is twice as fast as moving channels; these must be contiguous for that.
    if pixels.strides[-1] != pixels.itemsize:
        pixels = np.ascontiguousarray(pixels)
    whole = pixels.view(f"V{pixels.shape[-1] * pixels.itemsize}")[..., 0]
    whole = np.rot90(whole, symmetry % 4)
    if symmetry >= 4:
        whole = whole[:, ::-1]
    return np.ascontiguousarray(whole)[..., None].view(pixels.dtype)


def cut_file(file: str | os.PathLike | bytes, corner: Sequence[int], crop: int) -> np.ndarray:
    """Returns the crop of a picture file, (crop, crop, 3) uint8.

    A plain PNG is decoded from its top to the last row of the crop only: two thirds of it on
    average for crops of 256 of 720 rows. Damage further down is not noticed. Every other kind of
    file is decoded whole, and so is a PNG with hidden pixels in the crop: they take colours from
    anywhere in the picture, see `decode`.

    Args:
      file: path of the file, or its bytes.
      corner: (top, left) of the crop, in pixels.
      crop: side of the square, in pixels.

    Raises:
      UserError: the file cannot be read as a picture, or the crop reaches beyond it.
    """
    try:
        data = file if isinstance(file, bytes) else Path(file).read_bytes()
        if _is_plain_png(data):
            piece = _cut_png(data, *corner, crop).reshape(crop, crop, -1)
            if piece.shape[-1] in (1, 3) or piece[..., -1].all():
                return _rgb(piece)
    except Exception:  # decoders raise many kinds; `decode` below raises a UserError
        pass
    return cut(decode(file), corner, crop)


def decode(file: str | os.PathLike | bytes) -> np.ndarray:
    """Returns a picture file's colours, (height, width, 3) uint8, turned upright by its EXIF.

    Colours are as stored, whatever the profile: the two pictures of a pair share one, and published
    protocols compare stored values. Gray is repeated, 16 bits are rounded to 8, and pixels under
    full transparency take the colour of the nearest visible one.

    Args:
      file: path of the file, or its bytes.

    Raises:
      UserError: it cannot be read as a picture.
    """
    name = "the picture" if isinstance(file, bytes) else str(file)
    picture = decoding.decode(file, MAX_PIXELS, name, pixels_only=True)
    pixels = hidden.fill(picture.pixels, picture.alpha)
    if pixels.dtype != np.uint8:
        pixels = from_float(to_float(pixels), np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def _rgb(piece):
    """Returns the colours of (crop, crop, 1 to 4): gray is repeated, alpha left out."""
    colours = piece[..., : 3 if piece.shape[-1] > 2 else 1]
    return colours if colours.shape[-1] == 3 else np.repeat(colours, 3, axis=-1)


def _cut_png(data, top, left, crop):
    vips = libvips()
    if vips is not None:
        image = vips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
        return image.crop(left, top, crop, crop).numpy()
    with Image.open(io.BytesIO(data)) as image:
        # Pillow decodes the tiles in this list.
        (tile,) = image.tile
        image.tile = [tile._replace(extents=(0, 0, image.width, top + crop))]
        return np.asarray(image.crop((left, top, left + crop, top + crop)))


@functools.cache
def libvips():
    """Returns pyvips, None where it is not installed: Pillow cuts crops then."""
    try:
        import pyvips
    except (ImportError, OSError):  # the latter where pyvips does not find libvips
        return None
    pyvips.concurrency_set(1)  # tf.data has threads enough
    return pyvips


def _is_plain_png(data):
    """Whether a file is an 8-bit PNG with its rows in order and nothing special about it."""
    if data[:8] != _SIGNATURE or data[24:29] not in _PLAIN:
        return False
    return not any(
        name in _SPECIAL or data.startswith(_SPECIAL_TEXTS, place) for name, place in _chunks(data)
    )


def _chunks(data) -> Iterator[tuple[bytes, int]]:
    """Yields (name, where its data begin) of a PNG's chunks."""
    place = len(_SIGNATURE)
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        yield name, place + 8
        place += 12 + length
