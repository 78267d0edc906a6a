"""Pairs of a data set for inspection: a contact sheet, and a page with every picture as stored."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from restore_tf.evaluation import metrics
from restore_tf.evaluation.page.environment import SHARED, environment, unescaped
from restore_tf.pictures.pixels import from_float, to_float
from restore_tf.pictures.planes import enlarged_to
from restore_tf.system.files import atomic_path

_LARGEST = 320  # the longest side on the sheet, in pixels; larger pictures show their middle
_SMALLEST = 192  # smaller pictures are enlarged by whole numbers, up to this side
_SHEET = 1600  # the largest width of the sheet in pixels, unless a pair is wider
_GAP, _MARGIN, _CAPTION, _HEAD = 6, 24, 26, 64
_PAPER, _INK, _SOFT = (250, 250, 250), (28, 32, 36), (96, 101, 108)


class ShownPair(NamedTuple):
    """One pair.

    Attributes:
      name: of the pair.
      degraded: (height, width, 3) uint8; may be smaller than the sharp one.
      sharp: (height, width, 3) uint8.
      psnr: of the degraded one, in dB, enlarged by bicubics if it is smaller; inf for equal
        pictures.
    """

    name: str
    degraded: np.ndarray
    sharp: np.ndarray
    psnr: float


def shown_pair(name: str, degraded: np.ndarray, sharp: np.ndarray) -> ShownPair:
    """Returns a pair of pictures for display, with its PSNR.

    Floats are clipped and rounded to 8 bits, for the PSNR too.

    Args:
      name: of the pair.
      degraded: (height, width, 3 or 1) uint8 or float in [0, 1]; may be smaller than the sharp one.
      sharp: (height, width, 3 or 1) uint8 or float in [0, 1].
    """
    degraded, sharp = (
        np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
        for pixels in (from_float(to_float(pixels), np.uint8) for pixels in (degraded, sharp))
    )
    psnr = metrics.psnr(sharp, enlarged_to(degraded, sharp.shape[:2]))
    return ShownPair(name, degraded, sharp, psnr)


def psnr_text(psnr: float) -> str:
    """Returns a PSNR as in captions: "28.31 dB", or "equal".

    Args:
      psnr: in dB; inf for equal pictures.
    """
    return "equal" if np.isinf(psnr) else f"{psnr:.2f} dB"


def contact_sheet(title: str, subtitle: str, pairs: Sequence[ShownPair]) -> np.ndarray:
    """Draws pairs side by side, degraded left, sharp right, each with its name and PSNR.

    Pictures of more than 320 pixels show their middle at full scale, so that blur keeps its size.

    Args:
      title: the first line above them.
      subtitle: the second line.
      pairs: at least one.

    Returns:
      (height, width, 3) uint8.
    """
    tiles = [_tile(pair) for pair in pairs]
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    columns = max(1, min(len(tiles), (_SHEET - _MARGIN) // (width + _MARGIN)))
    rows = -(-len(tiles) // columns)
    right = max(_MARGIN + columns * (width + _MARGIN), 640)
    sheet = Image.new("RGB", (right, _HEAD + _MARGIN + rows * (height + _CAPTION + 12)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 16), title, _INK, _font(20))
    draw.text((_MARGIN, 44), subtitle, _SOFT, _font(14))
    for index, (pair, tile) in enumerate(zip(pairs, tiles, strict=True)):
        row, column = divmod(index, columns)
        left = _MARGIN + column * (width + _MARGIN)
        top = _HEAD + _MARGIN // 2 + row * (height + _CAPTION + 12)
        sheet.paste(Image.fromarray(tile), (left, top))
        _write_caption(draw, pair, left, top + tile.shape[0] + 4, tile.shape[1])
    return np.asarray(sheet)


def _tile(pair):
    """Degraded and sharp side by side, in the size of the sheet."""
    scale = len(pair.sharp) // len(pair.degraded)
    sharp = _middle(pair.sharp, _LARGEST // scale * scale)
    degraded = _middle(pair.degraded, _LARGEST // scale)
    factor = max(1, _SMALLEST // min(sharp.shape[:2]))
    pictures = [_squares(degraded, factor * scale), _squares(sharp, factor)]
    gap = np.full((len(pictures[0]), _GAP, 3), _PAPER, np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1]], axis=1)


def _middle(picture, side):
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _squares(picture, factor):
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _write_caption(draw, pair, left, top, width):
    font = _font(14)
    psnr = psnr_text(pair.psnr)
    room = width - draw.textlength(psnr, font) - 12
    name = pair.name
    while name and draw.textlength(name, font) > room:
        name = "…" + name.lstrip("…")[1:] if len(name) > 2 else ""
    draw.text((left, top), name, _SOFT, font)
    draw.text((left + width, top), psnr, _INK, font, anchor="ra")


@functools.cache
def _font(size):
    return ImageFont.load_default(size)


def write_page(
    path: str | os.PathLike,
    title: str,
    facts: Mapping[str, str],
    pairs: Sequence[tuple[ShownPair, str, str]],
) -> None:
    """Writes the page with every picture.

    Args:
      path: of the HTML file.
      title: its heading.
      facts: facts about the pairs, {"split": "train", …}.
      pairs: each with the addresses of its two pictures, relative to the page.
    """
    styles = (SHARED / name for name in ("style.css", "samples.css"))
    page = (
        environment()
        .get_template("samples.html")
        .render(
            style=unescaped(*styles),
            title=title,
            facts=facts,
            pairs=[
                {
                    "name": pair.name,
                    "psnr": psnr_text(pair.psnr),
                    "degraded": degraded,
                    "sharp": sharp,
                    "height": pair.sharp.shape[0],
                    "width": pair.sharp.shape[1],
                    # Small crops are shown larger, in whole steps.
                    "shown": pair.sharp.shape[1] * max(1, _SMALLEST // min(pair.sharp.shape[:2])),
                }
                for pair, degraded, sharp in pairs
            ],
        )
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="")
