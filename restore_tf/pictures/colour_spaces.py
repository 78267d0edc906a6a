"""Colour spaces by numbers: primaries and a transfer curve, converted to sRGB by formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

D65 = (0.3127, 0.3290)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
# ITU-T H.273 table 2: number: (name, chromaticities x, y of red, green, blue and white).
PRIMARIES = {
    1: ("BT.709", SRGB),
    4: ("BT.470 M", ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316))),
    5: ("BT.601 625", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65)),
    6: ("BT.601 525", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65)),
    7: ("SMPTE 240M", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65)),
    8: ("film", ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316))),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65)),
    11: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65)),
    22: ("EBU 3213", ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65)),
}
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)  # cone responses, for adapting one white to another (ICC.1:2022 annex E)
_SAME = 2  # 8-bit levels: two descriptions of one colour space differ by rounding
_ROWS = 64  # converted at a time: floats take twelve bytes a pixel


def srgb_curve(values: np.ndarray) -> np.ndarray:
    """Converts sRGB values to linear light by IEC 61966-2-1.

    Args:
      values: of any shape, in [0, 1].

    Returns:
      Linear values of the same shape.
    """
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _bt709_curve(values):
    """H.273 transfer 1, 6, 14 and 15, inverted."""
    return np.where(values < 0.081, values / 4.5, ((values + 0.0993) / 1.0993) ** (1 / 0.45))


def power(gamma: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a transfer curve that is a power: values to linear light, both in [0, 1].

    Args:
      gamma: the exponent.
    """
    return lambda values: values**gamma


# ITU-T H.273 table 3: from values to light, both in [0, 1].
TRANSFERS = {
    **dict.fromkeys((1, 6, 14, 15), _bt709_curve),
    4: power(2.2),
    5: power(2.8),
    8: power(1.0),
    13: srgb_curve,
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
        """Returns pixels converted to sRGB; colours outside sRGB are clipped.

        Args:
          pixels: (height, width, 3), or (height, width) for gray; uint8 or uint16.
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
        white, target = (_xyz(p[3]) for p in (self.primaries, SRGB))
        adapt = np.diag((_BRADFORD @ target) / (_BRADFORD @ white))
        adapted = np.linalg.inv(_BRADFORD) @ adapt @ _BRADFORD @ _to_xyz(self.primaries)
        return np.linalg.inv(_to_xyz(SRGB)) @ adapted

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
