"""Edits EXIF blocks in place: upright, without the old thumbnail, with sRGB's colours.

Everything else stays where it is, byte for byte: makers' notes point by position, and writing a
block again, as Pillow does, breaks them. EXIF 2.32 section 4.5 defines the layout of a block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import ExifTags

_INTEROP = 0xA005
_COLOUR_SPACE, _INDEX = 0xA001, 1
_SRGB = 1
_SHORT, _LONG = 3, 4
_COLOUR_TAGS = (
    ExifTags.Base.TransferFunction, ExifTags.Base.WhitePoint, ExifTags.Base.PrimaryChromaticities
)  # fmt: skip


def upright(block: bytes, width: int, height: int, turned: bool = False) -> bytes:
    """Returns an EXIF block for the picture turned upright: orientation 1, no thumbnail.

    Args:
      block: a TIFF structure, without the prefix "Exif".
      width: of the upright picture, in pixels; replaces the block's entry where there is one.
      height: likewise.
      turned: whether rows became columns: horizontal and vertical resolution swap.

    Raises:
      struct.error: the block is damaged.
      ValueError: the block is damaged.
    """
    exif, order, first = _open(block)
    sizes: dict[int, int] = {
        ExifTags.Base.ImageWidth: width,
        ExifTags.Base.ImageLength: height,
        ExifTags.Base.ExifImageWidth: width,
        ExifTags.Base.ExifImageHeight: height,
    }
    directories = _directories(exif, order, first)
    for directory in directories:
        for tag, position in _entries(exif, order, directory):
            if tag == ExifTags.Base.Orientation:
                _set_short(exif, order, position, 1)
            elif tag in sizes:
                struct.pack_into(order + "HHII", exif, position, tag, _LONG, 1, sizes[tag])
    if turned:
        _swap(exif, order, first, ExifTags.Base.XResolution, ExifTags.Base.YResolution)
    _drop_thumbnail(exif, order, first)
    return bytes(exif)


def as_srgb(block: bytes) -> bytes:
    """Returns an EXIF block for pixels that were converted to sRGB.

    Args:
      block: a TIFF structure, without the prefix "Exif".

    Raises:
      struct.error: the block is damaged.
      ValueError: the block is damaged.
    """
    exif, order, first = _open(block)
    for directory in _directories(exif, order, first):
        for tag, position in _entries(exif, order, directory):
            if tag == _COLOUR_SPACE:
                _set_short(exif, order, position, _SRGB)
            elif tag == _INTEROP:
                _set_interop(exif, order, struct.unpack_from(order + "I", exif, position + 8)[0])
    for tag in _COLOUR_TAGS:
        _drop_entry(exif, order, first, tag)
    return bytes(exif)


def _open(block):
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        raise ValueError("no byte order")
    return bytearray(block), order, struct.unpack_from(order + "I", block, 4)[0]


def _directories(exif, order, first) -> list[int]:
    """Where the first directory and EXIF's own one begin."""
    found = [first]
    for tag, position in _entries(exif, order, first):
        if tag == ExifTags.IFD.Exif:
            found += struct.unpack_from(order + "I", exif, position + 8)
    return found


def _entries(exif: bytearray, order: str, directory: int) -> Iterator[tuple[int, int]]:
    """Yields (tag, where the entry begins)."""
    (count,) = struct.unpack_from(order + "H", exif, directory)
    for position in range(directory + 2, directory + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", exif, position)[0], position


def _set_short(exif, order, position, value):
    struct.pack_into(order + "HIHH", exif, position + 2, _SHORT, 1, value, 0)


def _swap(exif, order, directory, one, other):
    """Swaps the values of two tags."""
    places = dict(_entries(exif, order, directory))
    if one in places and other in places:
        a, b = (slice(places[tag] + 2, places[tag] + 12) for tag in (one, other))
        exif[a], exif[b] = exif[b], exif[a]


def _set_interop(exif, order, directory):
    for tag, position in _entries(exif, order, directory):
        if tag == _INDEX and exif[position + 8 : position + 11] == b"R03":
            exif[position + 8 : position + 11] = b"R98"


def _drop_entry(exif, order, directory, unwanted):
    """Takes an entry out; those behind it, and the link to the next directory, move up."""
    position = dict(_entries(exif, order, directory)).get(unwanted)
    if position is None:
        return
    (count,) = struct.unpack_from(order + "H", exif, directory)
    end = directory + 2 + 12 * count + 4
    exif[position:end] = exif[position + 12 : end] + bytes(12)
    struct.pack_into(order + "H", exif, directory, count - 1)


def _drop_thumbnail(exif, order, first):
    (count,) = struct.unpack_from(order + "H", exif, first)
    link = first + 2 + 12 * count
    (second,) = struct.unpack_from(order + "I", exif, link)
    if not second:
        return
    struct.pack_into(order + "I", exif, link, 0)
    place = {
        tag: struct.unpack_from(order + "I", exif, position + 8)[0]
        for tag, position in _entries(exif, order, second)
    }
    start = place.get(ExifTags.Base.JpegIFOffset, 0)
    end = start + place.get(ExifTags.Base.JpegIFByteCount, 0)
    if not start:
        return
    if end >= len(exif):
        del exif[start:]
    else:
        exif[start:end] = bytes(end - start)
