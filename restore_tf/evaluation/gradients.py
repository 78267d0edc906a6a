"""GMSD: how unevenly the gradients of two pictures agree (Xue et al., TIP 2014)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from restore_tf.evaluation.checked_pair import check_window, eight_bit_pair

_LUMA = np.array([0.299, 0.587, 0.114])
_PREWITT = np.outer([1, 1, 1], [1, 0, -1]) / 3
_C = 170.0  # section III.B, for values in [0, 255]
_LEAST = 6  # pixels: three of half the size, what a Prewitt filter takes


def gmsd(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Gradient magnitude similarity deviation; 0 for identical pictures, lower is better.

    The luma at half the size (means of 2x2), the magnitudes of its gradients by Prewitt's filter,
    their similarity at each pixel (equation 4), and that map's standard deviation (equation 6).
    Zeros outside of the picture, as in the authors' code.

    Args:
      sharp: uint8 or float picture of at least 6x6 pixels, see the head of
        `restore_tf.evaluation.metrics`.
      restored: of the same shape.

    Raises:
      UserError: the shapes differ, or a picture is not one or is too small.
    """
    sharp, restored = eight_bit_pair(sharp, restored)
    check_window(sharp, "gmsd", _LEAST)
    first, second = _magnitudes(sharp), _magnitudes(restored)
    similarity = (2 * first * second + _C) / (first**2 + second**2 + _C)
    return float(similarity.std())


def _magnitudes(picture):
    """Gradient magnitudes of a uint8 picture at half its size."""
    plane = np.atleast_3d(picture).astype(np.float64)
    plane = plane @ _LUMA if plane.shape[2] == 3 else plane[..., 0]
    plane = np.pad(plane, [(0, side % 2) for side in plane.shape])
    small = (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4
    across, down = (
        ndimage.convolve(small, kernel, mode="constant") for kernel in (_PREWITT, _PREWITT.T)
    )
    return np.hypot(across, down)
