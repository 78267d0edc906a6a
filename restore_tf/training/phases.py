"""Stretches of a training with one crop and one batch size: progressive patches.

Modern recipes begin with small crops in large batches and end with large crops in small ones.
"""

from __future__ import annotations

import dataclasses

from restore_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Phase:
    """Steps with the same crops.

    Attributes:
      start: the phase begins with step `start` + 1.
      end: its last step.
      crop: side of the square crops, in pixels.
      batch: images a step, over all devices together.
      first_sample: number of the phase's first sample, counted through the whole training.
    """

    start: int
    end: int
    crop: int
    batch: int
    first_sample: int

    def sample(self, step: int) -> int:
        """Returns the number of the first sample of the step that follows `step` steps.

        Args:
          step: steps done, from `start` to `end`.
        """
        return self.first_sample + (step - self.start) * self.batch


def phases(experiment) -> list[Phase]:
    """Returns an experiment's phases in order: one, or more where it has `progressive` patches.

    `progressive` lists (step, crop, batch): from that step on. Before the first of them, and where
    there are none, the experiment's own `crop` and `batch` hold.

    Args:
      experiment: the `Experiment`.

    Raises:
      UserError: entries that are not three whole numbers above 0, or not in the order of steps.
    """
    first = [(0, experiment.crop, experiment.batch)]
    changes = [tuple(entry) for entry in map(_checked, experiment.progressive)]
    if changes and changes[0][0] == 0:
        first = []
    changes = first + changes
    starts = [start for start, _, _ in changes]
    if starts != sorted(set(starts)):
        raise UserError(f"progressive: its steps {starts} do not rise.")
    found, sample = [], 0
    ends = [*starts[1:], experiment.steps]
    for (start, crop, batch), end in zip(changes, ends, strict=True):
        end = min(end, experiment.steps)
        if start >= end:
            break
        found.append(Phase(start, end, crop, batch, sample))
        sample += (end - start) * batch
    return found


def _checked(entry):
    whole = isinstance(entry, (list, tuple)) and all(type(number) is int for number in entry)
    if not whole or len(entry) != 3 or entry[0] < 0 or min(entry[1:]) < 1:
        raise UserError(
            f"progressive: {entry!r} is not (step, crop, batch), three whole numbers, such as "
            "--set 'progressive=[(0, 128, 8), (92000, 192, 4)]'."
        )
    return entry
