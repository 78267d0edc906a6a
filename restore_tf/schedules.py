"""Learning rates over the steps of a training."""

from __future__ import annotations

import keras

from restore_tf.errors import UserError


def learning_rate(experiment):
    """Returns the Keras schedule of an experiment: linear warm-up, then decay to its last step.

    "polynomial": end + (first - end) * (1 - t)^decay_power; "cosine": half a cosine from first to
    end; t runs from 0 after the warm-up to 1 at `steps`.

    Raises:
      UserError: an unknown schedule name.
    """
    first, last = experiment.learning_rate, experiment.end_learning_rate
    warmup = experiment.warmup_steps
    if experiment.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else first,
            decay_steps=experiment.steps - warmup,
            alpha=last / first,
            warmup_target=first if warmup else None,
            warmup_steps=warmup,
        )
    if experiment.schedule != "polynomial":
        raise UserError(f"schedule {experiment.schedule}: expected polynomial or cosine.")
    if warmup:
        raise UserError("schedule polynomial: has no warm-up; set warmup_steps=0.")
    return keras.optimizers.schedules.PolynomialDecay(
        first, experiment.steps, end_learning_rate=last, power=experiment.decay_power
    )
