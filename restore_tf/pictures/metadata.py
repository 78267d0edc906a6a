"""Reads a picture file's metadata: EXIF, XMP, IPTC, texts, resolution.

`metadata_writing` writes it.
"""

from __future__ import annotations

import dataclasses
import struct

from PIL import ExifTags, Image

from restore_tf.pictures import exif as exif_blocks
from restore_tf.pictures import xmp as xmp_packets
from restore_tf.system.log import logger

XMP_KEY = "XML:com.adobe.xmp"
IPTC_TAG, XMP_TAG, _ICC_TAG = 33723, 700, 34675
_LAYERS_TAG = 37724  # Photoshop's
_COLOUR_SPACE_TAG = 0xA001
IPTC_RESOURCE = 0x0404  # of Adobe's "image resources", in which JPEG files carry IPTC

# TIFF keeps EXIF among the tags that say how its pixels are stored. These belong to the pixels of
# the file that was read, not to the picture, or are carried apart (`Metadata.dpi`); Photoshop's two
# also hold the old picture itself.
STRUCTURE = {
    *range(254, 260), *range(262, 267), 273, *range(277, 285), *range(290, 294), 296,
    301, 317, 318, 319, 320, *range(321, 326), 330, 332, 338, 339, 340, 341, 347, *range(512, 522),
    *range(529, 533), XMP_TAG, IPTC_TAG, 34377, _ICC_TAG, _LAYERS_TAG,
}  # fmt: skip

_SQUARE = 0.01  # files round their resolutions


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of a file that is kept.

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
    """Returns an open file's EXIF tags; none, with a warning, where they are damaged.

    Args:
      image: as Pillow opened it.
      name: what to call the file in the warning.
    """
    try:
        return image.getexif()
    except Exception as error:  # Pillow raises many kinds on damaged tags
        logger.warning("%s: its EXIF is damaged and is not kept (%s).", name, error)
        image.info.pop("exif", None)
        return Image.Exif()


def orientation(tags: Image.Exif) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 where it is missing or out of range.

    Args:
      tags: from `exif_tags`.
    """
    value = tags.get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _interoperability(tags):
    """The tags of EXIF's interoperability; empty where there are none."""
    try:
        return tags.get_ifd(ExifTags.IFD.Interop)
    except KeyError:  # Pillow before 13 where there are none
        return {}


def colour_space(tags: Image.Exif) -> str | None:
    """Returns the colour space that EXIF states: "sRGB", "Adobe RGB", a description, or None.

    Cameras call Adobe RGB uncalibrated, with an index of interoperability R03 (DCF 2.0).

    Args:
      tags: from `exif_tags`.
    """
    try:
        space = tags.get_ifd(ExifTags.IFD.Exif).get(_COLOUR_SPACE_TAG)
        index = _interoperability(tags).get(ExifTags.Interop.InteropIndex, "")
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
    """Returns an open file's XMP packet, or None.

    Args:
      image: as Pillow opened it; a PNG file loaded.
    """
    packet = getattr(image, "text", {}).get(XMP_KEY) or image.info.get("xmp")
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
    texts.pop(XMP_KEY, None)
    xmp = xmp_of(image)
    iptc = (image.info.get("photoshop") or {}).get(IPTC_RESOURCE) or tags.get(IPTC_TAG)
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
            for tag in STRUCTURE.intersection(tags):
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
        _interoperability(tags)
    tags.get_ifd(ExifTags.IFD.GPSInfo)
    tags.bigtiff = False
    for tag, value in list(tags.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, int) and not -(2**31) <= v < 2**32 for v in numbers):
            logger.warning("%s: its tag %d is of 64 bits and is not kept.", name, tag)
            del tags[tag]
    return tags.tobytes()


def as_srgb(metadata: Metadata, name: str) -> Metadata:
    """Returns metadata for pixels that were converted to sRGB.

    Args:
      metadata: of the pixels before the conversion.
      name: what to call the file in the warning about damaged EXIF.
    """
    exif, xmp = metadata.exif, metadata.xmp
    try:
        exif = exif_blocks.as_srgb(exif) if exif else None
    except (struct.error, ValueError) as error:
        logger.warning("%s: its EXIF is damaged and is not kept (%s).", name, error)
        exif = None
    return dataclasses.replace(metadata, exif=exif, xmp=xmp_packets.as_srgb(xmp) if xmp else None)


def resized(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """Returns metadata for a picture of another size.

    Args:
      metadata: of an upright picture, as `read` returns it.
      size: (width, height) in pixels.
    """
    exif = exif_blocks.upright(metadata.exif, *size) if metadata.exif else None
    return dataclasses.replace(metadata, exif=exif)


def _dpi(dpi):
    try:
        horizontal, vertical = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (horizontal, vertical) if all(1 <= v <= 1e6 for v in (horizontal, vertical)) else None


def _say_aspect(info, dpi, name):
    """Warns of pixels that are not square: some viewers stretch such pictures."""
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
