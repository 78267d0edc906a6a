"""Checks before the first step, on every Keras backend; nothing is written before they pass.

Errors suggest values that work, computed from the network, the pictures and the devices.
"""

from __future__ import annotations

from restore_tf.errors import UserError
from restore_tf.evaluation import score
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers
from restore_tf.networks import losses
from restore_tf.training.phases import phases


def check(experiment, source, parts: int = 1) -> None:
    """Checks an experiment against its network, its training pairs and the devices.

    Args:
      experiment: the `Experiment`; the ranges of its fields hold already.
      source: the training pairs.
      parts: every batch is cut into so many: devices times micro-batches.

    Raises:
      UserError: arguments that the network refuses, an unknown loss, a schedule that does not fit
        the steps, crops that the network or the pictures do not take, batches that do not divide.
    """
    network = experiments.construct(experiment)
    if not hasattr(papers.find(experiment.model), "make_step"):
        losses.get(experiment.loss)
    check_schedule(experiment)
    if not len(source):
        raise UserError("no training pairs.")
    name, smallest = smallest_picture(source)
    for phase in phases(experiment):
        _check_batch(phase.batch, parts, _advice(experiment, "batch"))
        _check_crop(phase.crop, network, name, smallest, _advice(experiment, "crop"))


def check_best_metric(experiment, validation) -> None:
    """Checks that validation can measure the experiment's `best_metric`.

    Args:
      experiment: the `Experiment`.
      validation: the validation pairs.

    Raises:
      UserError: it cannot.
    """
    metric = experiment.best_metric
    for why in score.missing([metric]).values():
        raise UserError(f"best_metric {metric}: {why}.")
    sizes = getattr(validation, "sizes", None) or ()
    for name, size in zip(validation.names, sizes, strict=False):
        if reason := score.too_small(metric, size):
            raise UserError(
                f"best_metric {metric}: {name} is {reason}; leave it out or choose another metric."
            )


def check_schedule(experiment) -> None:
    """Checks that warm-up and constant steps fit the decay.

    Args:
      experiment: the `Experiment`.

    Raises:
      UserError: they do not.
    """
    if experiment.constant_steps and experiment.schedule != "polynomial":
        raise UserError(
            f"schedule {experiment.schedule}: has no constant steps before it; pass "
            "--set constant_steps=0, or --set schedule=polynomial."
        )
    if not experiment.warmup_steps:
        return
    steps = experiment.schedule_steps or experiment.steps
    if experiment.warmup_steps >= steps:
        raise UserError(
            f"warmup_steps {experiment.warmup_steps}: not fewer than the {steps} steps that the "
            "learning rate runs over; pass --set warmup_steps=0, or more steps."
        )


def smallest_picture(source) -> tuple[str | None, int | None]:
    """Finds the smallest pair.

    Args:
      source: the pairs.

    Returns:
      Its name and shorter side in pixels; (None, None) where sizes are not known.
    """
    if not getattr(source, "sizes", None):
        return None, None
    side, name = min(
        (min(size), name) for name, size in zip(source.names, source.sizes, strict=True)
    )
    return name, side


def _check_batch(batch, parts, field):
    if batch % parts:
        raise UserError(
            f"batch {batch}: does not divide by {parts}, devices times micro-batches; pass "
            f"--set {field.format(-(-batch // parts) * parts)}."
        )


def _check_crop(crop, network, name, smallest, field):
    multiple = network.size_multiple
    if smallest is not None and smallest < multiple:
        raise UserError(
            f"{name}: pictures of {smallest} pixels are too small; {multiple} is the least that "
            f"{network.name} takes. Leave it out."
        )
    largest = crop if smallest is None else smallest
    works = max(multiple, min(crop, largest) // multiple * multiple)
    if crop % multiple:
        raise UserError(
            f"crop {crop}: {network.name} takes multiples of {multiple}; pass "
            f"--set {field.format(works)}."
        )
    if crop > largest:
        raise UserError(
            f"{name}: its shorter side of {smallest} pixels is smaller than the training crop of "
            f"{crop}; leave it out or pass --set {field.format(works)}."
        )


def _advice(experiment, field):
    """The assignment that changes a crop or a batch; a template for the number."""
    return "progressive=… with {}" if experiment.progressive else f"{field}={{}}"
