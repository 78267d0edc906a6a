"""Heat maps: one number for every pixel, drawn with a colour bar below."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_STEPS = (1, 2, 5)  # times powers of ten: where scales end
_SHARE = 99.9  # percent of the pixels that do not lie beyond the scale's end
_LEAST = 320  # pixels: narrower pictures get white at their right, or the caption would not fit
_MARGIN, _BAR, _TEXT = 8, 14, 14  # pixels


def scale_end(values: np.ndarray) -> float:
    """Returns the least of …, 0.5, 1, 2, 5, 10, … that at most 0.1 % of the values exceed.

    Args:
      values: 0 or more, of any shape.

    Returns:
      The scale's end; 1 where all values are 0.
    """
    top = float(np.percentile(values, _SHARE))
    if top <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(top))
    return next(step * power for step in (*_STEPS, 10) if step * power >= top * (1 - 1e-9))


def colours(shares: np.ndarray) -> np.ndarray:
    """Returns colours from black (0) over red and yellow to white (1), each lighter than the last.

    Args:
      shares: of any shape; what lies outside [0, 1] gets the end's colour.

    Returns:
      The same shape and 3, uint8.
    """
    return np.rint(255 * np.clip(3 * shares[..., None] - np.arange(3), 0, 1)).astype(np.uint8)


def draw(values: np.ndarray, unit: str, caption: str) -> np.ndarray:
    """Draws a heat map with a colour bar, which runs from 0 to a round number.

    Args:
      values: (height, width), 0 or more.
      unit: stands behind the scale's end, such as "levels of 255".
      caption: a line below the bar.

    Returns:
      (height and the bar's, width or more, 3) uint8; pixel (y, x) of the values lies at (y, x).
    """
    height, width = values.shape
    end, right = scale_end(values), max(width, _LEAST)
    below = 2 * _MARGIN + _BAR + 2 * (_TEXT + 4)
    sheet = np.full((height + below, right, 3), 255, np.uint8)
    sheet[:height, :width] = colours(values / end)
    bar = slice(height + _MARGIN, height + _MARGIN + _BAR)
    sheet[bar, _MARGIN : _LEAST - _MARGIN] = colours(np.linspace(0, 1, _LEAST - 2 * _MARGIN))
    image = Image.fromarray(sheet)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT)
    line = bar.stop + 2
    pen.text((_MARGIN, line), "0", "black", font)
    pen.text((_LEAST - _MARGIN, line), f"{end:g} {unit}", "black", font, anchor="ra")
    pen.text((_MARGIN, line + _TEXT + 4), caption, "black", font)
    return np.asarray(image)
