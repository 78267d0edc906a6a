"""The pictures that metrics compare: two of one shape, checked, and the SSIM window they share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from skimage import metrics as skimage_metrics

from restore_tf.errors import UserError

WINDOW = 11  # pixels; the side of every SSIM window here
SIGMA = 1.5  # pixels; the window's standard deviation, Wang et al. 2004, section III.C
RADIUS = WINDOW // 2
PEAK = 255.0
# A sharp float picture may ring a little beyond 1 after resampling; beyond 2 it is not [0, 1].
_FLOAT_LIMIT = 2.0


def checked_pair(sharp: ArrayLike, restored: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both pictures as arrays, uint8 or float.

    Args:
      sharp: (height, width, 3), (height, width, 1) or (height, width); uint8, or float in [0, 1].
      restored: of the same shape; uint8 or float, which may leave [0, 1].

    Raises:
      UserError: the shapes differ, or an array is not a picture.
    """
    sharp, restored = np.asarray(sharp), np.asarray(restored)
    if sharp.shape != restored.shape:
        raise UserError(
            f"sharp and restored: expected one shape, got {sharp.shape} and {restored.shape}; "
            "crop or pad the restored picture back to the size of its input."
        )
    if sharp.ndim not in (2, 3) or sharp.shape[2:] not in ((), (1,), (3,)) or not sharp.size:
        raise UserError(
            "sharp and restored: expected (height, width, 3), (height, width, 1) or "
            f"(height, width), got {sharp.shape}; pass one picture at a time."
        )
    for name, picture in (("sharp", sharp), ("restored", restored)):
        if picture.dtype != np.uint8:
            _check_float(name, picture)
    if sharp.dtype != np.uint8 and sharp.max() > _FLOAT_LIMIT:
        raise UserError(
            f"sharp: expected floats in [0, 1], found {float(sharp.max()):g}; "
            "divide by 255 or pass uint8."
        )
    return sharp, restored


def eight_bit_pair(sharp: ArrayLike, restored: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the checked pair as uint8: floats are clipped to [0, 1] and rounded.

    Args:
      sharp: as for `checked_pair`.
      restored: as for `checked_pair`.

    Raises:
      UserError: as `checked_pair`.
    """

    def eight_bit(picture):
        if picture.dtype == np.uint8:
            return picture
        if picture.dtype.itemsize < 4:  # 255 steps do not survive half precision
            picture = picture.astype(np.float32)
        return np.rint(np.clip(picture, 0, 1) * picture.dtype.type(PEAK)).astype(np.uint8)

    sharp, restored = checked_pair(sharp, restored)
    return eight_bit(sharp), eight_bit(restored)


def _check_float(name: str, picture: np.ndarray) -> None:
    """Raises a UserError unless `picture` holds finite floating-point numbers."""
    # ml_dtypes' bfloat16, what a bf16 tensor turns into, is no subtype of np.floating.
    if not np.issubdtype(picture.dtype, np.floating) and picture.dtype.name != "bfloat16":
        raise UserError(
            f"{name}: expected uint8 in [0, 255] or floats in [0, 1], got {picture.dtype}."
        )
    bad = picture.size - np.count_nonzero(np.isfinite(picture))
    if bad:
        raise UserError(
            f"{name}: {bad} of {picture.size} values are NaN or infinite; "
            "the network that made it has diverged."
        )


def check_window(picture: np.ndarray, metric: str, side: int = WINDOW) -> None:
    """Checks that a metric's window fits into a picture.

    Args:
      picture: (height, width, …).
      metric: its name, for the message.
      side: of the window in pixels; SSIM's by default.

    Raises:
      UserError: the picture is too small.
    """
    height, width = picture.shape[:2]
    if min(height, width) < side:
        raise UserError(
            f"{metric}: expected at least {side}x{side} pixels, "
            f"got {height}x{width} (height x width); leave this picture out or use psnr."
        )


def gaussian_ssim(sharp, restored, data_range, full=False):
    """Returns scikit-image's SSIM with Wang et al.'s window.

    Args:
      sharp: (height, width, channels) or (height, width).
      restored: of the same shape.
      data_range: of the values: 255 for uint8, 1 for floats.
      full: return (mean, map) instead of the mean.
    """
    return skimage_metrics.structural_similarity(
        sharp,
        restored,
        channel_axis=-1 if sharp.ndim == 3 else None,
        data_range=data_range,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
        full=full,
    )
