"""The crops that a TFLite file is calibrated, compared and scored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_CROPS = "crops.npz"


def read_crops(folder: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Reads the crops that `convert.prepare` wrote.

    Args:
      folder: as `prepare`'s.

    Returns:
      Degraded crops, (count, height, width, channels) uint8; the Keras model's output, float32, not
      clipped; sharp crops, uint8, or None.
    """
    with np.load(Path(folder) / _CROPS, allow_pickle=False) as found:
        sharp = found["sharp"] if "sharp" in found.files else None
        return found["degraded"], found["reference"], sharp
