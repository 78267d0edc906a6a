"""Colours that a file states without a colour profile: numbers, converted to sRGB by formulas.

PNG states them in its chunks cICP, sRGB, gAMA and cHRM, of which an earlier one (and a profile
after cICP) overrides those after it (PNG, third edition, section 4.3). Cameras state Adobe RGB in
EXIF, and TIFF has tags of its own for primaries and transfer curve. Whatever is none of these is
taken as sRGB, which the networks expect; HDR cannot be.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from restore_tf.errors import UserError
from restore_tf.pictures import bmp, metadata, png
from restore_tf.system.log import logger

_D65 = (0.3127, 0.3290)
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65)
# ITU-T H.273 table 2: number: (name, chromaticities x, y of red, green, blue and white).
_PRIMARIES = {
    1: ("BT.709", _SRGB),
    4: ("BT.470 M", ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316))),
    5: ("BT.601 625", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65)),
    6: ("BT.601 525", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)),
    7: ("SMPTE 240M", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)),
    8: ("film", ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316))),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)),
    11: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)),
    22: ("EBU 3213", ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65)),
}
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)  # cone responses, for adapting one white to another (ICC.1:2022 annex E)
_USUAL_GAMMA = 1 / 2.2  # with sRGB's primaries it means sRGB's own curve
_SAME_GAMMA = 0.05  # relative; what libpng takes as no difference
_SAME = 2  # 8-bit levels: two descriptions of one colour space differ by rounding
_ROWS = 64  # converted at a time: floats take twelve bytes a pixel
_UNSPECIFIED = 2  # H.273
_HDR = {16: "PQ", 18: "HLG"}
_TABLES = {256: 1, 65536: 1, 3 * 256: 3, 3 * 65536: 3}  # TIFF: entries in all: transfer curves
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B")


def _srgb_curve(values):
    """IEC 61966-2-1: sRGB's values in [0, 1] to light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _bt709_curve(values):
    """H.273 transfer 1, 6, 14 and 15, inverted."""
    return np.where(values < 0.081, values / 4.5, ((values + 0.0993) / 1.0993) ** (1 / 0.45))


def _power(gamma):
    return lambda values: values**gamma


# ITU-T H.273 table 3: from values to light, both in [0, 1].
_TRANSFERS = {
    **dict.fromkeys((1, 6, 14, 15), _bt709_curve),
    4: _power(2.2),
    5: _power(2.8),
    8: _power(1.0),
    13: _srgb_curve,
}


@dataclasses.dataclass(frozen=True)
class Colours:
    """A colour space other than sRGB.

    Attributes:
      name: for messages.
      primaries: chromaticities (x, y) of red, green, blue and white.
      curve: from values (n,) to light, (n,) or (n, 3) for each channel; both in [0, 1].
    """

    name: str
    primaries: tuple[tuple[float, float], ...]
    curve: Callable[[np.ndarray], np.ndarray]

    def to_srgb(self, pixels: np.ndarray) -> np.ndarray:
        """Returns pixels as sRGB: uint8 or uint16, (height, width, 3), or (height, width) gray.

        Colours outside sRGB are clipped.
        """
        top = np.iinfo(pixels.dtype).max
        levels = np.linspace(0, 1, top + 1)
        light = np.broadcast_to(np.asarray(self.curve(levels), np.float32).T, (3, top + 1))
        if pixels.ndim == 2:
            return _stored(light.mean(0), top).astype(pixels.dtype)[pixels]
        matrix = self._matrix().astype(np.float32)
        result = np.empty_like(pixels)
        for top_row in range(0, len(pixels), _ROWS):
            rows = pixels[top_row : top_row + _ROWS]
            linear = np.stack([light[c][rows[..., c]] for c in range(3)], -1) @ matrix.T
            result[top_row : top_row + _ROWS] = _stored(linear, top)
        return result

    def _matrix(self):
        """From light in these primaries to light in sRGB's, the white adapted."""
        white, target = (_xyz(p[3]) for p in (self.primaries, _SRGB))
        adapt = np.diag((_BRADFORD @ target) / (_BRADFORD @ white))
        adapted = np.linalg.inv(_BRADFORD) @ adapt @ _BRADFORD @ _to_xyz(self.primaries)
        return np.linalg.inv(_to_xyz(_SRGB)) @ adapted

    @property
    def same_as_srgb(self) -> bool:
        """Whether a conversion would change colours by no more than rounding."""
        steps = np.linspace(0, 255, 6).astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        return int(np.abs(self.to_srgb(grid).astype(int) - grid).max()) <= _SAME


def _stored(light, top):
    light = np.clip(light, 0, 1)
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(values * top)


def _xyz(chromaticity):
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_xyz(primaries):
    columns = np.stack([_xyz(p) for p in primaries[:3]], -1)
    return columns * np.linalg.solve(columns, _xyz(primaries[3]))


def find(image: Image.Image, stream, tags: Image.Exif, name: str) -> tuple[Colours | None, bool]:
    """Returns what a file states of its colours without a profile.

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
        colours = _unless_srgb(dataclasses.replace(colours, primaries=_SRGB))
    return colours, over_profile


def refuse_hdr(image: Image.Image, stream, name: str) -> None:
    """Raises a UserError where a file says that it is HDR; the arguments are those of `find`."""
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
    """Returns whether PNG's chunk cICP says anything that can be followed, and the colours."""
    if len(code) != 4:
        logger.warning("%s: its cICP chunk is damaged; not followed.", name)
        return False, None
    primaries, transfer, matrix, full = code
    if primaries == transfer == _UNSPECIFIED:
        return False, None
    if matrix or primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        logger.warning(
            "%s: its colours, cICP %d/%d/%d, are not supported; not converted.",
            name, primaries, transfer, matrix,
        )  # fmt: skip
        return False, None
    if not full:
        raise UserError(f"{name}: is of limited range (cICP); convert it to full range first.")
    word, chromaticities = _PRIMARIES[primaries]
    return True, _unless_srgb(Colours(f"{word} (cICP)", chromaticities, _TRANSFERS[transfer]))


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
    primaries, gamma = _SRGB, info.get("gamma", _USUAL_GAMMA)
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
    if usual and (no_gamma or Colours("", primaries, _srgb_curve).same_as_srgb):
        curve = _srgb_curve
    else:
        curve = _power(1 / gamma)
    spaces = [*_PRIMARIES.values(), ("Adobe RGB", _ADOBE_RGB)]
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
        return Colours("Adobe RGB (EXIF)", _ADOBE_RGB, _power(563 / 256))
    if space == "sRGB":
        return None
    primaries = _tag_primaries(tags, name)
    table = _tag_curve(tags, name)
    if table is not None:
        colours = Colours("another transfer curve (TIFF)", primaries or _SRGB, table)
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
        numbers = [float(v) for v in (*flat, *(white or _D65))]
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
