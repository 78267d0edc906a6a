"""Plans and checks a training of `train.py` before anything is written."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from restore_tf.commands import training_after, training_length, training_precision
from restore_tf.commands.flags import data as data_flags
from restore_tf.commands.training_start import (
    initial_run,
    predictor_run,
    provenance,
    with_network_of,
    with_predictor,
)
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import run_directory
from restore_tf.system.log import logger

# Fields in which a resumed run must agree with the command that started it, besides the recipe.
_RUN_FIELDS = (*data_flags.FOLDERS, "seed", "precision", "init_from", "init_predictor")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked training; nothing is written yet.

    Attributes:
      experiment: to train.
      run: the command's other decisions.
      workdir: the run directory.
      steps: recorded in the run directory; None where it has no run.
      step: of its newest checkpoint, 0 without one.
      sources: the training and the validation pairs; empty if there is nothing to do.
    """

    experiment: experiments.Experiment
    run: experiments.Run
    workdir: Path
    steps: int | None
    step: int
    sources: tuple = ()

    @property
    def nothing_to_do(self) -> bool:
        """Whether the newest checkpoint is at the last step, or beyond it."""
        return self.step >= self.experiment.steps


def make_plan(values, parts: int = 1, alone: bool = True) -> Plan:
    """Checks a training, and reads its run directory.

    Args:
      values: the command's flags.
      parts: the number of parts that every batch is cut into: replicas times micro-batches.
      alone: whether there are no other workers.

    Raises:
      UserError: anything that would keep the training from its first step.
    """
    from restore_tf.training import checks

    if values.chain and not alone:
        raise UserError("--chain: runs in one process; train without other workers.")
    experiment, run = experiment_of(values)
    workdir = Path(values.workdir or _default_workdir(experiment))
    tensorflow = not other_backend()
    run_directory.check_for_training(workdir, tensorflow)
    run = training_precision.recorded(workdir, run)
    old = _check_resume(workdir, experiment, run, values.resume)
    if values.init_from:
        known = old and old[1].init_from_weights
        run = dataclasses.replace(run, init_from_weights=known or provenance(initial_run(values)))
    steps = old and old[0].steps
    step = run_directory.checkpoint_step(workdir, tensorflow) or 0
    made = Plan(experiment, run, workdir, steps, step)
    if made.nothing_to_do and alone:
        return made
    sources = _sources(experiment, run, values, workdir)
    checks.check(experiment, sources[0], parts)
    checks.check_best_metric(experiment, sources[1])
    return dataclasses.replace(made, sources=sources)


@contextlib.contextmanager
def recorded(plan: Plan, chief: bool = True, alone: bool = True):
    """Keeps experiment.json up to date; yields the callbacks that write it when training begins.

    A new run is recorded at once, so that it can always be resumed. If it is refused before
    anything else is written, the record is removed. An existing run is recorded again only if its
    steps change, just before the first step.

    Args:
      plan: of the training.
      chief: whether this process writes.
      alone: whether there are no other workers. Several must all have the same callbacks.
    """
    changed = plan.steps not in (None, plan.experiment.steps)
    callbacks = (_record_at_start(plan, chief and changed),) if changed or not alone else ()
    if not chief:
        yield callbacks
        return
    made = [path for path in (plan.workdir, *plan.workdir.parents) if not path.exists()]
    if plan.steps is None:
        experiments.write(plan.workdir, plan.experiment, plan.run)
    try:
        yield callbacks
    except UserError:
        if plan.steps is None and run_directory.abandon(plan.workdir):
            with contextlib.suppress(OSError):
                for path in made:
                    path.rmdir()
        raise


def _record_at_start(plan, writes):
    import keras

    due = [writes]  # once: `fit` is called for every stretch of steps

    def write(logs=None):
        if due and due.pop():
            logger.info(
                "%s: was started for %d steps; the learning rate now runs over %d.",
                plan.workdir,
                plan.steps,
                plan.experiment.steps,
            )
            experiments.write(plan.workdir, plan.experiment, plan.run)

    return keras.callbacks.LambdaCallback(on_train_begin=write)


def experiment_of(values):
    """Returns the recipe with every override, and the command's other decisions.

    Args:
      values: the command's flags.

    Returns:
      The `Experiment` and the `Run`.

    Raises:
      UserError: no such model, recipe, run or data set, or an override that is wrong.
    """
    experiment = experiments.load_recipe(values.model, recipe_name(values))
    recipe_steps = experiment.steps
    if values.init_from:
        experiment = with_network_of(experiment, initial_run(values))
    if values.init_predictor:
        experiment = with_predictor(experiment, predictor_run(values))
    links_data, after = _of_links(values, experiment)
    if links_data:
        names = {name: links_data[name] for name in ("dataset", "config")}
        experiment = dataclasses.replace(experiment, **names)
    experiment = experiments.override(experiment, values.set)
    dataset, config = data_flags.dataset_of(values, experiment)
    experiment = dataclasses.replace(experiment, dataset=dataset, config=config)
    experiment = training_length.with_steps(experiment, values.steps, recipe_steps, values.set)
    paths = {
        name: getattr(values, name) for name in (*data_flags.FOLDERS, "init_from", "init_predictor")
    }
    if links_data and not any(paths[name] for name in data_flags.FOLDERS):
        paths |= {name: links_data[name] for name in data_flags.FOLDERS}
    run = experiments.Run(
        # What is no path is the name of published weights, or a mixture's folders.
        **{
            name: str(Path(path).absolute()) if path and Path(path).exists() else path
            for name, path in paths.items()
        }
        | data_flags.mixtures_folders(values, dataset),
        seed=values.seed,
        precision=values.precision,
        overrides=tuple(values.set),
        after=after,
    )
    return experiment, run


def _of_links(values, experiment):
    """(data of a training's links, record of the links that it follows or None).

    The data are empty if the flags name another set.
    """
    data, after = {}, None
    if values.chain:
        data, after = training_after.of(values.chain)
    elif values.init_from and "links" in experiment.network:
        data = training_after.data_of(*experiments.read(initial_run(values)))
    return data if values.dataset is None else {}, after


def recipe_name(values) -> str:
    """Returns the recipe that the flags name, else the default one for the data set.

    Args:
      values: the command's flags.
    """
    if values.recipe is not None:
        return values.recipe
    recipes = experiments.recipes_of(values.model)
    alone = (values.dataset or "").partition(":")[0]  # of "gopro:blur", which names its config
    if alone in recipes and "," not in values.dataset:
        return alone
    quick = values.dataset is None and "quick" in recipes
    return "quick" if quick else next(iter(recipes))


def _default_workdir(experiment):
    recipe = experiments.load_recipe(experiment.model, experiment.recipe)
    other = "_mixture" if "," in experiment.dataset else f"_{experiment.dataset}"
    other = other if experiment.dataset != recipe.dataset else ""
    return f"runs/{experiment.model}_{experiment.recipe}{other}"


def _check_resume(workdir, experiment, run, resume):
    """Refuses to resume a run with anything but its own experiment.

    Returns the recorded (experiment, run); None where there is none.
    """
    if not (workdir / experiments.FILE_NAME).exists():
        return None
    if not resume:
        raise UserError(
            f"{workdir}: has a run already; pass another --workdir, or drop --noresume."
        )
    old, old_run = experiments.read(workdir)
    fields = [field.name for field in dataclasses.fields(old) if field.name != "steps"]
    for name in [*fields, *_RUN_FIELDS]:
        holder = (old, experiment) if name in fields else (old_run, run)
        before, now = (getattr(one, name) for one in holder)
        if _plain(before) != _plain(now):
            raise UserError(
                f"{workdir}: was started with {name}={before}, not {now}; "
                "repeat its flags to resume it, or pass another --workdir."
            )
    training_after.check_same(workdir, old_run.after, run.after)
    return old, old_run


def _plain(value):
    """A value as a record keeps it: JSON has no tuples."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _sources(experiment, run, values, workdir):
    """The training and the validation pairs."""
    from restore_tf.datasets import mixture

    network = experiments.construct(experiment)
    scale = network.output_scale
    if run.after:
        scale *= training_after.scale(run.after, network)
    where = {name: getattr(run, name) for name in (*data_flags.FOLDERS, "seed")}
    found = {
        split: mixture.open_pairs(
            experiment.dataset, experiment.config, split, **where, output_scale=scale
        )
        for split in ("train", "validation")
    }
    if run.after:
        return training_after.sources_of(found, experiment, run, workdir)
    return tuple(found.values())


def prepared(plan: Plan, values) -> tuple:
    """Returns the training and the validation pairs, after computing what they need.

    Args:
      plan: of the training.
      values: the command's flags.
    """
    if not plan.sources:
        return plan.sources
    from restore_tf.datasets import sources

    training, validation = plan.sources if plan.run.after is None else training_after.prepare(plan)
    return sources.cached(training) if values.cache else training, validation


def other_backend() -> bool:
    """Whether Keras runs on another backend than TensorFlow."""
    return os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow"
