"""Losses of the last steps, which stay on the device until their numbers are needed."""

from __future__ import annotations

import collections
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from restore_tf.errors import UserError

_JUMP = 10  # times the usual loss
_USUAL, _FEWEST, _LATEST = 200, 10, 5  # steps
_EARLY_JUMP = 1000  # times the first loss, while too few are known to say what is usual


class Jump(NamedTuple):
    """A loss ten times the usual one, or above a negative one by nine times its size."""

    step: int
    before: float
    loss: float


class _Jumps:
    """Finds where the median of the last 5 losses is ten times that of the 200 before.

    Medians, because single pictures can differ as much; so many steps, because a loss that runs
    away may take a hundred. A jump counts once, until the loss is back. A sum with PSNR in it may
    be negative, or near zero by chance, so nine steps in ten must have had less, too. A rate that
    is far too high shows in the first steps: they are compared with the first loss.
    """

    def __init__(self):
        self._first = None
        self._usual = collections.deque(maxlen=_USUAL)
        self._latest = collections.deque(maxlen=_LATEST)
        self._high = False

    def add(self, step, loss) -> list[Jump]:
        """Takes a step's loss; returns the jump that begins here, if any.

        Args:
          step: steps done.
          loss: of that step.
        """
        if len(self._latest) == _LATEST:
            self._usual.append(self._latest[0])
        self._latest.append(loss)
        self._first = loss if self._first is None else self._first
        if len(self._latest) < _LATEST:
            return []
        now = statistics.median(self._latest)
        if len(self._usual) < _FEWEST:
            before, factor, usual = self._first, _EARLY_JUMP, self._first
        else:
            before, factor = statistics.median(self._usual), _JUMP
            usual = statistics.quantiles(self._usual, n=10)[-1]
        if now - before <= (factor - 1) * abs(before):
            self._high = False
        elif not self._high and now > usual:
            self._high = True
            return [Jump(step, before, now)]
        return []


class RecentLosses:
    """Collects every step's losses, reads many at once, and checks that they are finite.

    Reading one waits for its step: a device that is read at every step has no next one to go on
    with.

    Args:
      read: copies a list of {name: loss} from the device, as {name: array}.

    Attributes:
      unread: how many steps' losses are still on the device.
      since_record: `Means` of the losses read since the last record; the loop replaces it.
      since_validation: likewise, since the last validation.
    """

    def __init__(self, read: Callable[[list], Mapping[str, np.ndarray]]):
        self._read = read
        self._waiting: list = []
        self.since_record, self.since_validation = Means(), Means()
        self._jumps = _Jumps()

    @property
    def unread(self) -> int:
        """How many steps' losses are still on the device."""
        return len(self._waiting)

    def add(self, losses) -> None:
        """Adds the losses of one more step.

        Args:
          losses: {name: scalar on the device}.
        """
        self._waiting.append(losses)

    def read(self, step: int) -> list[Jump]:
        """Reads all unread losses; returns where the loss jumped.

        Args:
          step: the last step done.

        Raises:
          UserError: one is not finite; names the first such step.
        """
        jumps: list[Jump] = []
        numbers = itertools.count(step - len(self._waiting) + 1)
        waiting, self._waiting = self._waiting, []
        # A step of several networks may have losses that others lack, such as those of a warm-up.
        for _, alike in itertools.groupby(waiting, key=sorted):
            found = self._read(list(alike))
            for values, number in zip(zip(*found.values(), strict=True), numbers, strict=False):
                losses = dict(zip(found, map(float, values), strict=True))
                _check_finite(losses, number)
                self.since_record.add(losses)
                self.since_validation.add(losses)
                jumps += self._jumps.add(number, losses.get("loss", 0.0))
        return jumps


def _check_finite(losses, step):
    for name, loss in losses.items():
        if not np.isfinite(loss):
            what = "the loss" if name == "loss" else f"the loss ({name})"
            raise UserError(
                f"{what} is {loss} at step {step}; stopped with the last good checkpoint kept. "
                "Try a lower --set learning_rate=…"
            )


class Means:
    """Mean losses and steps per second since this object was made."""

    def __init__(self):
        self._totals: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._count = 0
        self.restart_clock()

    def add(self, losses: Mapping[str, float]) -> None:
        """Adds one step's losses.

        Args:
          losses: {name: loss of this step}.
        """
        for name, loss in losses.items():
            self._totals[name] = self._totals.get(name, 0.0) + loss
            self._counts[name] = self._counts.get(name, 0) + 1
        self._count += 1

    def values(self) -> dict[str, float]:
        """Returns {name: mean over the steps that have it}; the loss is 0 before the first step."""
        means = {name: total / self._counts[name] for name, total in self._totals.items()}
        return {"loss": 0.0} | means

    def restart_clock(self) -> None:
        """Starts a new measurement of `rate`; the steps so far do not count."""
        self._clock, self._counted = time.perf_counter(), self._count

    def rate(self) -> float:
        """Returns steps per second."""
        return (self._count - self._counted) / (time.perf_counter() - self._clock)
