"""Metrics of restored pictures, as papers print them.

Every function takes `(sharp, restored)`: two arrays of one shape, (height, width, 3),
(height, width, 1) or (height, width), uint8 in [0, 255] or floating point in [0, 1], sRGB as
stored. Mixing the two types is fine.

There are two SSIMs, and papers seldom say which one they report:
  `ssim_matlab`  reported for GoPro by the SRN, MPRNet and NAFNet papers: a 3-D window over rows,
                 columns AND channels. It is 0.96 where `ssim` is 0.86 on the same pair.
  `ssim`         per channel, then averaged, as Wang et al. (2004) define it.
Never compare one with the other.

Value ranges: `psnr`, `mse`, `ssim`, `ssim_matlab` and `gmsd` compare 8-bit pictures: floats
are clipped to [0, 1] and rounded. `realblur` follows its own protocol: floats,
never clipped.

Nothing here imports TensorFlow or Keras; the metric for training is
`restore_tf.networks.keras_metrics`, and the one that compares a network's features
`restore_tf.evaluation.perceptual`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from skimage import metrics as skimage_metrics

from restore_tf.errors import UserError
from restore_tf.evaluation.checked_pair import (
    PEAK,
    RADIUS,
    SIGMA,
    check_window,
    eight_bit_pair,
    gaussian_ssim,
)
from restore_tf.evaluation.gradients import gmsd
from restore_tf.evaluation.realblur import RealBlurScore, realblur

__all__ = [
    "RealBlurScore",
    "bootstrap_interval",
    "gmsd",
    "mse",
    "psnr",
    "realblur",
    "ssim",
    "ssim_matlab",
]

_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2  # Wang et al. 2004, equations 6 and 9


def psnr(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255^2 / MSE) over all pixels and channels.

    Identical pictures give inf.

    Args:
      sharp: uint8 or float picture, see the module's head.
      restored: of the same shape.

    Raises:
      UserError: the shapes differ, or a picture is not one.
    """
    sharp, restored = eight_bit_pair(sharp, restored)
    with np.errstate(divide="ignore"):
        return float(skimage_metrics.peak_signal_noise_ratio(sharp, restored, data_range=int(PEAK)))


def mse(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Mean squared error in 8-bit units, in [0, 65025].

    Args:
      sharp: uint8 or float picture, see the module's head.
      restored: of the same shape.

    Raises:
      UserError: the shapes differ, or a picture is not one.
    """
    return float(skimage_metrics.mean_squared_error(*eight_bit_pair(sharp, restored)))


def ssim(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Structural similarity in [-1, 1], per channel and averaged (Wang et al. 2004, eq. 13).

    A 2-D Gaussian window of 11x11 pixels, sigma 1.5, population statistics; the 5 pixels at each
    border, where the window leaves the picture, do not count.

    Args:
      sharp: uint8 or float picture of at least 11x11 pixels, see the module's head.
      restored: of the same shape.

    Raises:
      UserError: the shapes differ, or a picture is not one or is too small.
    """
    sharp, restored = eight_bit_pair(sharp, restored)
    check_window(sharp, "ssim")
    return float(gaussian_ssim(sharp, restored, PEAK))


def ssim_matlab(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Structural similarity in [-1, 1] as MATLAB's `ssim` computes it on an RGB volume.

    The window is a 3-D Gaussian of 11x11x11 over (row, column, channel), sigma 1.5, every side
    edge-replicated; population statistics; the mean of the whole map. On one channel this is
    the 2-D window. Computed in float64; published code in float32 differs by up to 1e-4.

    Args:
      sharp: uint8 or float picture of at least 11x11 pixels, see the module's head.
      restored: of the same shape.

    Raises:
      UserError: the shapes differ, or a picture is not one or is too small.
    """
    sharp, restored = eight_bit_pair(sharp, restored)
    check_window(sharp, "ssim_matlab")
    # Channels first: each plane is contiguous and small enough to stay in the cache.
    x = np.moveaxis(np.atleast_3d(sharp), -1, 0).astype(np.float64)
    z = np.moveaxis(np.atleast_3d(restored), -1, 0).astype(np.float64)
    # The variances are needed only as their sum, which saves one blur of five.
    cross, energy = _volume_blur(2 * x * z), _volume_blur(x * x + z * z)
    x, z = _volume_blur(x), _volume_blur(z)
    mean_cross, mean_energy = 2 * x * z, x * x + z * z
    similarity = (mean_cross + _C1) * (cross - mean_cross + _C2)
    similarity /= (mean_energy + _C1) * (energy - mean_energy + _C2)
    return float(similarity.mean())


def bootstrap_interval(
    values: Iterable[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani 1993, section 13.3).

    The bounds are order statistics, rounded outwards and never interpolated, so that infinite
    values (the PSNR of identical pictures) give inf where scipy.stats.bootstrap gives NaN. One
    value gives an interval of width zero, which means nothing: print `n` beside it.

    Args:
      values: one number per image; NaN among them makes both bounds NaN.
      confidence: the share of resampled means inside the interval, in (0, 1).
      resamples: the number of resamples, drawn with replacement, at least 1.
      seed: of NumPy's generator; the same seed gives the same interval.

    Returns:
      (low, high) in the unit of `values`.

    Raises:
      UserError: no values, or an argument out of its range.
    """
    values = np.asarray(list(values), np.float64)
    if values.ndim != 1 or not values.size:
        raise UserError(f"values: expected one number per image, got shape {values.shape}.")
    if not 0 < confidence < 1:
        raise UserError(f"confidence: expected a number between 0 and 1, got {confidence}.")
    if resamples < 1:
        raise UserError(f"resamples: expected 1 or more, got {resamples}.")
    if np.isnan(values).any():
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    count = len(values)
    means = [values[random.integers(count, size=count)].mean() for _ in range(resamples)]
    means.sort()
    tail = int((1 - confidence) / 2 * (resamples - 1))
    return float(means[tail]), float(means[resamples - 1 - tail])


def _window() -> np.ndarray:
    """The Gaussian window along one axis: (11,), sum 1."""
    window = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
    return window / window.sum()


def _volume_blur(volume: np.ndarray) -> np.ndarray:
    """Blurs (channels, height, width) with the 3-D window, every side edge-replicated.

    With so few channels the window's channel axis is a matrix: entry (i, j) is the weight that
    falls on channel j, or beyond its end of the volume, when the window is centred on channel i.
    """
    window, channels = _window(), len(volume)
    mixing = np.zeros((channels, channels))
    for centre in range(channels):
        reach = np.clip(np.arange(centre - RADIUS, centre + RADIUS + 1), 0, channels - 1)
        np.add.at(mixing[centre], reach, window)
    planes = np.empty_like(volume)
    for plane, blurred in zip(volume, planes, strict=True):
        rows = ndimage.correlate1d(plane, window, axis=0, mode="nearest")
        ndimage.correlate1d(rows, window, axis=1, mode="nearest", output=blurred)
    return np.tensordot(mixing, planes, axes=1)
