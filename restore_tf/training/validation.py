"""Validation while a network trains: PSNR of a fixed handful of pictures."""

from __future__ import annotations

import numpy as np

from restore_tf.evaluation import metrics
from restore_tf.inference.restore import restore
from restore_tf.pictures.planes import enlarged_to


class Validation:
    """Mean PSNR of a fixed handful of validation pictures.

    Of a mixture every set has as many pictures, and the mean is that of the sets' means.

    Args:
      model: the network being trained.
      source: pairs read by index.
      count: at most so many pictures, spread evenly over each set; at least one of each.

    Attributes:
      degraded_psnr: mean PSNR of the unrestored pictures, in dB; of bicubic ones where the network
        enlarges.
      labels: of a mixture's sets; empty where there is one set.
      of_sets: {"psnr:LABEL", "psnr_degraded:LABEL": mean PSNR in dB} of each of these, as last
        restored.
    """

    def __init__(self, model, source, count: int):
        self._model, self.labels, self.of_sets = model, tuple(source.parts), {}
        sets = source.parts or {None: source}
        self._pairs, self._sets = [], {}
        for label, pairs in sets.items():
            share = min(max(1, count // len(sets)), len(pairs))
            positions = np.unique(np.linspace(0, len(pairs) - 1, share).astype(int))
            first = len(self._pairs)
            self._pairs += [pairs.read(int(position)) for position in positions]
            self._sets[label] = slice(first, len(self._pairs))
        self._shown = [enlarged_to(degraded, sharp.shape[:2]) for degraded, sharp in self._pairs]
        self.degraded_psnr, self._degraded = self._means(self._shown)

    def __call__(self) -> tuple[float, list[np.ndarray]]:
        """Returns the mean PSNR in dB and the restored pictures."""
        restored = [restore(self._model, degraded) for degraded, _ in self._pairs]
        mean, means = self._means(restored)
        for label in self.labels:
            self.of_sets[f"psnr:{label}"] = means[label]
            self.of_sets[f"psnr_degraded:{label}"] = self._degraded[label]
        return mean, restored

    def described(self) -> str:
        """The sets' PSNRs in words."""
        sets = [
            f"{label} {self.of_sets[f'psnr:{label}']:.2f} dB (degraded {self._degraded[label]:.2f})"
            for label in self.labels
        ]
        return f"validation PSNR {', '.join(sets)}"

    def rows(self, restored, count: int = 4) -> list[tuple[np.ndarray, ...]]:
        """(degraded, restored, sharp) of the first pictures; of a mixture, of every set's first."""
        rows = list(zip(self._shown, restored, (sharp for _, sharp in self._pairs), strict=True))
        each = -(-count // len(self._sets))
        return [row for where in self._sets.values() for row in rows[where][:each]]

    def _means(self, pictures):
        scores = [
            metrics.psnr(sharp, picture)
            for (_, sharp), picture in zip(self._pairs, pictures, strict=True)
        ]
        means = {label: float(np.mean(scores[where])) for label, where in self._sets.items()}
        return float(np.mean(list(means.values()))), means
