"""`train.py`: trains a model into a run directory."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf import experiment as experiments
from restore_tf.commands import cli, data_flags
from restore_tf.errors import UserError

USAGE = """Trains a model. As typed, on data that it makes itself:
  python train.py --model srn
On GoPro, by the paper's recipe:
  python train.py --model srn --dataset gopro --data_dir DIR/GOPRO_Large"""

# What a resumed run must agree on with the command that started it.
_DATA_FIELDS = ("dataset", "config", "data_dir", "degraded_dir", "sharp_dir", "seed")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(_train, _flags(), sys.argv if argv is None else argv, USAGE)


def _flags():
    values = flags.FlagValues()
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("model", "srn", "the model: srn, srn_lstm, srn_gray, srn_color or mprnet")
    string("recipe", None, "the recipe: quick without --dataset, else the paper's")
    flags.DEFINE_multi_string("set", [], "override: field=value of the recipe", flag_values=values)
    string("workdir", None, "the run directory; runs/MODEL_RECIPE by default")
    data_flags.define(values, "the recipe's")
    defaults = {
        "steps": (None, "optimizer steps in all; the recipe's by default"),
        "seed": (0, "of weights, data order and augmentation"),
        "checkpoint_every": (500, "steps between checkpoints to resume from"),
        "validate_every": (500, "steps between validations"),
        "log_every": (50, "steps between rows of metrics.csv"),
        "validation_pictures": (8, "at most so many pictures a validation"),
        "virtual_devices": (1, "split the CPU into so many devices, to try strategies"),
    }
    for name, (value, text) in defaults.items():
        lower = 0 if name == "seed" else 1
        flags.DEFINE_integer(name, value, text, lower_bound=lower, flag_values=values)
    string("strategy", "auto", "one, mirrored, or auto: mirrored with several GPUs")
    for name, value, text in [
        ("resume", True, "continue where the run directory has a checkpoint"),
        ("cache", False, "keep all decoded pictures in RAM"),
        ("deterministic", False, "make a CPU run bit-reproducible"),
    ]:
        flags.DEFINE_boolean(name, value, text, flag_values=values)
    return values


def _train(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; train.py takes flags only.")
    cli.import_tensorflow()
    experiment, run = _experiment(values)
    workdir = Path(values.workdir or _default_workdir(experiment))
    _check_resume(workdir, experiment, run, values.resume)
    training, validation = (_source(experiment, run, values, s) for s in ("train", "validation"))

    import tensorflow as tf

    if values.virtual_devices > 1:
        devices = [tf.config.LogicalDeviceConfiguration()] * values.virtual_devices
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], devices
        )
    if values.deterministic:
        tf.config.experimental.enable_op_determinism()
    from restore_tf import training as loop

    fields = [field.name for field in dataclasses.fields(loop.Options)]
    options = loop.Options(**{name: getattr(values, name) for name in fields})
    experiments.write(workdir, experiment, run)
    _announce(experiment, workdir, training, validation)
    result = loop.train(experiment, workdir, training, validation, options)
    _summarise(result, experiment, workdir)


def _experiment(values):
    """The recipe with every override, and what the command decided beside it."""
    recipes = experiments.recipes_of(values.model)
    recipe = values.recipe
    if recipe is None:
        recipe = "quick" if values.dataset is None else next(iter(recipes))
        recipe = values.dataset if values.dataset in recipes else recipe
    experiment = experiments.override(experiments.load_recipe(values.model, recipe), values.set)
    dataset = values.dataset or experiment.dataset
    config = values.config or (experiment.config if dataset == experiment.dataset else None)
    from restore_tf.datasets.sources import default_config

    config = config or default_config(dataset)
    experiment = dataclasses.replace(
        experiment, dataset=dataset, config=config, steps=values.steps or experiment.steps
    )
    run = {name: getattr(values, name) for name in ("data_dir", "degraded_dir", "sharp_dir")}
    run = {name: path and str(Path(path).absolute()) for name, path in run.items()}
    return experiment, {**run, "seed": values.seed, "overrides": list(values.set)}


def _default_workdir(experiment):
    recipe = experiments.load_recipe(experiment.model, experiment.recipe)
    other = f"_{experiment.dataset}" if experiment.dataset != recipe.dataset else ""
    return f"runs/{experiment.model}_{experiment.recipe}{other}"


def _check_resume(workdir, experiment, run, resume):
    """Refuses to continue a run with anything but its own experiment."""
    if not (workdir / experiments.FILE_NAME).exists():
        return
    if not resume:
        raise UserError(
            f"{workdir}: has a run already; pass another --workdir, or drop --noresume."
        )
    old, old_run = experiments.read(workdir)
    before = {**dataclasses.asdict(old), **old_run}
    now = {**dataclasses.asdict(experiment), **run}
    for name in [field.name for field in dataclasses.fields(old)] + list(_DATA_FIELDS):
        if name != "steps" and _plain(before.get(name)) != _plain(now[name]):
            raise UserError(
                f"{workdir}: was started with {name}={before.get(name)}, not {now[name]}; "
                "repeat its flags to resume it, or pass another --workdir."
            )
    if old.steps != experiment.steps:
        print(
            f"{workdir}: was started for {old.steps} steps; the learning rate now runs over "
            f"{experiment.steps}."
        )


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def _source(experiment, run, values, split):
    from restore_tf.datasets import sources

    source = sources.open_source(
        experiment.dataset,
        experiment.config,
        split,
        data_dir=run["data_dir"],
        degraded_dir=run["degraded_dir"],
        sharp_dir=run["sharp_dir"],
        seed=run["seed"],
    )
    return sources.cached(source) if values.cache and split == "train" else source


def _announce(experiment, workdir, training, validation):
    print(
        f"Training {experiment.model} by recipe {experiment.recipe} on {experiment.dataset}/"
        f"{experiment.config}: {len(training)} pairs, {len(validation)} held out, "
        f"{experiment.steps} steps of {experiment.batch} crops of {experiment.crop} pixels."
    )
    if experiment.dataset == "synthetic":
        print("The pairs are generated here; nothing is downloaded.")
    if experiment.recipe == "quick":
        print(
            "quick is a light network for out-of-focus blur, which ten CPU minutes can learn; "
            "camera shake takes hours: --dataset gopro --data_dir …, or --dataset synthetic."
        )
    print(f"Run directory: {workdir} (curves: tensorboard --logdir {workdir})", flush=True)


def _summarise(result, experiment, workdir):
    if not result.finished:
        return
    print(
        f"Done: {result.step} steps. Best validation PSNR {result.best_psnr:.2f} dB, blurry input "
        f"{result.blurry_psnr:.2f} dB ({result.best_psnr - result.blurry_psnr:+.2f} dB)."
    )
    print(f"Next: python evaluate.py --workdir {workdir}")
