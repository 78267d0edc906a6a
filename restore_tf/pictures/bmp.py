"""Reads what Pillow ignores in a BMP file's header: colours (versions 4 and 5), a fourth channel.

Microsoft's BITMAPV4HEADER and BITMAPV5HEADER; all numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from restore_tf.system.log import logger

_HEAD = 14  # bytes before the header
_V4, _V5 = 108, 124  # lengths of the headers
# Places within the header.
_BITS, _SPACE, _ENDPOINTS, _GAMMAS, _PROFILE = 14, 56, 60, 96, 112
_CALIBRATED, _LINKED, _EMBEDDED = b"\0\0\0\0", b"KNIL", b"DEBM"


def _at(stream, position, length):
    stream.seek(position, os.SEEK_SET)
    return stream.read(length)


def _space(stream):
    """The kind of colour space; None in headers too short to say."""
    (size,) = struct.unpack("<I", _at(stream, _HEAD, 4))
    return _at(stream, _HEAD + _SPACE, 4) if size >= _V4 else None


def profile(stream: BinaryIO, name: str) -> bytes | None:
    """Returns a file's embedded colour profile; warns of one that lies in another file.

    Args:
      stream: a BMP file, binary; its position is moved.
      name: what to call the file in the warning.
    """
    space = _space(stream)
    if space == _LINKED:
        logger.warning("%s: its colour profile is another file; taken as sRGB.", name)
    if space != _EMBEDDED or struct.unpack("<I", _at(stream, _HEAD, 4))[0] < _V5:
        return None
    start, length = struct.unpack("<II", _at(stream, _HEAD + _PROFILE, 8))
    return _at(stream, _HEAD + start, length) or None


def calibration(stream: BinaryIO) -> tuple[tuple[tuple[float, float], ...], float] | None:
    """Returns the chromaticities of red, green, blue and white, and the exponent of the curve.

    The exponent leads from values to light; 0 where the file does not say. None without either.

    Args:
      stream: a BMP file, binary; its position is moved.
    """
    if _space(stream) != _CALIBRATED:
        return None
    ends = np.frombuffer(_at(stream, _HEAD + _ENDPOINTS, 36), "<i4").reshape(3, 3) / 2**30
    gammas = np.frombuffer(_at(stream, _HEAD + _GAMMAS, 12), "<u4") / 2**16
    if not ends.any():
        return None
    points = np.vstack([ends, ends.sum(0)])
    sums = np.where(points.sum(1) == 0, np.nan, points.sum(1))
    return tuple((x / s, y / s) for (x, y, _), s in zip(points, sums, strict=True)), gammas.mean()


def warn_of_fourth_channel(image: Image.Image, stream: BinaryIO, name: str) -> None:
    """Warns of a 32-bit file whose fourth bytes vary, though no header calls them alpha.

    Args:
      image: the file as Pillow opened it.
      stream: the file, binary; its position is moved.
      name: what to call the file in the warning.
    """
    bits = struct.unpack("<H", _at(stream, _HEAD + _BITS, 2))[0]
    if image.mode != "RGB" or bits != 32:
        return
    (offset,) = struct.unpack("<I", _at(stream, 10, 4))
    data = _at(stream, offset, 4 * image.width * image.height)
    fourth = np.frombuffer(data, np.uint8)[3::4]
    if fourth.size and fourth.min() != fourth.max():
        logger.warning(
            "%s: has a fourth channel that it does not call alpha; restored without it.", name
        )
