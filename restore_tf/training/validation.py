"""Validation while a network trains: PSNR of a fixed handful of pictures."""

from __future__ import annotations

import numpy as np

from restore_tf.evaluation import metrics
from restore_tf.inference.restore import restore
from restore_tf.pictures.planes import enlarged_to


class Validation:
    """Mean PSNR of a fixed handful of validation pictures.

    Args:
      model: the network being trained.
      source: pairs read by index.
      count: at most so many pictures, spread evenly over the source.

    Attributes:
      degraded_psnr: mean PSNR of the unrestored pictures, in dB; of bicubic ones where the network
        enlarges.
    """

    def __init__(self, model, source, count: int):
        self._model = model
        positions = np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int))
        self._pairs = [source.read(int(position)) for position in positions]
        self._shown = [enlarged_to(degraded, sharp.shape[:2]) for degraded, sharp in self._pairs]
        self.degraded_psnr = self._mean(self._shown)

    def __call__(self) -> tuple[float, list[np.ndarray]]:
        """Returns the mean PSNR in dB and the restored pictures."""
        restored = [restore(self._model, degraded) for degraded, _ in self._pairs]
        return self._mean(restored), restored

    def rows(self, restored, count: int = 4) -> list[tuple[np.ndarray, ...]]:
        """(degraded, restored, sharp) of the first pictures."""
        sharp = [sharp for _, sharp in self._pairs]
        return list(zip(self._shown, restored, sharp, strict=True))[:count]

    def _mean(self, pictures):
        scores = [
            metrics.psnr(sharp, picture)
            for (_, sharp), picture in zip(self._pairs, pictures, strict=True)
        ]
        return float(np.mean(scores))
