"""Colours that a file states without a colour profile: numbers, converted to sRGB by formulas.

PNG states them in its chunks cICP, sRGB, gAMA and cHRM, of which an earlier one (and a profile
after cICP) overrides those after it (PNG, third edition, section 4.3). Cameras state Adobe RGB in
EXIF, and TIFF has tags of its own for primaries and transfer curve. Files that state nothing are
taken as sRGB, which the networks expect; HDR files are refused.
"""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
from PIL import ExifTags, Image

from restore_tf.errors import UserError
from restore_tf.pictures import bmp, colour_spaces, metadata, png
from restore_tf.pictures.colour_spaces import Colours
from restore_tf.system.log import logger

_USUAL_GAMMA = 1 / 2.2  # with sRGB's primaries it means sRGB's own curve
_SAME_GAMMA = 0.05  # relative; what libpng takes as no difference
_UNSPECIFIED = 2  # H.273
_HDR = {16: "PQ", 18: "HLG"}
_TABLES = {256: 1, 65536: 1, 3 * 256: 3, 3 * 65536: 3}  # TIFF: entries in all: transfer curves
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B")


def find(image: Image.Image, stream, tags: Image.Exif, name: str) -> tuple[Colours | None, bool]:
    """Returns the colour space that a file states without a profile.

    Args:
      image: as Pillow opened it.
      stream: the file; its position is moved.
      tags: the file's EXIF, of TIFF all its tags.
      name: what to call the file in messages.

    Returns:
      The colours to convert from, None for sRGB; and whether they count more than a profile.

    Raises:
      UserError: the file says that it is HDR, or of limited range.
    """
    colours, over_profile = _find(image, stream, tags, name)
    if colours is not None and image.mode in _GRAY_MODES:
        colours = _unless_srgb(dataclasses.replace(colours, primaries=colour_spaces.SRGB))
    return colours, over_profile


def refuse_hdr(image: Image.Image, stream, name: str) -> None:
    """Refuses a file that states an HDR transfer curve (PQ or HLG).

    Args:
      image: as Pillow opened it.
      stream: the file; its position is moved.
      name: what to call the file in the message.

    Raises:
      UserError: the file says that it is HDR.
    """
    profile = image.info.get("icc_profile")
    if profile:
        _refuse_transfer(_cicp_of_profile(profile)[1], name)
    if image.format == "PNG" and (code := png.first(stream, b"cICP")) is not None:
        _refuse_transfer(code[1] if len(code) == 4 else _UNSPECIFIED, name)


def _find(image, stream, tags, name):
    refuse_hdr(image, stream, name)
    profile = image.info.get("icc_profile")
    if image.format == "PNG":
        if (code := png.first(stream, b"cICP")) is not None:
            known, colours = _from_cicp(code, name)
            if known:
                return colours, True
        if profile or "srgb" in image.info:
            return None, False
        if "gamma" in image.info or "chromaticity" in image.info:
            return _from_png(image.info, name), False
    elif profile:
        return None, False
    if image.format == "BMP" and (found := bmp.calibration(stream)) is not None:
        return _from_bmp(*found, name), False
    return _from_tags(tags, name), False


def _from_cicp(code, name):
    """Returns whether PNG's chunk cICP states supported colours, and these colours."""
    if len(code) != 4:
        logger.warning("%s: its cICP chunk is damaged; not followed.", name)
        return False, None
    primaries, transfer, matrix, full = code
    if primaries == transfer == _UNSPECIFIED:
        return False, None
    if (
        matrix
        or primaries not in colour_spaces.PRIMARIES
        or transfer not in colour_spaces.TRANSFERS
    ):
        logger.warning(
            "%s: its colours, cICP %d/%d/%d, are not supported; not converted.",
            name, primaries, transfer, matrix,
        )  # fmt: skip
        return False, None
    if not full:
        raise UserError(f"{name}: is of limited range (cICP); convert it to full range first.")
    word, chromaticities = colour_spaces.PRIMARIES[primaries]
    return True, _unless_srgb(
        Colours(f"{word} (cICP)", chromaticities, colour_spaces.TRANSFERS[transfer])
    )


def _unless_srgb(colours):
    return None if colours.same_as_srgb else colours


def _refuse_transfer(transfer, name):
    if transfer in _HDR:
        raise UserError(
            f"{name}: is HDR ({_HDR[transfer]}), the networks know the standard range; convert it "
            "to sRGB first."
        )


def _cicp_of_profile(profile):
    """Primaries and transfer of an ICC profile's tag cicp (ICC.1:2022 section 10.3)."""
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for place in range(132, 132 + 12 * min(count, 100), 12):
            signature, offset = struct.unpack_from(">4sI", profile, place)
            if signature == b"cicp":
                return struct.unpack_from(">BB", profile, offset + 8)
    except struct.error:
        pass
    return _UNSPECIFIED, _UNSPECIFIED


def _from_png(info, name):
    """PNG's gAMA and cHRM; each may stand alone."""
    primaries, gamma = colour_spaces.SRGB, info.get("gamma", _USUAL_GAMMA)
    flat = info.get("chromaticity")
    if flat is not None:
        white, *colours = [(flat[i], flat[i + 1]) for i in range(0, 8, 2)]
        if _possible((*colours, white)):
            primaries = (*colours, white)
        else:
            logger.warning("%s: its cHRM chunk is damaged; taken as sRGB's primaries.", name)
    if not 0.01 <= gamma <= 10:
        logger.warning("%s: its gamma, %g, makes no sense; taken as sRGB's.", name, gamma)
        gamma = _USUAL_GAMMA
    chunks = [c for key, c in (("gamma", "gAMA"), ("chromaticity", "cHRM")) if key in info]
    return _described(primaries, gamma, "gamma" not in info, ", ".join(chunks))


def _from_bmp(primaries, exponent, name):
    if not _possible(primaries):
        logger.warning("%s: its calibration of colours is damaged; taken as sRGB.", name)
        return None
    gamma = 1 / exponent if 0.1 <= exponent <= 10 else _USUAL_GAMMA
    return _described(primaries, gamma, gamma == _USUAL_GAMMA, "BMP")


def _described(primaries, gamma, no_gamma, where):
    """Colours by primaries and the exponent that stored them; None where that is sRGB."""
    usual = abs(gamma / _USUAL_GAMMA - 1) <= _SAME_GAMMA
    if usual and (no_gamma or Colours("", primaries, colour_spaces.srgb_curve).same_as_srgb):
        curve = colour_spaces.srgb_curve
    else:
        curve = colour_spaces.power(1 / gamma)
    spaces = [*colour_spaces.PRIMARIES.values(), ("Adobe RGB", colour_spaces.ADOBE_RGB)]
    word = next((word for word, known in spaces if _alike(known, primaries)), "other primaries")
    if not usual:
        word = f"{word} with gamma {gamma:.4g}"
    return _unless_srgb(Colours(f"{word} ({where})", primaries, curve))


def _alike(one, other):
    return float(np.abs(np.subtract(one, other)).max()) < 0.002


def _possible(primaries):
    points = np.array(primaries, float)
    if not (np.isfinite(points).all() and (points[:, 1] > 0.001).all() and (points < 2).all()):
        return False
    (xr, yr), (xg, yg), (xb, yb) = points[:3]
    return abs((xg - xr) * (yb - yr) - (xb - xr) * (yg - yr)) > 1e-3  # a triangle, not a line


def _from_tags(tags, name):
    """EXIF, and TIFF 6.0 section 20."""
    space = metadata.colour_space(tags)
    if space == "Adobe RGB":
        return Colours("Adobe RGB (EXIF)", colour_spaces.ADOBE_RGB, colour_spaces.power(563 / 256))
    if space == "sRGB":
        return None
    primaries = _tag_primaries(tags, name)
    table = _tag_curve(tags, name)
    if table is not None:
        colours = Colours("another transfer curve (TIFF)", primaries or colour_spaces.SRGB, table)
        return _unless_srgb(colours)
    if primaries is not None:
        # TIFF 6.0: without a curve it is a gamma of 2.2.
        return _described(primaries, _USUAL_GAMMA, False, "TIFF tags")
    if space is not None:
        logger.warning(
            "%s: its EXIF says that its colours are %s, and it has no profile; taken as sRGB.",
            name, space,
        )  # fmt: skip
    return None


def _tag_primaries(tags, name):
    white, flat = tags.get(ExifTags.Base.WhitePoint), tags.get(ExifTags.Base.PrimaryChromaticities)
    if flat is None:
        return None
    try:
        numbers = [float(v) for v in (*flat, *(white or colour_spaces.D65))]
        primaries = tuple((numbers[i], numbers[i + 1]) for i in range(0, 8, 2))
        if len(numbers) == 8 and _possible(primaries):
            return primaries
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        pass
    logger.warning("%s: its tags of primaries are damaged; taken as sRGB's.", name)
    return None


def _tag_curve(tags, name):
    """TIFF's TransferFunction, a table of light by value, or three."""
    table = tags.get(ExifTags.Base.TransferFunction)
    if table is None:
        return None
    light = np.asarray(table)
    if light.ndim != 1 or light.dtype.kind not in "ui" or len(light) not in _TABLES:
        logger.warning("%s: its transfer function is damaged; taken as sRGB's.", name)
        return None
    tables = light.reshape(_TABLES[len(light)], -1) / 65535
    places = np.linspace(0, 1, tables.shape[1])
    return lambda values: np.stack([np.interp(values, places, row) for row in tables], -1)
