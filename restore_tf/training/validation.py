"""Validation while a network trains: scores of a fixed handful of pictures."""

from __future__ import annotations

import numpy as np

from restore_tf.evaluation import metric_names
from restore_tf.evaluation.score import MEASURES
from restore_tf.inference.restore import restore
from restore_tf.pictures.planes import enlarged_to
from restore_tf.training.run_log import best_columns
from restore_tf.training.validation_loss import ValidationLoss


class Validation:
    """Mean scores of a fixed handful of validation pictures: PSNR, and what chooses the best.

    Args:
      model: the network being trained, compiled with its loss.
      source: pairs read by index.
      experiment: the `Experiment`, with its `best_metric`.
      options: the `Options`: at most `validation_pictures`, spread evenly over the source.

    Attributes:
      metric: the experiment's `best_metric`.
      names: what a validation measures: "psnr", and the metric where that is another.
      higher_is_better: of the metric.
      degraded: {name: mean score} of the unrestored pictures, of bicubic ones where the network
        enlarges; without "loss" and "last".
    """

    def __init__(self, model, source, experiment, options):
        self._model = model
        count = min(options.validation_pictures, len(source))
        positions = np.unique(np.linspace(0, len(source) - 1, count).astype(int))
        self._pairs = [source.read(int(position)) for position in positions]
        self._shown = [enlarged_to(degraded, sharp.shape[:2]) for degraded, sharp in self._pairs]
        self.metric = experiment.best_metric
        self.names = tuple(dict.fromkeys(["psnr", self.metric]))
        self.higher_is_better = self.metric != "loss" and (
            metric_names.describe(self.metric).higher_is_better
        )
        self.degraded = self._means(self._shown)
        self._loss = None
        if self.metric == "loss":
            self._loss = ValidationLoss(model, self._pairs, experiment, options.seed)

    @property
    def label(self) -> str:
        """The metric's name in messages."""
        return metric_names.describe(self.metric).label.removesuffix(" (dB)")

    @property
    def columns(self) -> tuple[str, ...]:
        """What `row` has beside the columns of every run."""
        return best_columns(self.metric)

    def __call__(self, step: int) -> tuple[dict[str, float], list[np.ndarray]]:
        """Returns {name: mean score} after a step, and the restored pictures."""
        restored = [restore(self._model, degraded) for degraded, _ in self._pairs]
        scores = self._means(restored)
        if self._loss is not None:
            scores["loss"] = self._loss()
        if self.metric == "last":
            scores["last"] = float(step)
        return scores, restored

    def row(self, scores) -> dict[str, float]:
        """Returns scores, and those of the degraded pictures, by their names in metrics.csv."""
        found = {"psnr_degraded": self.degraded["psnr"], "psnr": scores["psnr"]}
        values = [scores[self.metric], self.degraded.get(self.metric)]
        return found | dict(zip(self.columns, values, strict=False))

    def rows(self, restored, count: int = 4) -> list[tuple[np.ndarray, ...]]:
        """(degraded, restored, sharp) of the first pictures."""
        sharp = [sharp for _, sharp in self._pairs]
        return list(zip(self._shown, restored, sharp, strict=True))[:count]

    def _means(self, pictures):
        measured = [name for name in self.names if name in MEASURES]
        return {
            name: float(
                np.mean(
                    [
                        MEASURES[name](sharp, picture)
                        for (_, sharp), picture in zip(self._pairs, pictures, strict=True)
                    ]
                )
            )
            for name in measured
        }
