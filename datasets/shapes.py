"""Opaque shapes for `dead_leaves`, as signed distances to their edges.

Coordinates are (row, column) in pixels, angles in radians.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# A shape: offsets from its middle, rows (h, 1) and columns (w,) -> signed distance to its edge in
# pixels, (h, w), negative inside. Exact near the edge, which is where it matters.
Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]


def disc(radius: float) -> Shape:
    """Returns a disc.

    Args:
      radius: in pixels.
    """
    return lambda rows, columns: np.sqrt(rows * rows + columns * columns) - radius


def ellipse(radius: float, ratio: float, angle: float) -> Shape:
    """Returns an ellipse.

    Args:
      radius: the longer one, in pixels.
      ratio: of the shorter radius to the longer one, above 0, at most 1.
      angle: direction of the longer radius from the horizontal, in radians.
    """
    cosine, sine = math.cos(angle), math.sin(angle)
    short = radius * ratio

    def distance(rows, columns):
        u = columns * (cosine / radius) + rows * (sine / radius)
        v = rows * (cosine / short) - columns * (sine / short)
        square = u * u + v * v
        u *= u
        v *= v / ratio**2
        return (square - 1.0) * (0.5 * radius) / (np.sqrt(u + v) + 1e-3)  # value over slope

    return distance


def rectangle(half_length: float, half_width: float, angle: float) -> Shape:
    """Returns a rectangle.

    Args:
      half_length: half of its length, in pixels.
      half_width: half of its width, in pixels.
      angle: direction of its length from the horizontal, in radians.
    """
    cosine, sine = math.cos(angle), math.sin(angle)

    def distance(rows, columns):
        u, v = columns * cosine + rows * sine, rows * cosine - columns * sine
        return np.maximum(np.abs(u) - half_length, np.abs(v) - half_width)

    return distance


def polygon(angles: list[float], distances: list[float]) -> Shape:
    """Returns a convex polygon.

    Args:
      angles: of its sides' normals, in radians.
      distances: of its sides from the middle, in pixels.
    """

    def distance(rows, columns):
        result = np.full((rows.size, columns.size), -np.inf, np.float32)
        for angle, side in zip(angles, distances, strict=True):
            beyond = columns * math.cos(angle) + (rows * math.sin(angle) - side)
            np.maximum(result, beyond, out=result)
        return result

    return distance


def strokes(points: np.ndarray, pen: float) -> Shape:
    """Returns a line through points.

    Args:
      points: (count, 2) offsets (row, column) from the middle, in pixels.
      pen: half of the line's width, in pixels.
    """
    points = points.tolist()

    def distance(rows, columns):
        nearest = np.full((rows.size, columns.size), np.inf, np.float32)
        for (row, column), (next_row, next_column) in zip(points, points[1:], strict=False):
            down, across = next_row - row, next_column - column
            square = max(down * down + across * across, 1e-6)
            along = np.clip(((rows - row) * down + (columns - column) * across) / square, 0.0, 1.0)
            gap = np.hypot(rows - row - along * down, columns - column - along * across)
            np.minimum(nearest, gap, out=nearest)
        return nearest - pen

    return distance


def outline(shape: Shape, half_width: float) -> Shape:
    """Returns the line along a shape's edge.

    Args:
      shape: the shape.
      half_width: half of the line's width, in pixels.
    """
    return lambda rows, columns: np.abs(shape(rows, columns)) - half_width


def random_shape(
    chance: list[float], radius: float, tilt: float, straight: float
) -> tuple[Shape, float]:
    """Returns one leaf, and its largest distance from its middle in pixels.

    Args:
      chance: 8 uniform numbers in [0, 1) that select the shape. They are drawn for all leaves at
        once, as one call of the generator costs as much as painting a small leaf.
      radius: in pixels.
      tilt: the direction that straight shapes share, in radians.
      straight: the share of straight shapes, 0 to 1.
    """
    ratio = 0.25 + 0.75 * chance[0]
    if chance[1] >= straight:
        if chance[2] < 0.3:
            return disc(radius), radius
        return ellipse(radius, ratio, math.pi * chance[3]), radius
    angle = tilt + 0.2 * (chance[3] - 0.5) + (math.pi / 2 if chance[4] < 0.5 else 0.0)
    if chance[2] < 0.7:
        return rectangle(radius, ratio * radius, angle), radius * math.hypot(1.0, ratio)
    sides = 4 + int(4 * chance[5])
    # Neighbouring sides turn by less than 120 degrees: no corner lies beyond twice the radius.
    angles = [angle + 2 * math.pi / sides * (k + 0.3 * chance[k]) for k in range(sides)]
    return polygon(angles, [radius * (0.6 + 0.4 * share) for share in chance[-sides:]]), 2 * radius
