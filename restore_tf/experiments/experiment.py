"""An experiment: what a recipe fixes, and what values it may take.

`override` and `network_options` are those of `overrides`; `read` and `write` are those of
`run_directory`, with an `Experiment`.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError
from restore_tf.experiments import papers, ranges, run_directory
from restore_tf.experiments.overrides import network_options, override
from restore_tf.experiments.ranges import real, whole
from restore_tf.experiments.run_directory import FILE_NAME, Run, environment

__all__ = [
    "FILE_NAME",
    "Experiment",
    "Run",
    "build",
    "construct",
    "environment",
    "load_recipe",
    "network_options",
    "override",
    "paper_of",
    "read",
    "recipes_of",
    "write",
]

# Values of `Experiment.best_metric`.
BEST_METRICS = "psnr ssim ssim_matlab mse gmsd lpips lpips_vgg loss last".split()

_MOST_STEPS = 10**12  # counted in 64 bits together with the batch
_LARGEST_BATCH, _LARGEST_CROP = 2**20, 2**16
_LARGEST_OPTION = 2**16  # of a network: widths, blocks, crops


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that a recipe fixes about one training.

    Raises:
      UserError: a value out of its field's range.

    Attributes:
      model: a paper's model or one of its variants, e.g. "srn_lstm"; see `papers`.
      recipe: name of the function in `<paper>_tf.recipes` that made this.
      network: constructor arguments of the paper's model class.
      dataset: data set trained on.
      config: its configuration.
      loss: a loss of `restore_tf.networks.losses` or a weighted sum of some, such as
        "charbonnier + 0.05*edge".
      steps: optimizer steps in all. Steps count, not epochs.
      batch: images a step, over all devices together.
      crop: side of the square training crops, in pixels.
      augment: names from `restore_tf.datasets.pairs.AUGMENTATIONS`, applied in this order.
      optimizer: "adam", or "muon", which takes Adam for all but the convolutions' kernels.
      learning_rate: the first one, after warm-up.
      end_learning_rate: the last one.
      schedule: "polynomial" or "cosine" decay from the first to the last over `steps`, or
        "constant".
      decay_power: exponent of the polynomial decay.
      schedule_steps: steps that the decay is laid out over, where that is not `steps`.
      warmup_steps: linear rise from 0 over so many steps, counted in `steps`.
      constant_steps: steps at the first learning rate after the warm-up and before a polynomial
        decay, counted in `steps`.
      beta_1: Adam's.
      beta_2: Adam's.
      epsilon: Adam's.
      recurrent_clip_norm: global norm to which the gradient of the model's recurrent weights alone
        is clipped, or None.
      global_clip_norm: global norm to which the gradient of all weights is clipped, or None.
      ema_momentum: of the exponential moving average of the weights that is evaluated and exported
        in place of the last weights, or None.
      best_metric: what validation chooses the best weights by, early stopping waits for and the
        plateau looks at: "psnr", another metric of evaluation ("ssim", "gmsd", "lpips", …), "loss"
        for this loss on the validation pictures, or "last" for the weights validated last.
      plateau_patience: validations without a new best score after which the learning rate is cut,
        or None for never.
      plateau_factor: what it is then multiplied with; never below `end_learning_rate`.
      progressive: (step, crop, batch) from which on other crops and batches hold, see `phases`.
      training: what the paper's own training takes besides, such as a discriminator's width; the
        recipe lists all there is.
    """

    model: str = ranges.text()
    recipe: str = ranges.text()
    network: Mapping[str, Any] = ranges.arguments()
    dataset: str = ranges.text()
    config: str = ranges.text()
    loss: str = ranges.text()
    steps: int = whole(1, _MOST_STEPS)
    batch: int = whole(1, _LARGEST_BATCH)
    crop: int = whole(1, _LARGEST_CROP)
    learning_rate: float = real(above=0)
    end_learning_rate: float = real(least=0)
    augment: Sequence[str] = ranges.texts()
    optimizer: str = ranges.text("adam", "muon", default="adam")
    schedule: str = ranges.text("polynomial", "cosine", "constant", default="polynomial")
    decay_power: float = real(above=0, default=1.0)
    schedule_steps: int | None = whole(1, _MOST_STEPS, default=None, optional=True)
    warmup_steps: int = whole(0, _MOST_STEPS, default=0)
    constant_steps: int = whole(0, _MOST_STEPS, default=0)
    beta_1: float = real(least=0, below=1, default=0.9)
    beta_2: float = real(least=0, below=1, default=0.999)
    epsilon: float = real(above=0, default=1e-8)
    recurrent_clip_norm: float | None = real(above=0, default=None, optional=True)
    global_clip_norm: float | None = real(above=0, default=None, optional=True)
    ema_momentum: float | None = real(least=0, below=1, default=None, optional=True)
    best_metric: str = ranges.text(*BEST_METRICS, default="psnr")
    plateau_patience: int | None = whole(1, _MOST_STEPS, default=None, optional=True)
    plateau_factor: float = real(above=0, below=1, default=0.5)
    progressive: Sequence[Sequence[int]] = ranges.stretches(
        (0, _MOST_STEPS), (1, _LARGEST_CROP), (1, _LARGEST_BATCH)
    )
    training: Mapping[str, Any] = ranges.arguments(optional=True)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            problem = field.metadata["range"].problem(value)
            if problem is not None:
                raise UserError(f"{field.name} {problem}, not {value!r}")


def paper_of(model: str) -> str:
    """Returns the name of a model's recipes module: "srn_tf.recipes" for "srn" and "srn_lstm".

    Args:
      model: a paper's name or one of its variants.

    Raises:
      UserError: no such paper or variant.
    """
    return papers.find(model).__name__


def load_recipe(model: str, recipe: str) -> Experiment:
    """Returns the experiment that a recipe of a model's paper describes.

    Args:
      model: a paper's name or one of its variants, such as "srn_lstm".
      recipe: a name of the paper's `RECIPES`, such as "gopro".

    Raises:
      UserError: no such paper, variant or recipe; lists those there are.
    """
    module = papers.find(model)
    if recipe not in module.RECIPES:
        raise UserError(f"--recipe {recipe}: {model} has {papers.listed(module.RECIPES, recipe)}.")
    return module.RECIPES[recipe](model)


def recipes_of(model: str) -> Mapping[str, Any]:
    """Returns {name: function} of the recipes of a model's paper, the paper's own one first.

    Args:
      model: a paper's name or one of its variants.

    Raises:
      UserError: no such paper or variant.
    """
    return papers.find(model).RECIPES


def construct(experiment: Experiment, **arguments):
    """Returns the experiment's network without weights: quick, and enough for its sizes.

    Args:
      experiment: what to build.
      arguments: of the model's constructor, in place of the experiment's own.

    Raises:
      UserError: `experiment.network` does not fit the model's constructor.
    """
    changed = dataclasses.replace(experiment, network={**experiment.network, **arguments})
    try:
        _check_numbers(changed.network)
        model = papers.find(experiment.model).build(changed)
        _check_no_truths(model, changed.network)
    except Exception as error:
        raise _refused(changed, error) from error
    return model


def build(experiment: Experiment, **arguments):
    """Returns the experiment's network, a `Restorer` with freshly drawn weights.

    Args:
      experiment: what to build.
      arguments: of the model's constructor, in place of the experiment's own.

    Raises:
      UserError: `experiment.network` does not fit the model's constructor.
    """
    model = construct(experiment, **arguments)
    try:
        model.build()
    except Exception as error:
        changed = dataclasses.replace(experiment, network={**experiment.network, **arguments})
        raise _refused(changed, error) from error
    return model


def _check_numbers(network):
    """Refuses negative and huge numbers, which constructors often miss: loops would never end."""
    for name, value in network.items():
        if isinstance(value, int) and not 0 <= value <= _LARGEST_OPTION:
            raise ValueError(f"{name} takes a whole number from 0 to {_LARGEST_OPTION}")


def _check_no_truths(model, network):
    """Refuses booleans for whole numbers: Python takes True for 1."""
    parameters = inspect.signature(type(model).__init__).parameters
    for name, value in network.items():
        if isinstance(value, bool) and type(getattr(parameters.get(name), "default", None)) is int:
            raise ValueError(f"{name} takes a whole number")


def _refused(experiment, error):
    """Constructors, Keras and TensorFlow have errors of many kinds for an argument they refuse."""
    if isinstance(error, UserError):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0].rstrip(".") if lines else type(error).__name__
    unknown = re.search(r"Unrecognized keyword arguments passed to \w+: {(.*)}", said)  # Keras
    if unknown:
        said = "has no option " + ", ".join(re.findall(r"'(\w+)':", unknown[1]))
    given = ", ".join(f"{name}={value!r}" for name, value in experiment.network.items())
    return UserError(f"network of {experiment.model}: {said} (given: {given}).")


def write(workdir: str | os.PathLike, experiment: Experiment, run: Run | Mapping[str, Any]) -> None:
    """Saves the experiment in a run directory, with what made the run.

    Args:
      workdir: the run directory, made if missing.
      experiment: what the recipe and its overrides fixed.
      run: what the machine and the command decided, a `Run` or its fields.

    Raises:
      UserError: it cannot be written.
    """
    run = run if isinstance(run, Run) else Run.from_json(run)
    run_directory.write(workdir, dataclasses.asdict(experiment), run)


def read(workdir: str | os.PathLike) -> tuple[Experiment, Run]:
    """Returns what `write` saved; paths of a chain's links are absolute.

    Args:
      workdir: the run directory.

    Returns:
      The `Experiment` and the `Run`.

    Raises:
      UserError: not a run directory, or its experiment.json is damaged, of another version or of a
        paper that is not installed.
    """
    experiment, run = run_directory.read(workdir, Experiment)
    try:
        papers.find(experiment.model)
    except UserError as error:
        raise UserError(
            f"{os.path.join(workdir, FILE_NAME)}: is of a model that is not installed ({error})"
        ) from None
    links = experiment.network.get("links")
    if links:
        network = {**experiment.network, "links": [_located(link, workdir) for link in links]}
        experiment = dataclasses.replace(experiment, network=network)
    if run.links:
        located = {_located(link, workdir): digest for link, digest in run.links.items()}
        run = dataclasses.replace(run, links=located)
    return experiment, run


def _located(link, workdir):
    """A link's path, absolute; what is no path, a name or a step, as it is."""
    if not isinstance(link, str):
        return link
    place = os.path.abspath(os.path.join(workdir, link))
    return place if os.path.exists(place) or len(Path(link).parts) > 1 else link
