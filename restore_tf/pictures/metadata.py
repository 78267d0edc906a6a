"""What a picture file says beside its pixels: EXIF, XMP, IPTC, texts, resolution."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin, TiffTags

from restore_tf.pictures import exif as exif_blocks
from restore_tf.pictures import xmp as xmp_packets
from restore_tf.system.log import logger

_XMP_KEY = "XML:com.adobe.xmp"
_IPTC_TAG, _XMP_TAG, _ICC_TAG = 33723, 700, 34675
_LAYERS_TAG = 37724  # Photoshop's
_COLOUR_SPACE_TAG = 0xA001
_IPTC_RESOURCE = 0x0404  # of Adobe's "image resources", in which JPEG files carry IPTC

# TIFF keeps EXIF among the tags that say how its pixels are stored. These belong to the pixels of
# the file that was read, not to the picture, or are carried apart (`Metadata.dpi`); Photoshop's two
# also hold the old picture itself.
_STRUCTURE = {
    *range(254, 260), *range(262, 267), 273, *range(277, 285), *range(290, 294), 296,
    301, 317, 318, 319, 320, *range(321, 326), 330, 332, 338, 339, 340, 341, 347, *range(512, 522),
    *range(529, 533), _XMP_TAG, _IPTC_TAG, 34377, _ICC_TAG, _LAYERS_TAG,
}  # fmt: skip

# What Pillow, and so we, read of a PNG file: bytes of a compressed text or profile once they are
# decompressed, and characters of all texts.
PNG_COMPRESSED = 2**20
_PNG_TEXTS = 2**26
_ZIPPED_FROM = 1024  # characters
_SQUARE = 0.01  # files round their resolutions

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
        logger.warning("%s: its EXIF is damaged and is not kept (%s).", name, error)
        image.info.pop("exif", None)
        return Image.Exif()


def orientation(tags: Image.Exif) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 where it says none or nonsense."""
    value = tags.get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def colour_space(tags: Image.Exif) -> str | None:
    """Returns the colour space that EXIF states: "sRGB", "Adobe RGB", another's words, or None.

    Cameras call Adobe RGB uncalibrated, with an index of interoperability R03 (DCF 2.0).
    """
    try:
        space = tags.get_ifd(ExifTags.IFD.Exif).get(_COLOUR_SPACE_TAG)
        index = tags.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex, "")
    except Exception:  # as in `exif_tags`
        return None
    if space == 1:
        return "sRGB"
    if space == 2 or str(index).startswith("R03"):
        return "Adobe RGB"
    if space is None:
        return None
    return "uncalibrated" if space == 0xFFFF else f"of a kind of its own ({space})"


def xmp_of(image: Image.Image) -> bytes | None:
    """Returns an open file's XMP packet."""
    packet = getattr(image, "text", {}).get(_XMP_KEY) or image.info.get("xmp")
    return packet.encode() if isinstance(packet, str) else packet


def read(
    image: Image.Image, tags: Image.Exif, size: tuple[int, int], turned: bool, name: str
) -> Metadata:
    """Returns the metadata of an open file, as it fits the picture turned upright.

    Args:
      image: as Pillow opened it. A PNG file must be loaded: metadata can stand behind its pixels.
      tags: from `exif_tags`; without those of TIFF's structure afterwards.
      size: (width, height) of the upright picture, in pixels.
      turned: whether turning it upright made rows of columns.
      name: what to call the file in warnings.
    """
    texts = dict(getattr(image, "text", {}))
    texts.pop(_XMP_KEY, None)
    xmp = xmp_of(image)
    iptc = (image.info.get("photoshop") or {}).get(_IPTC_RESOURCE) or tags.get(_IPTC_TAG)
    comment = image.info.get("comment")
    dpi = _dpi(image.info.get("dpi"))
    _say_aspect(image.info, dpi, name)
    return Metadata(
        exif=_exif(image, tags, size, turned, name),
        xmp=xmp_packets.without_claims(xmp_packets.upright(xmp)) if xmp else None,
        iptc=iptc if isinstance(iptc, bytes) else None,
        dpi=dpi[::-1] if dpi and turned else dpi,
        comment=comment if isinstance(comment, bytes) else None,
        # ImageMagick's "Raw profile type exif" and its like: EXIF, IPTC, ICC once more, as text.
        texts=tuple((k, v) for k, v in texts.items() if not k.startswith("Raw profile type")),
    )


def _exif(image, tags, size, turned, name):
    block = image.info.get("exif")
    if not (tags or block):
        return None
    try:
        if not block:  # a TIFF file's own tags, or EXIF in some other shape
            for tag in _STRUCTURE.intersection(tags):
                del tags[tag]
            block = _classic(tags, name) if tags else b""
        block = block.removeprefix(b"Exif\0\0")
        block = exif_blocks.upright(block, *size, turned) if block else b""
        return block if tags else None
    except Exception as error:  # Pillow's writer and struct raise many kinds on odd tags
        logger.warning("%s: its EXIF is damaged and is not kept (%s).", name, error)
        return None


def _classic(tags, name):
    """A TIFF file's tags as an EXIF block, which counts bytes in 32 bits; BigTIFF does in 64."""
    if tags.get_ifd(ExifTags.IFD.Exif):  # from the file, while its kind is known
        tags.get_ifd(ExifTags.IFD.Interop)
    tags.get_ifd(ExifTags.IFD.GPSInfo)
    tags.bigtiff = False
    for tag, value in list(tags.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, int) and not -(2**31) <= v < 2**32 for v in numbers):
            logger.warning("%s: its tag %d is of 64 bits and is not kept.", name, tag)
            del tags[tag]
    return tags.tobytes()


def as_srgb(metadata: Metadata, name: str) -> Metadata:
    """Returns metadata for pixels that were converted to sRGB."""
    exif, xmp = metadata.exif, metadata.xmp
    try:
        exif = exif_blocks.as_srgb(exif) if exif else None
    except (struct.error, ValueError) as error:
        logger.warning("%s: its EXIF is damaged and is not kept (%s).", name, error)
        exif = None
    return dataclasses.replace(metadata, exif=exif, xmp=xmp_packets.as_srgb(xmp) if xmp else None)


def resized(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """Returns metadata for a picture of another (width, height); those of `read` are upright."""
    exif = exif_blocks.upright(metadata.exif, *size) if metadata.exif else None
    return dataclasses.replace(metadata, exif=exif)


def _dpi(dpi):
    try:
        horizontal, vertical = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (horizontal, vertical) if all(1 <= v <= 1e6 for v in (horizontal, vertical)) else None


def _say_aspect(info, dpi, name):
    """Warns of pixels that are not square: some viewers stretch such a picture, and we do not."""
    unitless = info.get("aspect")  # PNG
    if info.get("jfif_unit") == 0:
        unitless = info.get("jfif_density")
    if "resolution" in info:  # TIFF
        unitless = info["resolution"]
    try:
        horizontal, vertical = (float(value) for value in dpi or unitless or (1, 1))
        aspect = vertical / horizontal
    except (TypeError, ValueError, ZeroDivisionError):
        return
    if abs(aspect - 1) > _SQUARE:
        kept = "" if dpi else ", and the output does not say so"
        logger.warning(
            "%s: its pixels are not square (%.4g times as wide as high); restored as they are "
            "stored%s.", name, aspect, kept,
        )  # fmt: skip


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
            inner = tags.get_ifd(ExifTags.IFD.Exif)
            if ExifTags.IFD.Interop in inner:  # Pillow would write its old position
                inner[ExifTags.IFD.Interop] = tags.get_ifd(ExifTags.IFD.Interop)
            tags.tobytes()
        except Exception as error:  # as in `_exif`
            logger.warning("%s: TIFF cannot hold its EXIF (%s).", name, error)
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
