"""Names of metrics in tables, and whether higher or lower is better."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is printed: its column head, its decimals, and whether higher is better."""

    label: str
    decimals: int
    higher_is_better: bool


METRICS = {
    "psnr": Metric("PSNR (dB)", 2, True),
    "ssim_matlab": Metric("SSIM (MATLAB)", 4, True),
    "ssim": Metric("SSIM (per channel)", 4, True),
    "mse": Metric("MSE", 1, False),
    "realblur_psnr": Metric("aligned PSNR (dB)", 2, True),
    "realblur_ssim": Metric("aligned SSIM", 4, True),
    "gmsd": Metric("GMSD", 4, False),
    "lpips": Metric("LPIPS (alex)", 4, False),
    "lpips_vgg": Metric("LPIPS (VGG)", 4, False),
    "psnr_y": Metric("PSNR of Y, border cut (dB)", 2, True),
    "ssim_y": Metric("SSIM of Y, border cut", 4, True),
    "psnr_shaved": Metric("PSNR, border cut (dB)", 2, True),
}


def describe(name: str) -> Metric:
    """Returns how a metric is printed; an unknown one under its own name with 4 decimals.

    Args:
      name: of the metric, such as "psnr".
    """
    return METRICS.get(name, Metric(name, 4, True))


def format_number(value: float | None, metric: str) -> str:
    """Returns a score as printed: with the metric's decimals, `inf` and `nan` by name.

    Args:
      value: the score; None gives an empty string.
      metric: its name.
    """
    return "" if value is None else f"{value:.{describe(metric).decimals}f}"
