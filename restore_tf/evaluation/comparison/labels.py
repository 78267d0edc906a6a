"""Places the labels of a drawing: near their points, and never on one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

POINT = 5  # a point's radius in pixels
_LETTER, _LINE = 6.9, 15  # pixels of a label's letter, 12 px system fonts being narrower
_BELOW = 56  # pixels below the frame that the axis takes
_NEAR = 36  # pixels from a point to a label that is not needed, a bar in between counted
_BAR = 30  # pixels that a label rather goes than stand on a bar


class Box(NamedTuple):
    """A rectangle in the drawing's pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Returns whether two boxes share more than an edge.

        Args:
          other: the other box.
        """
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def place_labels(
    points: Sequence[tuple[str, float, float]],
    frame: Box,
    bars: Sequence[Box] = (),
    needed: int | None = None,
) -> list[Box | None]:
    """Returns a box for each label, near its point; none overlaps another or a point.

    Args:
      points: (text, x, y) of each. Those that find no room within the frame stand below the frame's
        margin, one under the other.
      frame: where labels may stand.
      bars: better not covered.
      needed: how many of the first ones are kept; others become None where there is no room
        near their points. All by default.
    """
    taken = [Box(x - POINT, y - POINT, x + POINT, y + POINT) for _, x, y in points]
    boxes: list[Box] = []
    placed: list[Box | None] = []
    for index, (text, x, y) in enumerate(points):
        optional = needed is not None and index >= needed
        box, least = None, _NEAR if optional else math.inf
        for far, candidate in _around(x, y, _LETTER * len(text)):
            if far >= least:
                break
            if not _inside(candidate, frame) or any(map(candidate.overlaps, (*taken, *boxes))):
                continue
            covered = far + _BAR * sum(map(candidate.overlaps, bars))
            if covered < least:
                box, least = candidate, covered
        if box is None and not optional:
            top = max([frame.bottom + _BELOW, *(each.bottom for each in boxes)])
            box = Box(frame.left, top, frame.left + _LETTER * len(text), top + _LINE)
        placed.append(box)
        boxes += [] if box is None else [box]
    return placed


def _inside(box, frame):
    return (
        box.left >= frame.left
        and box.right <= frame.right
        and box.top >= frame.top
        and box.bottom <= frame.bottom
    )


def _around(x, y, width):
    """(distance, box) ever farther from a point: right, left, above, below, then diagonals."""
    for far in range(POINT + 4, 170, 6):
        for right, down in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)):
            left = x + far if right > 0 else x - far - width if right < 0 else x - width / 2
            middle = y + down * (far + _LINE / 2 - POINT)
            yield far, Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)
