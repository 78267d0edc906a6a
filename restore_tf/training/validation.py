"""Validation while a network trains: scores of a fixed handful of pictures."""

from __future__ import annotations

import numpy as np

from restore_tf.evaluation import metric_names
from restore_tf.evaluation.score import MEASURES
from restore_tf.inference.restore import restore
from restore_tf.pictures.planes import enlarged_to
from restore_tf.training.run_log import best_columns, set_columns
from restore_tf.training.validation_loss import ValidationLoss


class Validation:
    """Mean scores of a fixed handful of validation pictures: PSNR, and what chooses the best.

    Of a mixture every set has as many pictures, and the mean is that of the sets' means.

    Args:
      model: the network being trained, compiled with its loss.
      source: pairs read by index.
      experiment: the `Experiment`, with its `best_metric`.
      options: the `Options`: at most `validation_pictures`, spread evenly over each set; at least
        one of each.

    Attributes:
      metric: the experiment's `best_metric`.
      names: what a validation measures: "psnr", and the metric where that is another.
      higher_is_better: of the metric.
      degraded: {name: mean score} of the unrestored pictures, of bicubic ones where the network
        enlarges; without "loss" and "last".
      labels: of a mixture's sets; empty where there is one set.
    """

    def __init__(self, model, source, experiment, options):
        self._model, self.labels = model, tuple(source.parts)
        self._pairs, self._sets = [], {}
        for label, pairs in (source.parts or {None: source}).items():
            positions = _spread(len(pairs), options.validation_pictures // max(1, len(self.labels)))
            first = len(self._pairs)
            self._pairs += [pairs.read(position) for position in positions]
            self._sets[label] = slice(first, len(self._pairs))
        self._shown = [enlarged_to(degraded, sharp.shape[:2]) for degraded, sharp in self._pairs]
        self.metric = experiment.best_metric
        self.names = tuple(dict.fromkeys(["psnr", self.metric]))
        self.higher_is_better = self.metric != "loss" and (
            metric_names.describe(self.metric).higher_is_better
        )
        self.degraded, self._degraded_of_sets = self._means(self._shown)
        self._of_sets = {}
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
        return best_columns(self.metric) + set_columns(self.labels)

    def __call__(self, step: int) -> tuple[dict[str, float], list[np.ndarray]]:
        """Returns {name: mean score} after a step, and the restored pictures."""
        scores, restored = self.scored(self._model)
        if self._loss is not None:
            scores["loss"] = self._loss()
        if self.metric == "last":
            scores["last"] = float(step)
        return scores, restored

    def scored(self, model) -> tuple[dict[str, float], list[np.ndarray]]:
        """Returns {name: mean score} of what pictures are compared by, and the restored pictures.

        Args:
          model: the network.
        """
        restored = [restore(model, degraded) for degraded, _ in self._pairs]
        scores, self._of_sets = self._means(restored)
        return scores, restored

    def row(self, scores) -> dict[str, float]:
        """Returns {column of metrics.csv: score} of the restored and the degraded pictures.

        Args:
          scores: {name: mean score}, as a call returns them.
        """
        found = {"psnr_degraded": self.degraded["psnr"], "psnr": scores["psnr"]}
        values = [scores[self.metric], self.degraded.get(self.metric)]
        found |= dict(zip(best_columns(self.metric), values, strict=False))
        for label, psnr in self._of_sets.items() if self.labels else ():
            each = psnr, self._degraded_of_sets[label]
            found |= dict(zip(set_columns([label]), each, strict=True))
        return found

    def described(self) -> str:
        """The sets' PSNRs of the last validation in words."""
        sets = [
            f"{label or ''} {psnr:.2f} dB (degraded {self._degraded_of_sets[label]:.2f})".lstrip()
            for label, psnr in self._of_sets.items()
        ]
        return f"validation PSNR {', '.join(sets)}"

    def rows(self, restored, count: int = 4) -> list[tuple[np.ndarray, ...]]:
        """Returns the first pictures for a grid; of a mixture, the first of every set.

        Args:
          restored: the restored pictures, as a call returns them.
          count: about how many rows; at least one per set.

        Returns:
          (degraded, restored, sharp) of each, (height, width, 3) uint8.
        """
        rows = list(zip(self._shown, restored, (sharp for _, sharp in self._pairs), strict=True))
        each = -(-count // len(self._sets))
        return [row for where in self._sets.values() for row in rows[where][:each]]

    def _means(self, pictures):
        """{metric: mean of the sets' means} and {set: mean PSNR}."""
        found = {}
        for name in [name for name in self.names if name in MEASURES]:
            scores = [
                MEASURES[name](sharp, picture)
                for (_, sharp), picture in zip(self._pairs, pictures, strict=True)
            ]
            found[name] = {set_: float(np.mean(scores[at])) for set_, at in self._sets.items()}
        means = {name: float(np.mean(list(of_sets.values()))) for name, of_sets in found.items()}
        return means, found["psnr"]


def _spread(length, count):
    """At most `count` positions, and at least one, spread evenly."""
    count = min(max(1, count), length)
    return [int(at) for at in np.unique(np.linspace(0, length - 1, count).astype(int))]
