"""How the crops of a comparison's pages are encoded, and how many of them the grid holds.

Crops as PNG files, in `crops/`, are exact. Those within index.html are for looking at: JPEG files
with colours at full resolution are a quarter as large. The page to vote on is exact (WebP without
loss) unless that would make it too large to send; then its pictures are JPEG files of higher
quality, all of them. Either page says which.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from restore_tf.evaluation.comparison.grid import Choice
from restore_tf.pictures.decoding import Picture
from restore_tf.pictures.files import encode

LOOKING, VOTING = 92, 95  # JPEG qualities
VOTING_BYTES = 8_500_000  # of a vote's pictures without loss, at most; a third more within the page
GRID_BYTES = 7_500_000  # of the grid's crops as PNG files, at most


class Encoded(NamedTuple):
    """A picture as a file.

    Attributes:
      file: its bytes.
      kind: its MIME type.
    """

    file: bytes
    kind: str

    @property
    def address(self) -> str:
        """The picture as an address within a page."""
        return f"data:{self.kind};base64,{base64.b64encode(self.file).decode('ascii')}"


def for_looking(pixels: np.ndarray) -> Encoded:
    """Encodes a crop for index.html.

    Args:
      pixels: (height, width, 3) uint8.
    """
    return _jpeg(pixels, LOOKING)


def for_voting(crops: Sequence[np.ndarray]) -> tuple[list[Encoded], str]:
    """Encodes all crops of a vote alike; returns them and how, in words.

    Args:
      crops: (height, width, 3) uint8 each.
    """
    exact = []
    for pixels in crops:
        picture = Picture(pixels, lossless_webp=True)
        exact.append(Encoded(encode(picture, ".webp"), "image/webp"))
        if sum(len(each.file) for each in exact) > VOTING_BYTES:
            return [_jpeg(each, VOTING) for each in crops], (
                f"JPEG of quality {VOTING}: exact ones would make this page too large"
            )
    return exact, "exact, pixel for pixel"


def within_grid(chosen: Sequence[Choice], rows: Sequence[Sequence[str]]) -> list[Choice]:
    """Returns the pictures that grid.png holds: every block's first ones, up to `GRID_BYTES`.

    Args:
      chosen: of `grid.select`, block by block in the order of the rules.
      rows: that the grid shows of each.
    """
    sizes = {
        id(choice): sum(len(choice.pngs[row]) for row in shown)
        for choice, shown in zip(chosen, rows, strict=True)
    }
    blocks = [list(each) for _, each in itertools.groupby(chosen, key=lambda choice: choice.block)]
    kept: set[int] = set()
    total = 0
    for choice in filter(None, itertools.chain(*itertools.zip_longest(*blocks))):
        total += sizes[id(choice)]
        if kept and total > GRID_BYTES:
            break
        kept.add(id(choice))
    return [choice for choice in chosen if id(choice) in kept]


def _jpeg(pixels, quality):
    return Encoded(encode(Picture(pixels), ".jpg", quality), "image/jpeg")
