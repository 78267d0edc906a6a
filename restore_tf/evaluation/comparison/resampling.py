"""Bootstrap intervals of means that share their resampled pictures, which makes them paired.

Frames of one video are not independent: where pictures belong to sequences, whole sequences are
drawn. Of fewer than `FEWEST` of them a bootstrap says nothing; then the spread stands in its place.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from restore_tf.evaluation.report import CONFIDENCE

RESAMPLES = 10_000
SEED = 0
FEWEST = 5  # units, pictures or sequences, that an interval needs


class Estimate(NamedTuple):
    """A mean over pictures and its uncertainty.

    Attributes:
      mean: over the pictures.
      low: of the 95 % bootstrap interval; of a "spread" the smallest mean of a unit; None where
        there is only one unit.
      high: likewise, or the largest mean of a unit.
      n: pictures.
      units: sequences, or pictures where none belongs to one.
      kind: "interval", "spread" or "single".
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    units: int
    kind: str

    @property
    def apart(self) -> bool:
        """Whether zero lies outside the interval; never of a spread or a single value."""
        if self.kind != "interval" or self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


class Resampling:
    """Bootstrap draws that all estimates share.

    Args:
      units: of each picture: its sequence, or itself.
      resamples: the number of resamples, drawn with replacement.
      seed: of NumPy's generator.

    Attributes:
      count: the number of units.
    """

    def __init__(self, units: Sequence[Hashable], resamples: int = RESAMPLES, seed: int = SEED):
        order = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
        self.count = len(order)
        self._members = np.zeros((len(units), self.count))
        self._members[np.arange(len(units)), [order[unit] for unit in units]] = 1
        equal = np.full(self.count, 1 / self.count)
        draws = np.random.default_rng(seed).multinomial(self.count, equal, size=resamples)
        self._draws = draws.astype(np.float64)

    def estimates(self, values: ArrayLike) -> list[Estimate]:
        """Returns the estimate of each row's mean.

        Args:
          values: (rows, pictures); NaN in every row for pictures that were not measured. Infinite
            ones make infinite means.
        """
        values = np.atleast_2d(np.asarray(values, np.float64))
        present = ~np.isnan(values).any(axis=0)
        values, members = values[:, present], self._members[present]
        members = members[:, members.any(axis=0)]
        n, units = members.shape
        if not n:
            return []
        means = values.mean(axis=1)
        if units == 1:
            return [Estimate(float(mean), None, None, n, units, "single") for mean in means]
        if units < FEWEST:
            kind, (low, high) = "spread", _spread(values, members)
        else:
            kind, (low, high) = "interval", self._interval(values, present)
        return [
            Estimate(float(mean), float(a), float(b), n, units, kind)
            for mean, a, b in zip(means, low, high, strict=True)
        ]

    def _interval(self, values, present):
        """Order statistics, rounded outwards: interpolation between infinities gives NaN."""
        members = self._members[present]
        sizes = self._draws @ members.sum(axis=0)
        draws, sizes = self._draws[sizes > 0], sizes[sizes > 0]
        means = _means(values, members, draws, sizes)
        tail = int((1 - CONFIDENCE) / 2 * (len(means) - 1))
        ends = [tail, len(means) - 1 - tail]
        return np.partition(means, ends, axis=0)[ends]


def _means(values, members, draws, sizes):
    """Means of each resample: (resamples, rows)."""
    finite = np.where(np.isfinite(values), values, 0)
    means = draws @ (finite @ members).T / sizes[:, None]
    for infinity in (np.inf, -np.inf):
        if (values == infinity).any():
            drawn = draws @ ((values == infinity) @ members).T > 0
            means = np.where(drawn, infinity, means)
    return means


def _spread(values, members):
    draws = np.eye(members.shape[1])
    means = _means(values, members, draws, members.sum(axis=0))
    return means.min(axis=0), means.max(axis=0)
