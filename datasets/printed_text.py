"""Generates sharp pictures of text: a page, a sign or a screen, in Pillow's own font.

Thin strokes of full contrast on an even ground are what networks that sharpen harm first, and
neither photos nor dead leaves have many. Words are drawn letter by letter, in the order of their
frequency in English; they mean nothing.
"""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from restore_tf.errors import UserError

_LETTERS = "etaoinshrdlcumwfgypbvkjxqz"  # from the most to the least frequent
_ENDINGS = ("", "", "", "", ",", ".", ":", ";", "?", "!")
_SIZES = (8.0, 48.0)  # of the font, in pixels; small ones are likelier
_DRAWN = 2  # times larger than shown, then averaged: edges as a lens and a pixel make them


def printed_text(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Prints a picture full of text, of one size or of two, dark on light or light on dark.

    Args:
      rng: source of randomness; equal states give equal pictures, given one release of Pillow.
      height: in pixels, at least 8.
      width: in pixels, at least 8.

    Returns:
      (height, width, 3) float32 sRGB picture in [0, 1].

    Raises:
      UserError: the size is below 8 pixels.
    """
    if min(height, width) < 8:
        raise UserError(f"height {height}, width {width}: expected at least 8 pixels each.")
    ink = Image.new("L", (_DRAWN * width, _DRAWN * height))
    border = int(rng.integers(1, height)) if rng.random() < 0.4 else height
    for top, bottom in ((0, border), (border, height)):
        if top < bottom:
            ink.paste(_lines(rng, ink.width, _DRAWN * (bottom - top)), (0, _DRAWN * top))
    if rng.random() < 0.5:
        ink = ink.rotate(rng.normal(0.0, 4.0), Image.Resampling.BICUBIC)
    cover = np.asarray(ink.reduce(_DRAWN), np.float32)[..., None] / np.float32(255)
    paper, colour = _colours(rng)
    picture = paper + cover * (colour - paper)
    return picture.astype(np.float32)


def _lines(rng, width, height):
    """Lines of one size of font, white on black."""
    low, high = np.log(_SIZES)
    size = float(np.exp(low + (high - low) * rng.random() ** 1.3)) * _DRAWN
    font, leading = _font(round(size)), size * rng.uniform(1.1, 1.6)
    ink = Image.new("L", (width, height))
    draw, down = ImageDraw.Draw(ink), rng.uniform(-0.5, 0.5) * size
    while down < height:
        line = ""
        while len(line) * size < 3 * width:  # letters are about half as wide as high
            line += _word(rng) + " "
        draw.text((rng.uniform(-1.0, 0.5) * size, down), line, 255, font)
        down += leading
    return ink


@functools.lru_cache(maxsize=64)
def _font(size):
    return ImageFont.load_default(size)


def _word(rng):
    count = 1 + int(rng.poisson(3.5))
    word = "".join(_LETTERS[min(25, int(rng.exponential(6.0)))] for _ in range(count))
    kind = rng.random()
    if kind < 0.1:
        word = str(rng.integers(10 ** int(rng.integers(1, 6))))
    elif kind < 0.25:
        word = word.capitalize()
    elif kind < 0.3:
        word = word.upper()
    return word + _ENDINGS[rng.integers(len(_ENDINGS))]


def _colours(rng):
    """Paper and ink, (3,) sRGB each, most of them nearly grey and far apart."""
    light, dark = rng.uniform(0.7, 1.0), rng.uniform(0.0, 0.35)
    tints = rng.normal(0.0, 0.02 if rng.random() < 0.7 else 0.15, (2, 3))
    both = np.clip(np.array([[light], [dark]]) + tints, 0.0, 1.0)
    return both if rng.random() < 0.75 else both[::-1]
