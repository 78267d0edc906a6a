"""Learning rates over the steps of a training."""

from __future__ import annotations

import keras
from keras import ops

from restore_tf.errors import UserError


def learning_rate(experiment):
    """Returns the Keras schedule of an experiment: linear warm-up, then decay to its last step.

    "polynomial": end + (first - end) * (1 - t)^decay_power; "cosine": half a cosine from first to
    end; t runs from 0 after the warm-up and `constant_steps` to 1 at `schedule_steps`, or `steps`
    where that is None. "constant": first, for use with a plateau.

    Args:
      experiment: the `Experiment`.

    Raises:
      UserError: an unknown schedule name.
    """
    first, last = experiment.learning_rate, experiment.end_learning_rate
    warmup, steps = experiment.warmup_steps, experiment.schedule_steps or experiment.steps
    if experiment.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else first,
            decay_steps=steps - warmup,
            alpha=last / first,
            warmup_target=first if warmup else None,
            warmup_steps=warmup,
        )
    if experiment.schedule not in ("polynomial", "constant"):
        raise UserError(f"schedule {experiment.schedule}: expected polynomial, cosine or constant.")
    if experiment.schedule == "constant":
        last = first
    held = warmup + experiment.constant_steps
    decay = keras.optimizers.schedules.PolynomialDecay(
        first, max(steps - held, 1), end_learning_rate=last, power=experiment.decay_power
    )
    return Delayed(decay, held, warmup) if held else decay


class Delayed(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins late; before that its first rate holds, after a linear rise to it.

    Args:
      schedule: the Keras schedule.
      steps: it begins after so many.
      warmup: steps of the rise, of those.
    """

    def __init__(self, schedule, steps: int, warmup: int = 0):
        self.schedule, self.steps, self.warmup = schedule, steps, warmup

    def __call__(self, step):
        """Returns the learning rate of the update that follows `step` updates."""
        rate = self.schedule(ops.maximum(step - self.steps, 0))
        if not self.warmup:
            return rate
        return rate * ops.minimum(ops.cast(step, "float32") / self.warmup, 1.0)

    def get_config(self):
        """The constructor's arguments."""
        return {"schedule": self.schedule, "steps": self.steps, "warmup": self.warmup}


class Scaled(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule times a factor that falls when validation no longer improves.

    Args:
      schedule: the Keras schedule.
      lowest: the factor takes no rate below this one.

    Attributes:
      factor: a variable, 1 at first; see `optimizers.ScheduledAdam`, which sets it.
    """

    def __init__(self, schedule, lowest: float):
        self.schedule = schedule
        self.lowest = lowest
        self.factor = None

    def __call__(self, step):
        """Returns the learning rate of the update that follows `step` updates."""
        rate = self.schedule(step)
        return ops.maximum(rate * self.factor, ops.minimum(rate, self.lowest))

    def get_config(self):
        """The schedule's own: the factor is part of a training's state."""
        return self.schedule.get_config()
