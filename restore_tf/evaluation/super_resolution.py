"""Metrics as super-resolution papers report them: on luminance, or with the border cut.

At its borders an enlarged picture depends on the padding. Papers cut as many pixels at each side as
the scale factor, and most report scores of Y alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from restore_tf.errors import UserError
from restore_tf.evaluation import metrics
from restore_tf.evaluation.checked_pair import eight_bit_pair

_RED, _GREEN, _BLUE, _BLACK = 65.481, 128.553, 24.966, 16.0  # of MATLAB's rgb2ycbcr


def luma(picture: np.ndarray) -> np.ndarray:
    """Returns Y of MATLAB's rgb2ycbcr, 16 to 235, rounded to 8 bits.

    Args:
      picture: (height, width, 3) uint8; a gray one, (height, width), is its own Y.

    Returns:
      (height, width) uint8.
    """
    if picture.ndim == 2 or picture.shape[-1] == 1:
        return picture.reshape(picture.shape[:2])
    weights = np.array([_RED, _GREEN, _BLUE]) / 255.0
    return np.rint(_BLACK + picture.astype(np.float64) @ weights).astype(np.uint8)


def psnr_y(sharp: ArrayLike, restored: ArrayLike, shave: int = 0) -> float:
    """PSNR of `luma` in dB, the border cut.

    Args:
      sharp: a picture, see the head of `restore_tf.evaluation.metrics`.
      restored: of the same shape.
      shave: pixels cut at each side; in papers, the scale factor.

    Raises:
      UserError: the shapes differ, a picture is not one, or nothing is left of it.
    """
    return metrics.psnr(*map(luma, _cut(sharp, restored, shave)))


def ssim_y(sharp: ArrayLike, restored: ArrayLike, shave: int = 0) -> float:
    """SSIM of `luma` (Gaussian window of 11 pixels, where it fits), the border cut.

    Args:
      sharp: a picture, see the head of `restore_tf.evaluation.metrics`.
      restored: of the same shape.
      shave: pixels cut at each side.

    Raises:
      UserError: the shapes differ, a picture is not one, or nothing or less than the window is
        left.
    """
    return metrics.ssim(*map(luma, _cut(sharp, restored, shave)))


def psnr_shaved(sharp: ArrayLike, restored: ArrayLike, shave: int = 0) -> float:
    """PSNR of RGB in dB, the border cut.

    Args:
      sharp: a picture, see the head of `restore_tf.evaluation.metrics`.
      restored: of the same shape.
      shave: pixels cut at each side.

    Raises:
      UserError: the shapes differ, a picture is not one, or nothing is left of it.
    """
    return metrics.psnr(*_cut(sharp, restored, shave))


def _cut(sharp, restored, shave):
    pair = eight_bit_pair(sharp, restored)
    if min(pair[0].shape[:2]) <= 2 * shave:
        size = "x".join(map(str, pair[0].shape[:2]))
        raise UserError(f"pictures of {size} pixels: nothing is left without a border of {shave}.")
    kept = slice(shave, -shave or None)
    return [picture[kept, kept] for picture in pair]
