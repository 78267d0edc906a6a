"""Converts metadata to the options of Pillow's writers.

What a format cannot hold is left out, with a warning.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin, TiffTags

from restore_tf.pictures.metadata import (
    IPTC_RESOURCE,
    IPTC_TAG,
    STRUCTURE,
    XMP_KEY,
    XMP_TAG,
    Metadata,
)
from restore_tf.system.log import logger

# Pillow's limits in reading a PNG file: bytes of a decompressed text or profile, and characters of
# all texts.
PNG_COMPRESSED = 2**20
_PNG_TEXTS = 2**26
_ZIPPED_FROM = 1024  # characters

# Bytes: a segment of 65,533 less what stands before the data.
_JPEG_LIMITS = {"exif": 65_527, "xmp": 65_504, "iptc": 65_506, "comment": 65_533}
_HOLDS = {
    "PNG": {"exif", "xmp", "texts"},
    "JPEG": {"exif", "xmp", "iptc", "comment"},
    "WEBP": {"exif", "xmp"},
    "TIFF": {"exif", "xmp", "iptc"},
    "BMP": set(),
}
_WORDS = {"exif": "EXIF", "xmp": "XMP", "iptc": "IPTC", "dpi": "resolution (pixels not square)"}


def save_options(metadata: Metadata, kind: str, name: str) -> dict[str, Any]:
    """Returns the options of Pillow's `Image.save` for the metadata; warns of what is left out.

    Args:
      metadata: what to write.
      kind: Pillow's name of the file's format.
      name: what to call the file in warnings.
    """
    kept = _fitting(metadata, kind, name)
    options: dict[str, Any] = {"dpi": kept.dpi} if kept.dpi and kind != "WEBP" else {}
    if kind == "TIFF":
        return options | {"exif": tiff_tags(kept, name)}
    if kept.exif:
        options["exif"] = b"Exif\0\0" + kept.exif
    if kind == "PNG":
        options["pnginfo"] = _png_texts(kept)
    elif kept.xmp:
        options["xmp"] = kept.xmp
    if kept.comment:
        options["comment"] = kept.comment
    if kept.iptc:
        options["extra"] = _iptc_segment(kept.iptc)
    return options


def _fitting(metadata, kind, name):
    """Removes what the format cannot hold, with a warning."""
    lost = [
        field
        for field in ("exif", "xmp", "iptc", "comment", "texts")
        if (value := getattr(metadata, field))
        and (field not in _HOLDS[kind] or (kind == "JPEG" and len(value) > _JPEG_LIMITS[field]))
    ]
    texts = sum(len(text) for _, text in metadata.texts)
    if kind == "PNG" and metadata.xmp and texts + len(metadata.xmp) > _PNG_TEXTS:
        lost.append("xmp")
    if kind == "WEBP" and metadata.dpi and metadata.dpi[0] != metadata.dpi[1]:
        lost.append("dpi")
    if lost:
        words = ", ".join(_WORDS.get(field, field) for field in lost)
        logger.warning("%s: %s cannot hold its %s; left out.", name, kind, words)
    nothing = Metadata()
    return dataclasses.replace(metadata, **{field: getattr(nothing, field) for field in lost})


def _png_texts(metadata):
    info = PngImagePlugin.PngInfo()
    for key, text in metadata.texts:
        size = len(text.encode("utf-8"))
        zipped = size > _ZIPPED_FROM and size <= PNG_COMPRESSED
        if isinstance(text, PngImagePlugin.iTXt):
            info.add_itxt(key, text, text.lang or "", text.tkey or "", zip=zipped)
        else:
            info.add_text(key, text, zip=zipped)
    if metadata.xmp:
        info.add_itxt(XMP_KEY, metadata.xmp.decode("utf-8", "replace"))
    return info


def _iptc_segment(iptc):
    """A JPEG segment APP13 with one of Adobe's image resources: the IPTC records."""
    resource = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc
    data = b"Photoshop 3.0\0" + resource + bytes(len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(data) + 2) + data


def tiff_tags(metadata: Metadata, name: str) -> Image.Exif:
    """Returns the metadata as the tags of a TIFF file.

    Args:
      metadata: what to write.
      name: what to call the file in warnings.
    """
    tags = Image.Exif()
    if metadata.exif:
        try:
            tags.load(b"Exif\0\0" + metadata.exif)
            # Phones describe the pixels of their JPEG here, which differ from those to be written.
            for tag in STRUCTURE.intersection(tags):
                del tags[tag]
            inner = tags.get_ifd(ExifTags.IFD.Exif)
            if ExifTags.IFD.Interop in inner:  # Pillow would write its old position
                inner[ExifTags.IFD.Interop] = tags.get_ifd(ExifTags.IFD.Interop)
            tags.tobytes()
        except Exception as error:  # as in `_exif`
            logger.warning("%s: TIFF cannot hold its EXIF (%s).", name, error)
            tags = Image.Exif()
    if metadata.xmp:
        tags[XMP_TAG] = metadata.xmp
    if metadata.iptc:
        tags[IPTC_TAG] = metadata.iptc
    return tags


def tiff_directory(tags: Image.Exif):
    """Yields (tag, value) as Pillow's `ImageFileDirectory_v2` takes them, sub-directories as dicts.

    Args:
      tags: from `tiff_tags`.
    """
    for tag in tags:
        yield tag, tags.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else tags[tag]
