"""PSNR and SSIM by RealBlur's protocol: after aligning brightness and position."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from restore_tf.errors import UserError
from restore_tf.evaluation.checked_pair import (
    PEAK,
    RADIUS,
    check_window,
    checked_pair,
    gaussian_ssim,
)

_ECC_ITERATIONS = 100


class RealBlurScore(NamedTuple):
    """Scores by RealBlur's protocol.

    Attributes:
      psnr: dB, over the pixels that both pictures cover.
      ssim: in [-1, 1], per channel over the same pixels.
      aligned: False if no homography was found and the pictures were compared unaligned.
    """

    psnr: float
    ssim: float
    aligned: bool


def realblur(sharp: ArrayLike, restored: ArrayLike) -> RealBlurScore:
    """PSNR and SSIM after aligning brightness and position (Rim et al. 2020, RealBlur).

    RealBlur's two cameras differ slightly in gain and geometry, which no network can know. The
    restored picture is multiplied by one number, then warped by the homography that OpenCV's ECC
    finds; only pixels inside the warped picture count. If ECC does not converge, the pictures are
    compared unwarped and `aligned` is False: report their number.

    Args:
      sharp: uint8 or float picture of at least 11x11 pixels, see `metrics`. Floats are not clipped.
      restored: of the same shape.

    Raises:
      UserError: OpenCV is missing, the shapes differ, or a picture is not one or is too small.
    """
    cv2 = _opencv()
    sharp, restored = checked_pair(sharp, restored)
    check_window(sharp, "realblur")
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


def _as_float32(picture: np.ndarray) -> np.ndarray:
    """Returns float32: uint8 scaled to [0, 1], floats unchanged."""
    if picture.dtype == np.uint8:
        return picture.astype(np.float32) / np.float32(PEAK)
    return picture.astype(np.float32)


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
    """Scales `restored` by the number that brings it closest to `sharp`."""
    energy = np.sum(restored * restored, dtype=np.float64)
    if energy == 0:  # black stays black, whatever the gain
        return restored
    return restored * np.float32(np.sum(sharp * restored, dtype=np.float64) / energy)


def _find_homography(cv2, sharp: np.ndarray, restored: np.ndarray) -> np.ndarray | None:
    """Returns the (3, 3) map from `sharp`'s pixels to `restored`'s, or None if there is none.

    A map that moves every pixel out of the picture counts as none.
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
    except cv2.error:  # OpenCV's signal that ECC did not converge
        return None
    if not np.isfinite(homography).all():
        return None
    _, mask = _warp(cv2, restored, homography)
    return homography if mask[RADIUS:-RADIUS, RADIUS:-RADIUS].any() else None


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
    _, similarity = gaussian_ssim(sharp, restored, 1.0, full=True)
    inside = slice(RADIUS, -RADIUS)
    total = np.sum((similarity * mask)[inside, inside], axis=(0, 1), dtype=np.float64)
    return float(np.mean(total / mask[inside, inside].sum(dtype=np.float64)))
