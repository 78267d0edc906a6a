"""How close a restored picture is to the sharp one: the numbers that papers print.

Every function takes `(sharp, restored)`: two arrays of one shape, (height, width, 3),
(height, width, 1) or (height, width), uint8 in [0, 255] or floating point in [0, 1], sRGB as
stored. Mixing the two types is fine.

Two SSIMs are in use, and papers seldom say which they print:
  `ssim_matlab`  what the SRN, MPRNet and NAFNet papers print for GoPro: a 3-D window over rows,
                 columns AND channels. It reads 0.96 where `ssim` reads 0.86 on the same pair.
  `ssim`         per channel, then averaged, as Wang et al. (2004) define it.
Never compare one with the other.

Value ranges: `psnr`, `mse`, `ssim` and `ssim_matlab` look at what a file would hold, so floats are
clipped to [0, 1] and rounded to 8 bit. `realblur` follows its own protocol: floats, never clipped.

Nothing here imports TensorFlow or Keras; the metric for training is
`restore_tf.networks.keras_metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from skimage import metrics as skimage_metrics

from restore_tf.errors import UserError

WINDOW = 11  # pixels; the side of every SSIM window here
_SIGMA = 1.5  # pixels; the window's standard deviation, Wang et al. 2004, section III.C
_RADIUS = WINDOW // 2
_PEAK = 255.0
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2  # Wang et al. 2004, equations 6 and 9
# A sharp float picture may ring a little beyond 1 after resampling; beyond 2 it is not [0, 1].
_FLOAT_LIMIT = 2.0
_ECC_ITERATIONS = 100


class RealBlurScore(NamedTuple):
    """What `realblur` returns.

    psnr: dB, over the pixels that both pictures cover.
    ssim: in [-1, 1], per channel over the same pixels.
    aligned: False where no homography was found and the pictures were compared as they lie.
    """

    psnr: float
    ssim: float
    aligned: bool


def psnr(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255^2 / MSE) over all pixels and channels.

    Identical pictures give inf.

    Args:
      sharp, restored: uint8 or float pictures, see the module's head.

    Raises:
      UserError: the shapes differ, or a picture is not one.
    """
    sharp, restored = _eight_bit_pair(sharp, restored)
    with np.errstate(divide="ignore"):
        return float(
            skimage_metrics.peak_signal_noise_ratio(sharp, restored, data_range=int(_PEAK))
        )


def mse(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Mean squared error in 8-bit units, in [0, 65025].

    Args:
      sharp, restored: uint8 or float pictures, see the module's head.

    Raises:
      UserError: the shapes differ, or a picture is not one.
    """
    return float(skimage_metrics.mean_squared_error(*_eight_bit_pair(sharp, restored)))


def ssim(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Structural similarity in [-1, 1], per channel and averaged (Wang et al. 2004, eq. 13).

    A 2-D Gaussian window of 11x11 pixels, sigma 1.5, population statistics; the 5 pixels at each
    border, where the window leaves the picture, do not count.

    Args:
      sharp, restored: uint8 or float pictures of at least 11x11 pixels, see the module's head.

    Raises:
      UserError: the shapes differ, or a picture is not one or is too small.
    """
    sharp, restored = _eight_bit_pair(sharp, restored)
    _check_window(sharp, "ssim")
    return float(_gaussian_ssim(sharp, restored, _PEAK))


def ssim_matlab(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Structural similarity in [-1, 1] as MATLAB's `ssim` computes it on an RGB volume.

    The window is a 3-D Gaussian of 11x11x11 over (row, column, channel), sigma 1.5, every side
    edge-replicated; population statistics; the mean of the whole map. On one channel this is
    the 2-D window. Computed in float64; published code in float32 differs by up to 1e-4.

    Args:
      sharp, restored: uint8 or float pictures of at least 11x11 pixels, see the module's head.

    Raises:
      UserError: the shapes differ, or a picture is not one or is too small.
    """
    sharp, restored = _eight_bit_pair(sharp, restored)
    _check_window(sharp, "ssim_matlab")
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


def realblur(sharp: ArrayLike, restored: ArrayLike) -> RealBlurScore:
    """PSNR and SSIM after aligning brightness and position (Rim et al. 2020, RealBlur).

    RealBlur's two cameras differ by a little gain and geometry, which no network can know. The
    restored picture is multiplied by one number, then warped by the homography that OpenCV's ECC
    finds; only pixels inside the warped picture count. Where ECC does not converge the pictures
    are compared unwarped and `aligned` is False: count these.

    Args:
      sharp, restored: uint8 or float pictures of at least 11x11 pixels, see the module's head.
        Floats are not clipped.

    Raises:
      UserError: OpenCV is missing, the shapes differ, or a picture is not one or is too small.
    """
    cv2 = _opencv()
    sharp, restored = _checked_pair(sharp, restored)
    _check_window(sharp, "realblur")
    # float32 throughout: OpenCV 5.0.0's cubic warp of float64 returns zeros along the borders.
    sharp = np.atleast_3d(_as_float32(sharp))
    restored = _match_gain(sharp, np.atleast_3d(_as_float32(restored)))
    homography = _find_homography(cv2, sharp, restored)
    mask = np.ones(sharp.shape[:2], np.float32)
    if homography is not None:
        restored, mask = _warp(cv2, restored, homography)
    mask = mask[..., np.newaxis]
    sharp, restored = sharp * mask, restored * mask
    return RealBlurScore(
        _masked_psnr(sharp, restored, mask),
        _masked_ssim(sharp, restored, mask),
        homography is not None,
    )


def bootstrap_interval(
    values: Iterable[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani 1993, section 13.3).

    The bounds are order statistics, rounded outwards and never interpolated, so that infinite
    values (the PSNR of identical pictures) give inf where scipy.stats.bootstrap gives NaN. One
    value alone gives an interval of width zero, which says nothing: print `n` beside it.

    Args:
      values: one number per image; NaN among them makes both bounds NaN.
      confidence: the share of resampled means inside the interval, in (0, 1).
      resamples: how many times the images are drawn anew with replacement, at least 1.
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


def _checked_pair(sharp: ArrayLike, restored: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as arrays, uint8 or float, of one shape, or raises a UserError."""
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


def _check_window(picture: np.ndarray, metric: str) -> None:
    """Raises a UserError if an SSIM window does not fit into `picture`."""
    height, width = picture.shape[:2]
    if min(height, width) < WINDOW:
        raise UserError(
            f"{metric}: expected at least {WINDOW}x{WINDOW} pixels, "
            f"got {height}x{width} (height x width); leave this picture out or use psnr."
        )


def _as_float32(picture: np.ndarray) -> np.ndarray:
    """Returns uint8 as float32 in [0, 1], and floats as float32 as they are."""
    if picture.dtype == np.uint8:
        return picture.astype(np.float32) / np.float32(_PEAK)
    return picture.astype(np.float32)


def _eight_bit_pair(sharp: ArrayLike, restored: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the checked pair as uint8: floats clipped to [0, 1] and rounded."""

    def eight_bit(picture):
        if picture.dtype == np.uint8:
            return picture
        if picture.dtype.itemsize < 4:  # 255 steps do not survive half precision
            picture = picture.astype(np.float32)
        return np.rint(np.clip(picture, 0, 1) * picture.dtype.type(_PEAK)).astype(np.uint8)

    sharp, restored = _checked_pair(sharp, restored)
    return eight_bit(sharp), eight_bit(restored)


def _gaussian_ssim(sharp, restored, data_range, full=False):
    """scikit-image's SSIM with Wang et al.'s window; with `full`, (mean, map)."""
    return skimage_metrics.structural_similarity(
        sharp,
        restored,
        channel_axis=-1 if sharp.ndim == 3 else None,
        data_range=data_range,
        gaussian_weights=True,
        sigma=_SIGMA,
        use_sample_covariance=False,
        full=full,
    )


def _window() -> np.ndarray:
    """The Gaussian window along one axis: (11,), sum 1."""
    window = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * _SIGMA**2))
    return window / window.sum()


def _volume_blur(volume: np.ndarray) -> np.ndarray:
    """Blurs (channels, height, width) with the 3-D window, every side edge-replicated.

    With so few channels the window's channel axis is a matrix: entry (i, j) is the weight that
    falls on channel j, or beyond its end of the volume, when the window is centred on channel i.
    """
    window, channels = _window(), len(volume)
    mixing = np.zeros((channels, channels))
    for centre in range(channels):
        reach = np.clip(np.arange(centre - _RADIUS, centre + _RADIUS + 1), 0, channels - 1)
        np.add.at(mixing[centre], reach, window)
    planes = np.empty_like(volume)
    for plane, blurred in zip(volume, planes, strict=True):
        rows = ndimage.correlate1d(plane, window, axis=0, mode="nearest")
        ndimage.correlate1d(rows, window, axis=1, mode="nearest", output=blurred)
    return np.tensordot(mixing, planes, axes=1)


def _opencv():
    """Returns the cv2 module, or raises a UserError that says how to install it."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "realblur: needs OpenCV to align pictures; run: pip install 'restore_tf[eval]'"
        ) from error
    return cv2


def _match_gain(sharp: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Scales `restored` by the one number that brings it closest to `sharp`."""
    energy = np.sum(restored * restored, dtype=np.float64)
    if energy == 0:  # black stays black, whatever the gain
        return restored
    return restored * np.float32(np.sum(sharp * restored, dtype=np.float64) / energy)


def _find_homography(cv2, sharp: np.ndarray, restored: np.ndarray) -> np.ndarray | None:
    """Returns the (3, 3) map from `sharp`'s pixels to `restored`'s, or None without one.

    None also if the map would move every pixel out of the picture: nothing could be compared.
    """

    def gray(picture):
        return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.shape[2] == 3 else picture

    # Epsilon 0: the protocol runs all iterations unless the correlation stops growing.
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_ITERATIONS, 0)
    try:
        _, homography = cv2.findTransformECC(
            gray(sharp),
            gray(restored),
            np.eye(3, dtype=np.float32),
            cv2.MOTION_HOMOGRAPHY,
            criteria,
            None,
            5,
        )
    except cv2.error:  # how OpenCV says that ECC did not converge
        return None
    if not np.isfinite(homography).all():
        return None
    _, mask = _warp(cv2, restored, homography)
    return homography if mask[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS].any() else None


def _warp(cv2, picture: np.ndarray, homography: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (picture warped, (height, width) mask of the pixels it covers, 0 or 1)."""
    height, width = picture.shape[:2]
    warped = cv2.warpPerspective(
        picture,
        homography,
        (width, height),
        flags=cv2.INTER_CUBIC + cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    mask = cv2.warpPerspective(
        np.ones((height, width), np.float32),
        homography,
        (width, height),
        flags=cv2.INTER_NEAREST + cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return warped.reshape(picture.shape), mask


def _masked_psnr(sharp: np.ndarray, restored: np.ndarray, mask: np.ndarray) -> float:
    """PSNR in dB of masked pictures in [0, 1] over the mask's pixels, all channels."""
    error = np.sum((sharp - restored) ** 2, dtype=np.float64) / (mask.sum() * sharp.shape[2])
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(1 / error))


def _masked_ssim(sharp: np.ndarray, restored: np.ndarray, mask: np.ndarray) -> float:
    """Mean SSIM of masked pictures in [0, 1] over the mask's pixels, 5 at each border cut."""
    _, similarity = _gaussian_ssim(sharp, restored, 1.0, full=True)
    inside = slice(_RADIUS, -_RADIUS)
    total = np.sum((similarity * mask)[inside, inside], axis=(0, 1), dtype=np.float64)
    return float(np.mean(total / mask[inside, inside].sum(dtype=np.float64)))
