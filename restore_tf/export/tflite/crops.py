"""The crops that a TFLite file is calibrated, compared and scored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_CROPS = "crops.npz"


def read_crops(folder: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns what `prepare` left: degraded crops, what Keras makes of them, and sharp ones.

    Degraded and sharp (None where unknown) are (count, height, width, channels) uint8, the
    restored ones float32, not clipped.
    """
    with np.load(Path(folder) / _CROPS, allow_pickle=False) as found:
        sharp = found["sharp"] if "sharp" in found.files else None
        return found["degraded"], found["reference"], sharp
