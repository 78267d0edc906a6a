"""Decodes picture files to 8 or 16-bit channels, or refuses them."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import threading

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from restore_tf.errors import UserError
from restore_tf.pictures import bmp, colour_profiles, extras, metadata, sixteen_bits, stated_colours
from restore_tf.pictures.colour_spaces import Colours
from restore_tf.pictures.metadata import Metadata
from restore_tf.system.log import logger

# GIF only to name a misnamed animation in the error. No others: Pillow passes some to programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_GRAY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr")
_LIMIT_LOCK = threading.Lock()


class TooManyPixels(UserError):
    """A picture that is larger than the caller takes."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded picture file.

    Attributes:
      pixels: (height, width, 3) for colour, (height, width) for gray pictures, upright; uint8, or
        uint16 from a file of 16 bits a channel.
      alpha: (height, width) of the same type, or None.
      icc_profile: the colour profile of `pixels`, or None.
      colours: the colour space of `pixels` where the file states it without a profile; None for
        sRGB.
      metadata: EXIF and the like.
      kind: the format of its file, as Pillow calls it.
      lossless_webp: the file was a WebP without loss, and is to be written as one.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    colours: Colours | None = None
    metadata: Metadata = Metadata()
    kind: str = "PNG"
    lossless_webp: bool = False


def decode(
    file: str | os.PathLike | bytes, max_pixels: int, name: str, pixels_only: bool = False
) -> Picture:
    """Decodes a file, turned upright; RGB colours are as stored, CMYK becomes sRGB.

    Args:
      file: path of the file, or its bytes.
      max_pixels: the largest picture that is decoded, width times height.
      name: what to call the file in messages.
      pixels_only: skip metadata and profiles, and their warnings.

    Raises:
      UserError: as `files.read_picture`; `TooManyPixels` for more than `max_pixels`.
    """
    with _stream(file, name) as stream:
        try:
            with _open(stream, max_pixels, name) as image:
                return _decode(image, stream, name, pixels_only)
        except UserError:
            raise
        except UnidentifiedImageError:
            raise UserError(f"{name}: cannot be read as a picture ({_looks(stream)}).") from None
        except Exception as error:  # decoders raise many kinds on damaged files
            reason = str(error) or type(error).__name__
            raise UserError(f"{name}: cannot be read as a picture ({reason}).") from error


def _stream(file, name):
    if isinstance(file, bytes):
        return io.BytesIO(file)
    try:
        return open(file, "rb")
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; expected a picture.") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}).") from None


def _looks(stream):
    """Describes a file that Pillow does not recognise."""
    stream.seek(0)
    head = stream.read(4)
    if not head:
        return "it is empty"
    if head == b"MM\0+":
        return "a BigTIFF file in big-endian order; write it as a plain TIFF first"
    if head in (b"II*\0", b"MM\0*", b"II+\0"):
        return "a TIFF file of an unusual layout, such as floats; expected 8 or 16-bit gray or RGB"
    return "neither PNG, JPEG, WebP, TIFF nor BMP, or its start is damaged"


def _open(stream, max_pixels, name):
    # Pillow's own limit holds for the whole process, and is half warning, half error.
    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(stream, formats=_FORMATS)
            if image.width * image.height > max_pixels:
                raise TooManyPixels(
                    f"{name}: has {image.width}x{image.height} pixels, more than --max_pixels "
                    f"({max_pixels}); raise it if the file is what you think it is."
                )
            frames = getattr(image, "n_frames", 1)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if frames > 1 and image.format != "MPO":  # what cameras write: a JPEG with previews behind it
        what = "pages" if image.format == "TIFF" else "frames, an animation"
        raise UserError(f"{name}: has {frames} {what}; expected a single still picture.")
    return image


def _decode(image, stream, name, pixels_only):
    if image.format == "PNG":
        image.load()  # EXIF and texts can stand behind the pixels
    tags = metadata.exif_tags(image, name)
    colours = None
    if image.format == "BMP" and not pixels_only and (icc := bmp.profile(stream, name)):
        image.info["icc_profile"] = icc
    if pixels_only:
        stated_colours.refuse_hdr(image, stream, name)
    else:
        colours, over_profile = stated_colours.find(image, stream, tags, name)
        if over_profile:
            image.info.pop("icc_profile", None)
        extras.warn(image, stream, tags, getattr(image, "n_frames", 1), name)
    turned = metadata.orientation(tags) > 4
    size = image.size[::-1] if turned else image.size

    def beside():
        return Metadata() if pixels_only else metadata.read(image, tags, size, turned, name)

    deep = _is_deep(image, stream, name)
    try:
        picture = (_decode_deep if deep else _decode_shallow)(image, stream, tags, beside, name)
    except MemoryError:
        raise UserError(f"{name}: {size[0]}x{size[1]} pixels do not fit into memory.") from None
    return dataclasses.replace(picture, colours=colours)


def _decode_shallow(image, stream, tags, beside, name):
    if image.mode not in (*_GRAY_MODES, *_COLOUR_MODES, "CMYK"):
        raise UserError(f"{name}: has {image.mode} pixels; expected gray, palette, RGB or CMYK.")
    image.load()  # turns TIFF upright, as its tags then say
    if image.format == "BMP":
        bmp.warn_of_fourth_channel(image, stream, name)
    kind = {"MPO": "JPEG", "GIF": "PNG"}.get(image.format, image.format)
    found = beside()
    profile = image.info.get("icc_profile")
    image.info.pop("exif", None)  # read already; Pillow would rewrite it, and fail on odd tags
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "CMYK":
        image, profile = colour_profiles.cmyk_to_srgb(image, profile, name)
    gray, alpha = image.mode in _GRAY_MODES, None
    if image.has_transparency_data:
        image = image.convert("LA" if gray else "RGBA")
        alpha = np.asarray(image.getchannel("A"))
    pixels = np.asarray(image.convert("L" if gray else "RGB"))
    return Picture(pixels, alpha, profile, None, found, kind, _is_lossless_webp(stream))


def _decode_deep(image, stream, tags, beside, name):
    stream.seek(0)
    pixels, alpha, cmyk = sixteen_bits.read(stream.read(), metadata.orientation(tags))
    profile = image.info.get("icc_profile")
    if cmyk:
        logger.warning("%s: converted from CMYK to sRGB.", name)
        profile = colour_profiles.srgb_profile()
    return Picture(pixels, alpha, profile, None, beside(), image.format)


def _is_deep(image, stream, name):
    """Whether a file has 16 bits a channel; a UserError where it has neither 8 nor 16."""
    if image.format == "PNG":
        stream.seek(24)  # the bit depth: after the signature, the chunk's head, width and height
        return stream.read(1) == b"\x10"
    if image.format != "TIFF":
        return False
    bits = set(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    formats = set(image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    if formats <= {1, 4} and (bits == {16} or max(bits) <= 8):
        return bits == {16}
    kind = "floats" if 3 in formats else "signed integers" if 2 in formats else "integers"
    raise UserError(
        f"{name}: has {kind} of {max(bits)} bits; expected 8 or 16-bit integers without sign."
    )


def _is_lossless_webp(stream):
    """Whether the picture's own chunk is VP8L, by the container format's chunk list."""
    stream.seek(0)
    if stream.read(12)[8:] != b"WEBP":
        return False
    while len(head := stream.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        stream.seek(length + length % 2, os.SEEK_CUR)
    return False
