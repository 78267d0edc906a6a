"""Spatially varying blur: of a camera that turns, and a lens out of focus.

A picture is cut into overlapping pieces with weights that sum to 1 everywhere; each piece is
convolved with the kernel of its middle, and the sum is the blurred picture (Hirsch et al.,
"Efficient filter flow", CVPR 2010). Every point of light so leaves the mix of the kernels around
it, and no light is lost.

Coordinates are (row, column) in pixels; see `kernels` for what a kernel is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import fft, signal

from restore_tf.datasets import kernels

_STILL = 0.25  # pixels: kernels that differ by less over a picture are taken as one


class Motion(NamedTuple):
    """The picture's motion over the sensor during one exposure, at equal times; means are 0.

    Attributes:
      path: (count, 2) offsets in pixels, the same everywhere.
      turn: (count,) small angles in radians about `centre`.
      centre: (row, column) in pixels, inside the picture or not.
    """

    path: np.ndarray
    turn: np.ndarray
    centre: tuple[float, float]

    def offsets(self, row: float, column: float) -> np.ndarray:
        """Returns where the light of one point goes: (count, 2) offsets in pixels.

        Args:
          row: of the point, in pixels.
          column: of the point, in pixels.
        """
        arm = np.array([self.centre[1] - column, row - self.centre[0]])
        return self.path + self.turn[:, None] * arm

    def within(self, reach: float, height: int, width: int) -> Motion:
        """Returns the motion, scaled down so that no point moves farther than `reach`.

        Args:
          reach: along each axis, in pixels.
          height: of the picture, in pixels.
          width: of the picture, in pixels.
        """
        corners = [(row, column) for row in (0, height - 1) for column in (0, width - 1)]
        farthest = max(np.abs(self.offsets(*corner)).max() for corner in corners)
        factor = min(1.0, reach / farthest) if farthest > 0 else 1.0
        return Motion(factor * self.path, factor * self.turn, self.centre)

    def varies(self, height: int, width: int) -> bool:
        """Whether the kernels differ over a picture.

        Args:
          height: of the picture, in pixels.
          width: of the picture, in pixels.
        """
        return float(np.ptp(self.turn)) * max(height, width) > _STILL


STILL = Motion(np.zeros((1, 2)), np.zeros(1), (0.0, 0.0))


def disc_kernel(radius: float) -> np.ndarray:
    """Returns the kernel of a lens out of focus: an evenly lit disc.

    Args:
      radius: in pixels, at least 0. The disc's edge is spread over a pixel, so that its size
        changes smoothly.

    Returns:
      (2 r + 1, 2 r + 1) float64 kernel that sums to 1.
    """
    reach = math.ceil(radius + 0.5) - 1
    steps = np.arange(-reach, reach + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(steps[:, None], steps), 0.0, 1.0)
    return kernel / kernel.sum()


def blur(
    planes: np.ndarray, motion: Motion, lens: np.ndarray | None = None, nodes: int = 3
) -> np.ndarray:
    """Blurs a picture by a motion and a lens.

    Within the kernels' reach of the borders, light from outside the picture is missing.

    Args:
      planes: (channels, height, width) float32, linear.
      motion: of the picture over the sensor.
      lens: kernel of the lens, or None for a sharp one.
      nodes: kernels along each side where the blur varies.

    Returns:
      (channels, height, width) float32.
    """
    _, height, width = planes.shape
    if not motion.varies(height, width):
        nodes = 1

    def kernel_at(row, column):
        kernel = kernels.path_kernel(motion.offsets(row, column))
        return kernel if lens is None else signal.fftconvolve(kernel, lens)

    return filter_flow(planes, kernel_at, nodes)


def filter_flow(
    planes: np.ndarray, kernel_at: Callable[[float, float], np.ndarray], nodes: int
) -> np.ndarray:
    """Blurs by a kernel for each node of a grid, and by mixes of them in between.

    Args:
      planes: (channels, height, width) float32.
      kernel_at: takes a node's row and column in pixels; returns its kernel.
      nodes: of the grid along each side; 1 for a single kernel.

    Returns:
      (channels, height, width) float32.
    """
    _, height, width = planes.shape
    result = np.zeros_like(planes)
    for row, rows, down in _hats(height, nodes):
        for column, columns, across in _hats(width, nodes):
            kernel = kernel_at(row, column).astype(np.float32)
            piece = planes[:, rows, columns]
            if nodes > 1:
                piece = piece * (down[:, None] * across)
            _add(result, _spread(piece, kernel), rows.start, columns.start, len(kernel) // 2)
    return result


def _hats(length: int, nodes: int) -> Iterator[tuple[float, slice, np.ndarray]]:
    """Yields each node's place, its pixels and their weights: hats that sum to 1."""
    if nodes == 1:
        yield (length - 1) / 2, slice(0, length), np.ones(length, np.float32)
        return
    step = (length - 1) / (nodes - 1)
    for node in range(nodes):
        middle = node * step
        first = max(0, math.floor(middle - step) + 1)
        last = min(length, math.ceil(middle + step))
        weights = 1.0 - np.abs(np.arange(first, last) - middle) / step
        yield middle, slice(first, last), weights.astype(np.float32)


def _spread(piece, kernel):
    """The whole convolution, larger than the piece by the kernel's width less one."""
    if kernel.shape == (1, 1):
        return piece * kernel[0, 0]
    sides = [side + len(kernel) - 1 for side in piece.shape[1:]]
    fast = [fft.next_fast_len(side, real=True) for side in sides]
    spectrum = fft.rfft2(piece, fast) * fft.rfft2(kernel, fast)
    return fft.irfft2(spectrum, fast)[:, : sides[0], : sides[1]]


def _add(result, piece, top, left, radius):
    """Adds a spread piece where it belongs; what falls outside is lost."""
    target, source = [], []
    for start, side, length in zip(
        (top - radius, left - radius), piece.shape[1:], result.shape[1:], strict=True
    ):
        first, last = max(0, start), min(length, start + side)
        target.append(slice(first, last))
        source.append(slice(first - start, last - start))
    result[:, *target] += piece[:, *source]
