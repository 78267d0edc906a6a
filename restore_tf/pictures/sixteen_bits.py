"""Pictures of 16 bits a channel, which Pillow rounds to 8 unless they are gray.

libvips reads them, writes PNG and converts colours. It would rewrite EXIF, so metadata go through
Pillow (`metadata_writing`).
"""

from __future__ import annotations

import functools
import io
import struct
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from restore_tf.errors import UserError
from restore_tf.pictures import metadata_writing

_PNG_START = 8  # bytes of a PNG file before its first chunk
_TIFF_LIMIT = 2**32  # bytes; TIFF counts them in 32 bits


@functools.cache
def libvips():
    """Returns pyvips, set up to read untrusted files.

    Raises:
      ValueError: it is not installed, or does not find libvips.
    """
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise ValueError(
            f"16 bits a channel need libvips: pip install 'restore_tf[deep]'; {error}"
        ) from None
    pyvips.cache_set_max(0)  # it would keep pictures for operations that are never repeated
    pyvips.block_untrusted_set(True)  # decoders that libvips marks as unsafe for untrusted files
    return pyvips


def read(data: bytes, orientation: int) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Decodes a PNG or TIFF file of 16 bits a channel and turns it upright.

    Args:
      data: the file's bytes.
      orientation: the EXIF orientation, 1 to 8.

    Returns:
      Pixels, (height, width, 3) or (height, width) uint16; alpha, (height, width) uint16, or None;
      whether the colours were CMYK, converted to sRGB.

    Raises:
      ValueError: the file is damaged, its channels are neither gray nor colours, or libvips is not
        installed.
    """
    vips = libvips()
    try:
        image = vips.Image.new_from_buffer(data, "", fail_on="error")
        if orientation != 1:
            image = image.copy()
            image.set_type(vips.GValue.gint_type, "orientation", orientation)
            image = image.autorot()
        cmyk = image.interpretation == "cmyk"
        if cmyk:
            image = image.icc_transform("srgb", input_profile="cmyk", embedded=True, depth=16)
        planes = image.numpy()
    except vips.Error as error:
        raise ValueError(" ".join(str(error).split())) from None
    planes = planes.reshape(image.height, image.width, image.bands)
    colours = {"grey16": 1, "rgb16": 3}.get(image.interpretation)
    if planes.dtype != np.uint16 or colours is None or image.bands - colours not in (0, 1):
        raise ValueError(f"{image.bands} channels of {image.interpretation} {planes.dtype}")
    alpha = np.ascontiguousarray(planes[..., colours]) if image.bands > colours else None
    pixels = planes[..., 0] if colours == 1 else planes[..., :3]
    return np.ascontiguousarray(pixels), alpha, cmyk


def to_srgb(pixels: np.ndarray, icc: bytes, name: str) -> np.ndarray:
    """Converts pixels from an RGB profile to sRGB.

    In two steps, through Lab: in one, Little CMS does 16 bits by a coarse table. Measured for Adobe
    RGB against the formulas: off by 11 of 65,535 on average and 300 at most, in one step by 30 and
    5,000, at the border of sRGB.

    Args:
      pixels: (height, width, 3) uint16.
      icc: their profile.
      name: what to call the file in messages.

    Returns:
      (height, width, 3) uint16.

    Raises:
      UserError: libvips cannot convert them.
      ValueError: libvips is not installed.
    """
    vips = libvips()
    try:
        image = _image(pixels).copy()
        image.set_type(vips.GValue.blob_type, "icc-profile-data", icc)
        options = {"intent": "relative", "black_point_compensation": True, "pcs": "lab"}
        lab = image.icc_import(embedded=True, **options)
        return lab.icc_export(output_profile="srgb", depth=16, **options).numpy()
    except vips.Error as error:
        raise UserError(f"{name}: its colours cannot be converted ({error}).") from None


def _image(planes):
    bands = planes.shape[2] if planes.ndim == 3 else 1
    space = "rgb16" if bands > 2 else "grey16"
    data = np.ascontiguousarray(planes).tobytes()
    height, width = planes.shape[:2]
    image = libvips().Image.new_from_memory(data, width, height, bands, "ushort")
    return image.copy(interpretation=space)


def encode_png(planes: np.ndarray, options: dict[str, Any]) -> bytes:
    """Returns a PNG file: the pixels by libvips, the metadata by Pillow.

    Args:
      planes: (height, width) or (height, width, 2, 3 or 4) uint16; of 2 and 4, the last is alpha.
      options: as for `Image.save`.
    """
    beside = io.BytesIO()
    gray = planes.ndim == 2 or planes.shape[2] == 2
    Image.new("L" if gray else "RGB", (1, 1)).save(beside, "PNG", **options)
    pixels = _image(planes).pngsave_buffer(keep="none")
    extra = [c for kind, c in _chunks(beside.getvalue()) if kind not in (b"IHDR", b"IDAT", b"IEND")]
    header, *rest = (c for kind, c in _chunks(pixels) if kind in (b"IHDR", b"IDAT", b"IEND"))
    return b"".join([pixels[:_PNG_START], header, *extra, *rest])


def _chunks(png):
    """Yields (type, whole chunk) of a PNG file."""
    position = _PNG_START
    while position < len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        yield kind, png[position : position + length + 12]
        position += length + 12


def encode_tiff(planes: np.ndarray, options: dict[str, Any]) -> bytes:
    """Returns an uncompressed TIFF file (TIFF 6.0 sections 4 and 6, and 18 for alpha).

    Args:
      planes: (height, width) or (height, width, 3 or 4) uint16; of 4, the last is alpha.
      options: as for `Image.save`; "exif" is required.

    Raises:
      ValueError: 4 GiB or more.
    """
    height, width = planes.shape[:2]
    bands = planes.shape[2] if planes.ndim == 3 else 1
    if planes.nbytes >= _TIFF_LIMIT - 2**24:  # room for the rest
        raise ValueError("4 GiB or more")
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in metadata_writing.tiff_directory(options["exif"]):
        directory[tag] = value
    directory[TiffImagePlugin.IMAGEWIDTH] = width
    directory[TiffImagePlugin.IMAGELENGTH] = height
    directory[TiffImagePlugin.BITSPERSAMPLE] = (16,) * bands
    directory[TiffImagePlugin.COMPRESSION] = 1
    directory[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 1 if bands == 1 else 2
    directory[TiffImagePlugin.SAMPLESPERPIXEL] = bands
    directory[TiffImagePlugin.ROWSPERSTRIP] = height
    directory[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    directory.tagtype[TiffImagePlugin.STRIPOFFSETS] = 4
    directory[TiffImagePlugin.STRIPOFFSETS] = 0  # from the end of the directory
    directory.tagtype[TiffImagePlugin.STRIPBYTECOUNTS] = 4
    directory[TiffImagePlugin.STRIPBYTECOUNTS] = planes.nbytes
    if bands == 4:
        directory[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha that the colours are not multiplied by
    if "dpi" in options:
        directory[TiffImagePlugin.RESOLUTION_UNIT] = 2
        directory[TiffImagePlugin.X_RESOLUTION], directory[TiffImagePlugin.Y_RESOLUTION] = options[
            "dpi"
        ]
    if "icc_profile" in options:
        directory[TiffImagePlugin.ICCPROFILE] = options["icc_profile"]
    buffer = io.BytesIO()
    directory.save(buffer)
    buffer.write(planes.astype("<u2").tobytes())
    return buffer.getvalue()
