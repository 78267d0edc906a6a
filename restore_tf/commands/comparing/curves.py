"""Networks at several settings, for the plane of perception and distortion.

Samplers at several steps and samples; every network blended with its input (`--strength`); the
outputs of the two best networks blended with each other. Only the plane's metrics are measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from tqdm import tqdm

from restore_tf.commands.comparing.entries import Entry
from restore_tf.commands.comparing.networks import Networks
from restore_tf.evaluation.comparison.results import INPUT, Curve, Point
from restore_tf.evaluation.comparison.scoring import Scorer, TestPairs, blends
from restore_tf.evaluation.metric_names import describe
from restore_tf.pictures.files import read_rgb

METRICS = ("psnr", "gmsd", "lpips")
_SHARES = (0.25, 0.5, 0.75)
_FOLDER = "curves"  # of their scores; their pictures are not kept


class Curves:
    """Measures curves, and reuses earlier measurements.

    Args:
      scorer: the comparison's.
      blocks: the test pictures.
      networks: restore them.
      scores: {row: {block: {picture: {metric: value}}}} of the table.
    """

    def __init__(
        self,
        scorer: Scorer,
        blocks: Sequence[TestPairs],
        networks: Networks,
        scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]],
    ):
        self._scorer, self._blocks = scorer, blocks
        self._networks, self._scores = networks, scores

    def all(self, entries: Sequence[Entry]) -> list[Curve]:
        """Returns every curve of some rows of the table.

        Args:
          entries: the rows' networks and chains.
        """
        curves = []
        for entry in tqdm(entries, unit="network's curves", disable=None):
            if not entry.links:
                curves += self._of_knobs(entry)
            curves.append(self._strength(entry))
        best = self._best_pair([entry.name for entry in entries])
        if best:
            curves.append(self._blend(*best))
        return curves

    def _of_knobs(self, entry):
        model = self._networks.model(entry.run)
        for knob, values in model.knobs.items():
            points = []
            for value in values:
                same = value == getattr(model, knob, None)
                other = model if same else self._networks.model(entry.run, **{knob: value})
                label = f"{_counted(value, knob)}, {_counted(other.evaluations, 'passes')}"
                if same:  # as in the table
                    points.append(self._known(label, entry.name))
                    continue

                def restore(name, degraded, value=value, knob=knob):
                    return self._networks.restore_picture(entry.run, degraded, **{knob: value})

                points.append(self._point(f"{entry.name}_{knob}_{value}", label, entry, restore))
            yield Curve(entry.name, knob, points)

    def _strength(self, entry):
        points = [self._known("strength 0", INPUT)]
        for share in _SHARES:
            key, label = f"{entry.name}_strength_{share}", f"strength {share:g}"
            points.append(self._mixed(key, label, INPUT, entry.name, share))
        points.append(self._known("strength 1", entry.name))
        return Curve(entry.name, "strength", points)

    def _blend(self, first, second):
        points = [self._known(f"{first} alone", first)]
        for share in _SHARES:
            key, label = f"{first}_{second}_blend_{share}", f"{share:.0%} of {second}"
            points.append(self._mixed(key, label, first, second, share))
        points.append(self._known(f"{second} alone", second))
        return Curve(f"{first} + {second}", "blend", points)

    def _best_pair(self, rows):
        """The best row by PSNR, and the best other one by the last metric of the plane."""
        measured = [name for name in METRICS if name in self._scorer.metrics]
        if len(rows) < 2 or not measured:
            return None
        first = self._ranked(rows, measured[0])[0]
        others = [row for row in self._ranked(rows, measured[-1]) if row != first]
        return first, others[0]

    def _ranked(self, rows, metric):
        def mean(row):
            known = [
                values[metric]
                for block in self._blocks
                for values in self._scores[row][block.block.name].values()
                if metric in values
            ]
            return statistics.fmean(known) if known else float("-inf")

        return sorted(rows, key=mean, reverse=describe(metric).higher_is_better)

    def _known(self, label, row):
        """The end of a curve that is a row of the table."""
        return Point(
            label,
            {
                pairs.block.name: {
                    name: {metric: value for metric, value in values.items() if metric in METRICS}
                    for name, values in self._scores[row][pairs.block.name].items()
                }
                for pairs in self._blocks
            },
        )

    def _point(self, key, label, entry, restore: Callable):
        digest = self._networks.digest(entry)
        return self._measured(key, label, digest, lambda pairs: restore)

    def _mixed(self, key, label, first, second, share):
        def of_block(pairs):
            def picture(row):
                return lambda name: read_rgb(self._scorer.path(pairs, row, name))

            ((_, mixed),) = blends(picture(first), picture(second), [share])
            return mixed

        return self._measured(key, label, self._digests(first, second), of_block)

    def _digests(self, *rows):
        """A text that changes whenever pictures of the rows change."""
        return " ".join(
            f"{pairs.block.name} {self._scorer.digest(pairs, row)}"
            for pairs in self._blocks
            for row in rows
        )

    def _measured(self, key, label, digest, restore_of):
        scores = {
            pairs.block.name: self._scorer.score(
                f"{_FOLDER}/{key}", pairs, restore_of(pairs), digest, METRICS, keep=False
            )
            for pairs in self._blocks
        }
        return Point(label, scores)


def _counted(number, plural):
    """A number and its noun: "1 step", "11 passes"."""
    singular = plural.removesuffix("es" if plural.endswith("sses") else "s")
    return f"{number} {plural if number != 1 else singular}"
