"""A training's steps, and the recipe's warm-up, which is shortened with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from restore_tf.experiments.experiment import Experiment
from restore_tf.system.log import logger


def with_steps(
    experiment: Experiment, steps: int | None, recipe_steps: int, overrides: Sequence[str]
) -> Experiment:
    """Returns the experiment with `steps` in all, and with a shorter warm-up if it would not fit.

    The recipe's warm-up then takes the same share of the steps as before. A warm-up set by the user
    is kept; if it does not fit, a later check refuses it.

    Args:
      experiment: with `overrides`.
      steps: optimizer steps in all; None for the experiment's.
      recipe_steps: the recipe's steps.
      overrides: the user's "field=value" texts.
    """
    named = {text.partition("=")[0].strip() for text in overrides}
    experiment = dataclasses.replace(experiment, steps=steps or experiment.steps)
    warmup, over = experiment.warmup_steps, experiment.schedule_steps or experiment.steps
    if "warmup_steps" in named or warmup < over or experiment.steps >= recipe_steps:
        return experiment
    shorter = warmup * experiment.steps // recipe_steps
    logger.info(
        "warmup_steps: the recipe's %d of %d become %d of %d.",
        warmup, recipe_steps, shorter, experiment.steps,
    )  # fmt: skip
    return dataclasses.replace(experiment, warmup_steps=shorter)
