"""Finds and names what a picture file holds beside its picture, and what is not kept.

Cameras append a second, smaller picture (an HDR gain map, a preview, depth) or a video to a JPEG,
after its end, and editors store layers and notes in places of their own. None of it would fit the
restored picture.
"""

from __future__ import annotations

import os
import re
import struct

from PIL import ExifTags, Image, TiffImagePlugin

from restore_tf.errors import UserError
from restore_tf.pictures import metadata, png, xmp
from restore_tf.system.log import logger

_PADDING = b"\0\xff\r\n\t "  # cameras fill up files with it
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # neither stuffing nor a restart
_END_OF_IMAGE = b"\xff\xd9"
_START_OF_IMAGE = b"\xff\xd8\xff"
_VIDEO = re.compile(rb"ftyp(?:mp4|iso|qt  |avc|3gp|hev|hvc|M4V|MSNV|dash)|MotionPhoto_Data")
_ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496"

# How JPEG's application segments begin that are read, or that describe the file's own coding.
_KNOWN_SEGMENTS = (
    b"JFIF", b"JFXX", b"Exif\0", b"http://ns.adobe.com/", b"ICC_PROFILE", b"MPF\0", _ISO_GAIN_MAP,
    b"Photoshop", b"Adobe", b"Ducky", b"JP",
)  # fmt: skip
# Chunks of PNG that are read, or that describe the stored pixels.
_KNOWN_CHUNKS = set(
    b"IHDR PLTE IDAT IEND tRNS cICP iCCP sRGB gAMA cHRM mDCV cLLI mDCv cLLi tEXt zTXt iTXt eXIf "
    b"pHYs sBIT bKGD hIST sPLT tIME oFFs vpAg caNv orNT iDOT acTL fcTL fdAT caBX".split()
)
_KNOWN_WEBP = set("VP8 VP8L VP8X ALPH ICCP EXIF XMP ANIM ANMF C2PA".split())
_CREDENTIALS = "content credentials (C2PA)"
_DNG_VERSION, _SUB_PICTURES, _LAYERS = 50706, ExifTags.Base.SubIFDs, 37724


def warn(image: Image.Image, stream, tags: Image.Exif, frames: int, name: str) -> None:
    """Logs one warning that lists all content that is not kept.

    Args:
      image: as Pillow opened it; a PNG file loaded.
      stream: the file; its position is moved.
      tags: the file's EXIF, of TIFF all its tags.
      frames: the pictures that Pillow counts.
      name: what to call the file in the warning.

    Raises:
      UserError: the file is a raw photo, of which only a preview could be read.
    """
    look = {"JPEG": _in_jpeg, "MPO": _in_jpeg, "PNG": _in_png, "WEBP": _in_webp, "TIFF": _in_tiff}
    found = look[image.format](image, stream, tags, name) if image.format in look else []
    if frames > 1 and image.format == "MPO":
        found.insert(0, f"{frames - 1} more picture{'s' if frames > 2 else ''}")
    packet = metadata.xmp_of(image)
    if packet and xmp.is_split(packet):
        found.append("the rest of its XMP (depth, previews)")
    if found:
        logger.warning("%s: restored without what else it holds: %s.", name, ", ".join(found))


def _in_jpeg(image, stream, tags, name):
    stream.seek(0)
    data = stream.read()
    behind = data[_jpeg_end(data) :]
    segments = getattr(image, "applist", [])
    found = []
    if behind.strip(_PADDING):
        found += _behind_jpeg(behind, segments, metadata.xmp_of(image) or b"", image.format)
    if any(content.startswith(b"JP") and b"c2pa" in content for _, content in segments):
        found.append(_CREDENTIALS)
    others = {
        f"{segment} {_word(content)}".strip()
        for segment, content in segments
        if segment.startswith("APP") and not content.startswith(_KNOWN_SEGMENTS)
    }
    return found + sorted(others)


def _behind_jpeg(behind, segments, packet, kind):
    found = []
    picture = _START_OF_IMAGE in behind
    if picture and (
        xmp.speaks_of_gain_map(packet)
        or xmp.speaks_of_gain_map(behind)
        or any(_ISO_GAIN_MAP in content for _, content in segments)
    ):
        found.append("an HDR gain map")
    elif picture and kind != "MPO":  # its pictures are counted already
        found.append("another picture behind it")
    if _VIDEO.search(behind):
        found.append("a video (motion photo)")
    return found or ([] if picture else [_bytes_behind(behind)])


def _bytes_behind(behind):
    return f"{len(behind.strip(_PADDING))} bytes behind its end"


def _jpeg_end(data):
    """Where a JPEG's first picture ends: after its marker EOI, not one of an embedded preview."""
    position = 2
    while (found := _MARKER.search(data, position)) is not None:
        if found[0] == _END_OF_IMAGE:
            return found.end()
        if found.end() + 2 > len(data):
            break
        position = found.end() + struct.unpack_from(">H", data, found.end())[0]
    return len(data)


def _word(content):
    return re.match(rb"[ -~]{0,20}", content)[0].decode().strip()


def _in_png(image, stream, tags, name):
    found, end = [], 0
    kinds = set()
    for kind, start, length in png.chunks(stream):
        kinds.add(kind)
        end = start + length + 4
    if b"caBX" in kinds:
        found.append(_CREDENTIALS)
    others = sorted(k.decode("latin-1") for k in kinds - _KNOWN_CHUNKS)
    if others:
        found.append(f"chunks {', '.join(others)}")
    stream.seek(end)
    behind = stream.read() if b"IEND" in kinds else b""
    return found + ([_bytes_behind(behind)] if behind.strip(_PADDING) else [])


def _in_webp(image, stream, tags, name):
    kinds = []
    end = 8 + struct.unpack("<I", _at(stream, 4, 4))[0]
    position = 12
    while len(head := _at(stream, position, 8)) == 8 and position < end:
        kinds.append(head[:4].decode("latin-1").strip())
        length = struct.unpack("<I", head[4:])[0]
        position += 8 + length + length % 2
    found = [_CREDENTIALS] if "C2PA" in kinds else []
    others = sorted(set(kinds) - _KNOWN_WEBP)
    if others:
        found.append(f"chunks {', '.join(others)}")
    stream.seek(end)
    behind = stream.read()
    return found + ([_bytes_behind(behind)] if behind.strip(_PADDING) else [])


def _at(stream, position, length):
    stream.seek(position, os.SEEK_SET)
    return stream.read(length)


def _in_tiff(image, stream, tags, name):
    if _DNG_VERSION in tags:
        raise UserError(f"{name}: is a raw photo (DNG); develop it to TIFF or PNG first.")
    found = ["Photoshop layers"] if _LAYERS in tags else []
    if _SUB_PICTURES in tags:
        found.append("pictures below its first one (SubIFDs)")
    extra = image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES, ())
    if 0 in extra and image.mode == "RGB":
        found.append("a channel of unknown meaning")
    return found
