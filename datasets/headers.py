"""Reads a picture file's size, and checks that it is complete, without decoding it.

Reads headers and the last bytes only, which takes a fraction of a millisecond; decoding takes tens
of milliseconds. Imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from restore_tf.errors import UserError

# Those that `pictures.decoding` reads.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
# The last bytes of a whole file. A download or copy that broke off lacks them.
_ENDINGS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
_END_BYTES = 4096  # some cameras append a few bytes after a JPEG's end marker
# A PNG's orientation can stand behind its pixels, where exiftool writes it.
_TURNING = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
_TAIL_BYTES = 1 << 17  # EXIF has 64 KB at most


class Header(NamedTuple):
    """The properties of a picture file.

    Attributes:
      size: (height, width) in pixels, turned upright by its EXIF.
      kind: its format, as Pillow calls it.
      deep: whether it has 16 bits a channel.
    """

    size: tuple[int, int]
    kind: str
    deep: bool


def upright_size(data: bytes) -> tuple[int, int]:
    """Returns (height, width) of a picture in pixels, turned upright by its EXIF.

    Args:
      data: the file's bytes.

    Raises:
      UserError: it cannot be read as a picture.
    """
    with _said_as("the picture"), io.BytesIO(data) as stream:
        return _opened(stream, "the picture").size


def check_file(path: str | os.PathLike) -> Header:
    """Checks without decoding that a file is a complete picture; returns its header.

    Damage in the middle of the file is not found. Only a PNG with its orientation behind its pixels
    is decoded.

    Args:
      path: the file.

    Raises:
      UserError: names the file that is missing, unreadable, truncated, animated or of many pages.
    """
    with _said_as(path), open(path, "rb") as stream:
        header = _opened(stream, path)
        ending = _ENDINGS.get(header.kind)
        if ending is not None and ending not in _tail(stream, _END_BYTES):
            raise UserError(f"{path}: truncated {header.kind} file; copy or download it again.")
    return header


@contextlib.contextmanager
def _said_as(name):
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; expected a picture.") from None
    except UnidentifiedImageError:
        kinds = "neither PNG, JPEG, WebP, TIFF nor BMP, or its start is damaged"
        raise UserError(f"{name}: cannot be read as a picture ({kinds}); replace it.") from None
    except Exception as error:  # Pillow's readers raise many kinds on damaged files
        raise UserError(f"{name}: cannot be read as a picture ({error}); replace it.") from None


def _opened(stream: BinaryIO, name) -> Header:
    image = Image.open(stream, formats=_FORMATS)
    kind = image.format
    if kind != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise UserError(f"{name}: has {image.n_frames} pictures in one file; expected one.")
    # Pillow names the layout of the stored pixels, such as "RGB;16B".
    deep = any(";16" in str(tile.args) for tile in image.tile)
    if kind == "PNG" and _turned_late(stream):
        stream.seek(0)
        image = Image.open(stream, formats=_FORMATS)
        image.load()
    width, height = image.size
    # Of a TIFF Pillow gives the upright size.
    turned = kind != "TIFF" and _orientation(image) in (5, 6, 7, 8)
    return Header((width, height) if turned else (height, width), kind, deep)


def _orientation(image):
    try:
        # The base class' method: a PNG's own would decode the picture.
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF, of many kinds, turns nothing
        return None


def _turned_late(stream):
    tail = _tail(stream, _TAIL_BYTES)
    behind = tail[tail.rfind(b"IDAT") + 1 :]
    return any(name in behind for name in _TURNING)


def _tail(stream, count):
    size = stream.seek(0, os.SEEK_END)
    stream.seek(-min(count, size), os.SEEK_END)
    return stream.read()
