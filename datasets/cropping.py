"""Training crops cut in NumPy, reading no more than they show.

A crop is told by a draw: two random integers of at least 0, from which the picture's size makes the
corner (`corner`). So whoever draws need not know the size, and every way to cut gives the same
crop.

Of a PNG, rows below the crop are not decoded. libvips does that fastest and is used where pyvips is
installed (`pip install 'restore_tf[deep]'`); else Pillow. PNG is lossless: both give the same.

Imports no TensorFlow.
"""

from __future__ import annotations

import functools
import io
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.pictures.files import read_rgb

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PLAIN = struct.pack(">BBBBB", 8, 2, 0, 0, 0)  # 8 bits, RGB, deflate, the usual filters, no Adam7
# Chunks, and beginnings of texts, that can turn the picture, hide pixels or say there are several.
_SPECIAL = (b"acTL", b"eXIf", b"tRNS")
_SPECIAL_TEXTS = (b"Raw profile type", b"XML:com.adobe.xmp")


def corner(draw: Sequence[int], size: Sequence[int], crop: int) -> tuple[int, int]:
    """Returns (top, left) of the crop, in pixels: each is the draw modulo the room there is.

    Args:
      draw: two integers in [0, 2^31).
      size: (height, width) of the picture.
      crop: side of the square, in pixels.

    Raises:
      UserError: the picture is smaller than the crop.
    """
    height, width = size
    if min(height, width) < crop:
        raise UserError(f"is {width}x{height} pixels, smaller than the training crop of {crop}.")
    return int(draw[0]) % (height - crop + 1), int(draw[1]) % (width - crop + 1)


def cut(pixels: np.ndarray, draw: Sequence[int], crop: int) -> np.ndarray:
    """Returns the crop of a decoded picture (…, height, width, channels), as a view of it."""
    top, left = corner(draw, pixels.shape[-3:-1], crop)
    return pixels[..., top : top + crop, left : left + crop, :]


def turn(pair: np.ndarray, symmetry: int) -> np.ndarray:
    """Returns a pair in one of the square's eight symmetries, counted from 0, the identity.

    Args:
      pair: (2, side, side, channels), with its channels beside each other in memory.
      symmetry: that many quarter turns counterclockwise; from 4 on mirrored left to right as well.
    """
    # A pixel moved as one piece is moved twice as fast as by its channels.
    pixels = pair.view(f"V{pair.shape[-1] * pair.itemsize}")[..., 0]
    pixels = np.rot90(pixels, symmetry % 4, axes=(1, 2))
    if symmetry >= 4:
        pixels = pixels[:, :, ::-1]
    return np.ascontiguousarray(pixels)[..., None].view(pair.dtype)


def cut_file(file: str | os.PathLike | bytes, draw: Sequence[int], crop: int) -> np.ndarray:
    """Returns the crop of a picture file, (crop, crop, 3) uint8.

    A plain PNG is decoded from its top to the last row of the crop only: two thirds of it on
    average for crops of 256 of 720 rows. Damage further down is not noticed.

    Args:
      file: path of the file, or what is in it.
      draw, crop: see `corner`.

    Raises:
      UserError: the file cannot be read as a picture, or is smaller than the crop.
    """
    try:
        data = file if isinstance(file, bytes) else Path(file).read_bytes()
        if _is_plain_png(data):
            width, height = struct.unpack(">II", data[16:24])
            return _cut_png(data, *corner(draw, (height, width), crop), crop)
    except UserError:
        raise
    except Exception:  # decoders raise many kinds; what is wrong is said below, in our words
        pass
    return cut(decode(file), draw, crop)


def decode(file: str | os.PathLike | bytes) -> np.ndarray:
    """Returns a picture file's colours, (height, width, 3) uint8.

    Args:
      file: path of the file, or what is in it.

    Raises:
      UserError: it cannot be read as a picture.
    """
    if not isinstance(file, bytes):
        return read_rgb(file)
    try:
        with Image.open(io.BytesIO(file)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot be read as a picture ({error}).") from None


def _cut_png(data, top, left, crop):
    vips = _vips()
    if vips is not None:
        image = vips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
        return image.crop(left, top, crop, crop).numpy()
    with Image.open(io.BytesIO(data)) as image:
        # What Pillow decodes is what its list of tiles names.
        (tile,) = image.tile
        image.tile = [tile._replace(extents=(0, 0, image.width, top + crop))]
        return np.asarray(image.crop((left, top, left + crop, top + crop)))


@functools.cache
def _vips():
    try:
        import pyvips
    except (ImportError, OSError):  # the latter where pyvips does not find libvips
        return None
    pyvips.concurrency_set(1)  # tf.data has threads enough
    return pyvips


def _is_plain_png(data):
    """Whether a file is an 8-bit RGB PNG with its rows in order and nothing special about it."""
    if data[:8] != _SIGNATURE or data[24:29] != _PLAIN:
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
