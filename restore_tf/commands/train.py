"""`train.py`: trains a model into a run directory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli, local_workers
from restore_tf.commands.flags import data as data_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import quiet
from restore_tf.training.options import Options

USAGE = """Trains a model. As typed, on data that it makes itself:
  python train.py --model srn
On GoPro, by the paper's recipe:
  python train.py --model srn --dataset gopro --data_dir DIR/GOPRO_Large"""

# What a resumed run must agree on with the command that started it.
_RUN_FIELDS = ("data_dir", "degraded_dir", "sharp_dir", "seed", "precision", "init_from")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    return cli.run(functools.partial(_train, argv[1:]), _flags(), argv, USAGE)


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
        "local_workers": (1, "run so many worker processes here, to try --strategy multiworker"),
        "accumulate": (1, "cut each device's images into so many micro-batches, to save memory"),
        "early_stopping": (None, "end after so many validations without a new best PSNR"),
    }
    for name, (value, text) in defaults.items():
        lower = 0 if name == "seed" else 1
        flags.DEFINE_integer(name, value, text, lower_bound=lower, flag_values=values)
    string(
        "strategy",
        "auto",
        "one, mirrored (several devices), multiworker (TF_CONFIG) or tpu; auto: what is there",
    )
    string("tpu", "", "name or address of the TPU; by default this virtual machine's own")
    string("precision", "float32", "float32, mixed_bfloat16 or mixed_float16")
    string("init_from", None, "run directory to start from: fine-tunes its network's best weights")
    for name, value, text in [
        ("resume", True, "continue where the run directory has a checkpoint"),
        ("cache", False, "keep all decoded pictures in RAM"),
        ("deterministic", False, "make a CPU run bit-reproducible"),
    ]:
        flags.DEFINE_boolean(name, value, text, flag_values=values)
    return values


def _train(argv, positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; train.py takes flags only.")
    if values.local_workers > 1:
        return local_workers.run(argv, values.local_workers)
    if _other_backend():
        return _train_by_fit(values)
    _use_onednn(values)
    quiet.import_tensorflow()
    strategy = _strategy(values)  # TensorFlow wants it before anything else
    from restore_tf import training
    from restore_tf.training import strategies

    experiment, run = _experiment(values)
    chief = strategies.is_chief(strategy)
    workdir = _workdir(experiment, run, values)
    sources = _sources(experiment, run, values)
    if chief:
        experiments.write(workdir, experiment, run)
        _announce(experiment, workdir, *sources, strategy)
    result = training.train(experiment, workdir, *sources, _options(values), strategy)
    if chief:
        _summarise(result, experiment, workdir)


def _use_onednn(values):
    """Lets TensorFlow train by oneDNN's kernels on x86 where that is quicker.

    TensorFlow by itself does so with AVX-512 only. With AVX2 alone a step takes 0.5 to 0.85 of the
    time with them, but 1.2 to 1.5 of it for MPRNet's wide recipes, whose 3x3 convolutions of 80 and
    more channels they are slow with. Restoring is left as TensorFlow has it.
    """
    recipe = values.recipe or values.dataset or "quick"
    # Fine-tuning takes another run's network, whose width is not known yet.
    narrow = recipe in ("quick", "rain13k") and not values.init_from
    wide = values.model == "mprnet" and not narrow
    known = platform.machine().lower() in ("x86_64", "amd64")
    if known and not wide and "tensorflow" not in sys.modules:  # which reads it once
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _other_backend():
    return os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow"


def _train_by_fit(values):
    """Trains on Keras' JAX or PyTorch backend: one device, no TensorFlow."""
    for name, default in [("strategy", "auto"), ("virtual_devices", 1)]:
        if getattr(values, name) != default:
            raise UserError(f"--{name}: needs Keras' TensorFlow backend; unset KERAS_BACKEND.")
    from restore_tf import training

    experiment, run = _experiment(values)
    workdir = _workdir(experiment, run, values)
    sources = _sources(experiment, run, values)
    experiments.write(workdir, experiment, run)
    _announce(experiment, workdir, *sources)
    result = training.train(experiment, workdir, *sources, _options(values))
    _summarise(result, experiment, workdir)


def _strategy(values):
    import tensorflow as tf

    if values.virtual_devices > 1:
        devices = [tf.config.LogicalDeviceConfiguration()] * values.virtual_devices
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], devices
        )
    if values.deterministic:
        tf.config.experimental.enable_op_determinism()
    from restore_tf.training import strategies

    return strategies.make_strategy(values.strategy, values.tpu)


def _options(values):
    names = [field.name for field in dataclasses.fields(Options)]
    return Options(**{name: getattr(values, name) for name in names})


def _workdir(experiment, run, values):
    """Returns the run directory, after a look at what is in it; notes what a run starts from."""
    workdir = Path(values.workdir or _default_workdir(experiment))
    old = _check_resume(workdir, experiment, run, values.resume)
    if values.init_from:
        run["init_from_weights"] = old.get("init_from_weights") or _provenance(values.init_from)
    return workdir


def _provenance(workdir):
    """What is known of the weights a run starts from: their hash, and where they came from."""
    from restore_tf.weights.run import BEST

    path = Path(workdir) / BEST
    if not path.is_file():
        raise UserError(f"--init_from {workdir}: has no {BEST} yet; train it longer.")
    _, run = experiments.read(workdir)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "converted": run.get("converted")}


def _experiment(values):
    """The recipe with every override, and what the command decided beside it."""
    recipes = experiments.recipes_of(values.model)
    recipe = values.recipe
    if recipe is None:
        recipe = "quick" if values.dataset is None else next(iter(recipes))
        recipe = values.dataset if values.dataset in recipes else recipe
    experiment = experiments.load_recipe(values.model, recipe)
    if values.init_from:
        experiment = _with_network_of(experiment, values.init_from)
    experiment = experiments.override(experiment, values.set)
    dataset = values.dataset or experiment.dataset
    config = values.config or (experiment.config if dataset == experiment.dataset else None)
    from restore_tf.datasets.sources import default_config

    config = config or default_config(dataset)
    experiment = dataclasses.replace(
        experiment, dataset=dataset, config=config, steps=values.steps or experiment.steps
    )
    run = {name: getattr(values, name) for name in ("data_dir", "degraded_dir", "sharp_dir")}
    run["init_from"] = values.init_from
    run = {name: path and str(Path(path).absolute()) for name, path in run.items()}
    run |= {"seed": values.seed, "precision": values.precision, "overrides": list(values.set)}
    return experiment, run


def _with_network_of(experiment, workdir):
    """Fine-tuning keeps the network; all else is the recipe's."""
    source, _ = experiments.read(workdir)
    if experiments.paper_of(source.model) != experiments.paper_of(experiment.model):
        raise UserError(
            f"--init_from {workdir}: holds {source.model}; pass --model {source.model}."
        )
    return dataclasses.replace(experiment, model=source.model, network=source.network)


def _default_workdir(experiment):
    recipe = experiments.load_recipe(experiment.model, experiment.recipe)
    other = f"_{experiment.dataset}" if experiment.dataset != recipe.dataset else ""
    return f"runs/{experiment.model}_{experiment.recipe}{other}"


def _check_resume(workdir, experiment, run, resume):
    """Refuses to continue a run with anything but its own experiment; returns what it was."""
    if not (workdir / experiments.FILE_NAME).exists():
        return {}
    if not resume:
        raise UserError(
            f"{workdir}: has a run already; pass another --workdir, or drop --noresume."
        )
    old, old_run = experiments.read(workdir)
    before = {**dataclasses.asdict(old), **old_run}
    now = {**dataclasses.asdict(experiment), **run}
    for name in [field.name for field in dataclasses.fields(old)] + list(_RUN_FIELDS):
        if name != "steps" and _plain(before.get(name, now[name])) != _plain(now[name]):
            raise UserError(
                f"{workdir}: was started with {name}={before.get(name)}, not {now[name]}; "
                "repeat its flags to resume it, or pass another --workdir."
            )
    if old.steps != experiment.steps:
        print(
            f"{workdir}: was started for {old.steps} steps; the learning rate now runs over "
            f"{experiment.steps}."
        )
    return old_run


def _plain(value):
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _sources(experiment, run, values):
    """The training and the validation pairs."""
    from restore_tf.datasets import sources

    names = ("data_dir", "degraded_dir", "sharp_dir", "seed")
    training, validation = (
        sources.open_source(
            experiment.dataset, experiment.config, split, **{name: run[name] for name in names}
        )
        for split in ("train", "validation")
    )
    return sources.cached(training) if values.cache else training, validation


def _announce(experiment, workdir, training, validation, strategy=None):
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
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        from restore_tf.training.strategies import worker_count

        workers = worker_count(strategy)
        print(f"{strategy.num_replicas_in_sync} replicas on {workers} worker{'s'[: workers - 1]}.")
    curves = "" if _other_backend() else f" (curves: tensorboard --logdir {workdir})"
    print(f"Run directory: {workdir}{curves}", flush=True)


def _summarise(result, experiment, workdir):
    if not result.finished:
        return
    print(
        f"Done: {result.step} steps. Best validation PSNR {result.best_psnr:.2f} dB, blurry input "
        f"{result.degraded_psnr:.2f} dB ({result.best_psnr - result.degraded_psnr:+.2f} dB)."
    )
    print(f"Next: python evaluate.py --workdir {workdir}")


if __name__ == "__main__":
    sys.exit(main())
