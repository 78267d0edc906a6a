"""What a picture file says beside its pixels: EXIF, XMP, IPTC, texts, resolution."""

from __future__ import annotations

import dataclasses
import re
import struct
import warnings
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin, TiffTags

_XMP_KEY = "XML:com.adobe.xmp"
_IPTC_TAG, _XMP_TAG, _ICC_TAG = 33723, 700, 34675
_LAYERS_TAG = 37724  # Photoshop's
_IPTC_RESOURCE = 0x0404  # of Adobe's "image resources", in which JPEG files carry IPTC

# TIFF keeps EXIF among the tags that say how its pixels are stored. These belong to the pixels of
# the file that was read, not to the picture, or are carried apart (`Metadata.dpi`); Photoshop's two
# also hold the old picture itself.
_STRUCTURE = {
    *range(254, 260), *range(262, 267), 273, *range(277, 285), *range(290, 294), 296,
    301, 317, 318, 319, 320, *range(321, 326), 330, 332, 338, 339, 340, 341, 347, *range(512, 522),
    *range(529, 533), _XMP_TAG, _IPTC_TAG, 34377, _ICC_TAG, _LAYERS_TAG,
}  # fmt: skip

# Bytes: a segment of 65,533 less what stands before the data.
_JPEG_LIMITS = {"exif": 65_527, "xmp": 65_504, "iptc": 65_506, "comment": 65_533}
_HOLDS = {
    "PNG": {"exif", "xmp", "texts"},
    "JPEG": {"exif", "xmp", "iptc", "comment"},
    "WEBP": {"exif", "xmp"},
    "TIFF": {"exif", "xmp", "iptc"},
    "BMP": set(),
}


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What is kept of a file beside pixels and colour profile.

    Attributes:
      exif: the EXIF block, a TIFF structure without the prefix "Exif"; its orientation is 1 and it
        has no thumbnail, which would show the old picture.
      xmp: Adobe's XMP packet.
      iptc: the IPTC-IIM records: captions, credits, keywords.
      dpi: pixels per inch, horizontal and vertical.
      comment: a JPEG file's comment.
      texts: a PNG file's texts, (key, text).
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()


def exif_tags(image: Image.Image, name: str) -> Image.Exif:
    """Returns an open file's EXIF tags; none, with a warning, where they are damaged."""
    try:
        return image.getexif()
    except Exception as error:  # Pillow raises many kinds on damaged tags
        warnings.warn(f"{name}: its EXIF is damaged and is not kept ({error}).", stacklevel=5)
        image.info.pop("exif", None)
        return Image.Exif()


def orientation(tags: Image.Exif) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 where it says none or nonsense."""
    value = tags.get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def is_adobe_rgb(tags: Image.Exif) -> bool:
    """Whether EXIF says Adobe RGB, in the way of cameras (DCF 2.0: interoperability index R03)."""
    try:
        index = tags.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex, "")
    except Exception:  # as in `exif_tags`
        return False
    return str(index).startswith("R03")


def read(image: Image.Image, tags: Image.Exif, size: tuple[int, int], name: str) -> Metadata:
    """Returns the metadata of an open file, as it fits the picture turned upright.

    Args:
      image: as Pillow opened it. A PNG file must be loaded: metadata can stand behind its pixels.
      tags: from `exif_tags`; without those of TIFF's structure afterwards.
      size: (width, height) of the upright picture, in pixels.
      name: what to call the file in warnings.
    """
    texts = dict(getattr(image, "text", {}))
    xmp = texts.pop(_XMP_KEY, None) or image.info.get("xmp")
    iptc = (image.info.get("photoshop") or {}).get(_IPTC_RESOURCE) or tags.get(_IPTC_TAG)
    comment = image.info.get("comment")
    return Metadata(
        exif=_exif(image, tags, size, name),
        xmp=_upright_xmp(xmp) if xmp else None,
        iptc=iptc if isinstance(iptc, bytes) else None,
        dpi=_dpi(image.info.get("dpi")),
        comment=comment if isinstance(comment, bytes) else None,
        # ImageMagick's "Raw profile type exif" and its like: EXIF, IPTC, ICC once more, as text.
        texts=tuple((k, v) for k, v in texts.items() if not k.startswith("Raw profile type")),
    )


def _exif(image, tags, size, name):
    if not tags:
        return None
    try:
        if _LAYERS_TAG in tags:
            warnings.warn(f"{name}: its Photoshop layers are not kept.", stacklevel=4)
        block = image.info.get("exif")
        if not block:  # a TIFF file's own tags, or EXIF in some other shape
            for tag in _STRUCTURE.intersection(tags):
                del tags[tag]
            block = tags.tobytes() if tags else b""
        block = block.removeprefix(b"Exif\0\0")
        return upright_exif(block, *size) if block else None
    except Exception as error:  # Pillow's writer and struct raise many kinds on odd tags
        warnings.warn(f"{name}: its EXIF is damaged and is not kept ({error}).", stacklevel=4)
        return None


def upright_exif(block: bytes, width: int, height: int) -> bytes:
    """Returns an EXIF block for the picture turned upright: orientation 1, no thumbnail.

    Everything else stays where it is, byte for byte: makers' notes point by position, and writing
    the block anew, as Pillow does, breaks them.

    Args:
      block: a TIFF structure, as EXIF 2.32 section 4.5 lays it down, without the prefix "Exif".
      width, height: of the upright picture; replace what the block says, where it says it.

    Raises:
      struct.error, ValueError: the block is damaged.
    """
    exif = bytearray(block)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        raise ValueError("no byte order")
    sizes = {
        ExifTags.Base.ImageWidth: width,
        ExifTags.Base.ImageLength: height,
        ExifTags.Base.ExifImageWidth: width,
        ExifTags.Base.ExifImageHeight: height,
    }
    (first,) = struct.unpack_from(order + "I", exif, 4)
    directories = [first]
    for directory in directories:
        for tag, position in _entries(exif, order, directory):
            if tag == ExifTags.Base.Orientation:
                struct.pack_into(order + "HHIHH", exif, position, tag, 3, 1, 1, 0)
            elif tag in sizes:
                struct.pack_into(order + "HHII", exif, position, tag, 4, 1, sizes[tag])
            elif tag == ExifTags.IFD.Exif and directory == first:
                directories += struct.unpack_from(order + "I", exif, position + 8)
    _drop_thumbnail(exif, order, first)
    return bytes(exif)


def _entries(exif: bytearray, order: str, directory: int) -> Iterator[tuple[int, int]]:
    (count,) = struct.unpack_from(order + "H", exif, directory)
    for position in range(directory + 2, directory + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", exif, position)[0], position


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


def _upright_xmp(xmp):
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)


def _dpi(dpi):
    try:
        horizontal, vertical = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (horizontal, vertical) if all(1 <= v <= 1e6 for v in (horizontal, vertical)) else None


def save_options(metadata: Metadata, kind: str, name: str) -> dict[str, Any]:
    """Returns what Pillow's `Image.save` takes to write the metadata; says what cannot be kept.

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
    """Takes off what the format has no place for, and says so."""
    lost = [
        field
        for field in ("exif", "xmp", "iptc", "comment", "texts")
        if (value := getattr(metadata, field))
        and (field not in _HOLDS[kind] or (kind == "JPEG" and len(value) > _JPEG_LIMITS[field]))
    ]
    if lost:
        words = ", ".join(w.upper() if w in ("exif", "xmp", "iptc") else w for w in lost)
        warnings.warn(f"{name}: {kind} cannot hold its {words}; left out.", stacklevel=5)
    nothing = Metadata()
    return dataclasses.replace(metadata, **{field: getattr(nothing, field) for field in lost})


def _png_texts(metadata):
    info = PngImagePlugin.PngInfo()
    for key, text in metadata.texts:
        if isinstance(text, PngImagePlugin.iTXt):
            info.add_itxt(key, text, text.lang or "", text.tkey or "", zip=len(text) > 1024)
        else:
            info.add_text(key, text, zip=len(text) > 1024)
    if metadata.xmp:
        info.add_itxt(_XMP_KEY, metadata.xmp.decode("utf-8", "replace"))
    return info


def _iptc_segment(iptc):
    """A JPEG segment APP13 with one of Adobe's image resources: the IPTC records."""
    resource = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(iptc)) + iptc
    data = b"Photoshop 3.0\0" + resource + bytes(len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(data) + 2) + data


def tiff_tags(metadata: Metadata, name: str) -> Image.Exif:
    """Returns the metadata as the tags of a TIFF file."""
    tags = Image.Exif()
    if metadata.exif:
        try:
            tags.load(b"Exif\0\0" + metadata.exif)
            # Phones describe the pixels of their JPEG here, which would misdescribe ours.
            for tag in _STRUCTURE.intersection(tags):
                del tags[tag]
            tags.tobytes()
        except Exception as error:  # as in _exif
            warnings.warn(f"{name}: TIFF cannot hold its EXIF ({error}).", stacklevel=5)
            tags = Image.Exif()
    if metadata.xmp:
        tags[_XMP_TAG] = metadata.xmp
    if metadata.iptc:
        tags[_IPTC_TAG] = metadata.iptc
    return tags


def tiff_directory(tags: Image.Exif):
    """Yields (tag, value) as Pillow's `ImageFileDirectory_v2` takes them, sub-directories as dicts.

    Args:
      tags: from `tiff_tags`.
    """
    for tag in tags:
        yield tag, tags.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else tags[tag]
