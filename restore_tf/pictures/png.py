"""The chunks of a PNG file (PNG, third edition, section 5)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

START = 8  # bytes before the first chunk


def chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields (type, offset of its data, their length) of each chunk, up to IEND.

    A truncated file ends the chunks without an error; the decoder raises one.

    Args:
      stream: a PNG file, binary; its position is moved.
    """
    size = stream.seek(0, os.SEEK_END)
    position = START
    while position + 12 <= size:
        stream.seek(position)
        length, kind = struct.unpack(">I4s", stream.read(8))
        if position + 12 + length > size:
            return
        yield kind, position + 8, length
        if kind == b"IEND":
            return
        position += length + 12


def first(stream: BinaryIO, wanted: bytes) -> bytes | None:
    """Returns the data of the first chunk of a type before the pixels; None where there is none.

    Args:
      stream: a PNG file, binary; its position is moved.
      wanted: the chunk's type, such as b"cICP".
    """
    for kind, start, length in chunks(stream):
        if kind == b"IDAT":
            return None
        if kind == wanted:
            stream.seek(start)
            return stream.read(length)
    return None
