"""Learning rates over the steps of a training."""

from __future__ import annotations

import keras

from restore_tf.errors import UserError


def learning_rate(experiment):
    """Returns the Keras schedule of an experiment: linear warm-up, then decay to its last step.

    "polynomial": end + (first - end) * (1 - t)^decay_power; "cosine": half a cosine from first to
    end; t runs from 0 after the warm-up to 1 at `schedule_steps`, or `steps` where that is None.

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
    if experiment.schedule != "polynomial":
        raise UserError(f"schedule {experiment.schedule}: expected polynomial or cosine.")
    if warmup:
        raise UserError("schedule polynomial: has no warm-up; set warmup_steps=0.")
    return keras.optimizers.schedules.PolynomialDecay(
        first, steps, end_learning_rate=last, power=experiment.decay_power
    )
