"""An experiment: what a recipe fixes, how flags override it, and how a run remembers it."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.system.files import atomic_path

FILE_NAME = "experiment.json"
_PACKAGES = ("tensorflow", "keras", "numpy", "scikit-image", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that a paper (or a recipe of ours) fixes about one training.

    Attributes:
      model: a paper's model or one of its variants, e.g. "srn_lstm"; see `papers`.
      recipe: name of the function in `<paper>_tf.recipes` that made this.
      network: constructor arguments of the paper's model class.
      dataset, config: data set trained on, and its configuration.
      loss: name of a function in `restore_tf.networks.losses`.
      steps: optimizer steps in all. Steps count, not epochs.
      batch: images a step, over all devices together.
      crop: side of the square training crops, in pixels.
      augment: names from `restore_tf.datasets.pairs.AUGMENTATIONS`, applied in this order.
      learning_rate, end_learning_rate: first (after warm-up) and last learning rate.
      schedule: "polynomial" or "cosine" decay from the first to the last over `steps`, or
        "constant".
      decay_power: exponent of the polynomial decay.
      schedule_steps: steps that the decay is laid out over, where that is not `steps`.
      warmup_steps: linear rise from 0 over so many steps, counted in `steps`.
      beta_1, beta_2, epsilon: Adam's.
      recurrent_clip_norm: global norm to which the gradient of the model's recurrent weights alone
        is clipped, or None.
      global_clip_norm: global norm to which the gradient of all weights is clipped, or None.
      ema_momentum: of the exponential moving average of the weights that is evaluated and exported
        in place of the last weights, or None.
      plateau_patience: validations without a new best PSNR after which the learning rate is cut, or
        None for never.
      plateau_factor: what it is then multiplied with; never below `end_learning_rate`.
      progressive: (step, crop, batch) from which on other crops and batches hold, see `phases`.
    """

    model: str
    recipe: str
    network: Mapping[str, Any]
    dataset: str
    config: str
    loss: str
    steps: int
    batch: int
    crop: int
    learning_rate: float
    end_learning_rate: float
    augment: Sequence[str] = ()
    schedule: str = "polynomial"
    decay_power: float = 1.0
    schedule_steps: int | None = None
    warmup_steps: int = 0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    recurrent_clip_norm: float | None = None
    global_clip_norm: float | None = None
    ema_momentum: float | None = None
    plateau_patience: int | None = None
    plateau_factor: float = 0.5
    progressive: Sequence[Sequence[int]] = ()


def paper_of(model: str) -> str:
    """Returns the module of a model's paper: "srn_tf.recipes" for "srn" and "srn_lstm".

    Raises:
      UserError: no such paper or variant.
    """
    return papers.find(model).__name__


def load_recipe(model: str, recipe: str) -> Experiment:
    """Calls the function `recipe` of the paper that `model` belongs to.

    Raises:
      UserError: no such paper, variant or recipe; lists those there are.
    """
    module = papers.find(model)
    if recipe not in module.RECIPES:
        raise UserError(f"--recipe {recipe}: {model} has {papers.listed(module.RECIPES, recipe)}.")
    return module.RECIPES[recipe](model)


def recipes_of(model: str) -> Mapping[str, Any]:
    """Returns {name: function} of the recipes of a model's paper, the paper's own one first."""
    return papers.find(model).RECIPES


def build(experiment: Experiment, **arguments):
    """Returns the experiment's network, a `Restorer` with freshly drawn weights.

    Args:
      experiment: what to build.
      arguments: of the model's constructor, in place of the experiment's own.

    Raises:
      UserError: `experiment.network` does not fit the model's constructor.
    """
    changed = dataclasses.replace(experiment, network={**experiment.network, **arguments})
    try:
        model = papers.find(experiment.model).build(changed)
    except (TypeError, ValueError) as error:  # Python's and Keras' words for a wrong argument
        raise UserError(f"network of {experiment.model}: {error}.") from None
    model.build()
    return model


def override(experiment: Experiment, assignments: Sequence[str]) -> Experiment:
    """Applies `field=value` texts, e.g. "batch=8", "network.width=16", "recurrent_clip_norm=None".

    Values are Python literals; what is not one is taken as text.

    Raises:
      UserError: a misspelt field, or a value of another type than the field's.
    """
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: expected field=value, such as batch=8.")
        experiment = _set(experiment, field.strip(), _literal(text.strip()), assignment)
    return experiment


def _set(experiment, field, value, assignment):
    if field.startswith("network."):
        network = dict(experiment.network)
        network[field.removeprefix("network.")] = value
        return dataclasses.replace(experiment, network=network)
    types = {f.name: str(f.type) for f in dataclasses.fields(experiment)}
    fields = [name for name in types if name not in ("model", "recipe", "network")]
    if field not in fields:
        raise UserError(
            f"--set {assignment}: no such field; there are {papers.listed(fields, field)}."
        )
    if types[field] == "float" and isinstance(value, int):
        value = float(value)
    if types[field] == "Sequence[str]" and isinstance(value, str):
        value = tuple(part for part in value.split(",") if part)
    if not _fits(value, types[field]):
        raise UserError(f"--set {assignment}: {field} takes {types[field]}, not {value!r}.")
    return dataclasses.replace(experiment, **{field: value})


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _fits(value, annotation):
    accepted = {
        "str": str,
        "int": int,
        "float": float,
        "float | None": (float, int, type(None)),
        "int | None": (int, type(None)),
        "Sequence[str]": (list, tuple),
        "Sequence[Sequence[int]]": (list, tuple),
    }[annotation]
    return isinstance(value, accepted) and not isinstance(value, bool)


def write(workdir: str | os.PathLike, experiment: Experiment, run: Mapping[str, Any]) -> None:
    """Saves the experiment in a run directory, with what made the run.

    Args:
      workdir: the run directory, created if missing.
      experiment: what the recipe and its overrides fixed.
      run: what the machine and the command decided: dataset, config, data_dir, seed, overrides …
    """
    path = Path(workdir) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": 1,
        "experiment": dataclasses.asdict(experiment),
        "run": dict(run),
        "environment": environment(),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(workdir: str | os.PathLike) -> tuple[Experiment, dict[str, Any]]:
    """Returns the experiment of a run directory and what `write` was given as `run`.

    Raises:
      UserError: not a run directory, or its experiment.json is damaged or of another version.
    """
    path = Path(workdir) / FILE_NAME
    if not path.is_file():
        raise UserError(
            f"{workdir}: not a run directory (it has no {FILE_NAME}); train.py makes one."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Experiment(**content["experiment"]), content["run"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: damaged or written by another version ({type(error).__name__}: {error})."
        ) from None


def environment() -> dict[str, Any]:
    """Versions, commit and processor, to be kept beside results."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions,
        "commit": _commit(),
    }


def _commit():
    """The checkout's commit, with "+" behind it for uncommitted changes; None outside of one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")
