"""`train.py`: trains a model into a run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
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
from restore_tf.experiments import papers, run_directory
from restore_tf.system import quiet
from restore_tf.system.log import logger
from restore_tf.training.options import Options

USAGE = """Trains a model. As typed, on data that it makes itself:
  python train.py --model srn
On GoPro, by the paper's recipe:
  python train.py --model srn --dataset gopro --data_dir DIR/GOPRO_Large"""

# What a resumed run must agree on with the command that started it, besides the recipe.
_FOLDERS = ("data_dir", "degraded_dir", "sharp_dir")
_RUN_FIELDS = (*_FOLDERS, "seed", "precision", "init_from")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    return cli.run(functools.partial(_train, argv[1:]), _flags(), argv, USAGE)


def _flags():
    values = flags.FlagValues()
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("model", None, "the model, such as srn, srn_lstm or mprnet")
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
    string("init_from", None, "run directory, or published weights, to start from: fine-tunes them")
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
    if values.model is None:
        raise UserError(f"--model: missing; there are {papers.listed(papers.names())}.")
    if values.local_workers > 1:
        return local_workers.run(argv, values.local_workers)
    if _other_backend():
        return _train_by_fit(values)
    _use_onednn(values)
    quiet.import_tensorflow()
    strategy = _strategy(values)  # TensorFlow wants it before anything else
    from restore_tf import training
    from restore_tf.training import strategies

    chief = strategies.is_chief(strategy)
    alone = strategies.worker_count(strategy) == 1
    options = _options(values)
    plan = _plan(values, strategy.num_replicas_in_sync * options.accumulate, alone)
    if plan.nothing_to_do and alone:  # several workers find out together
        return _say_finished(plan)
    if chief:
        _announce(plan, strategy)
    with _recorded(plan, chief) as callbacks:
        result = training.train(
            plan.experiment, plan.workdir, *plan.sources, options, strategy, callbacks
        )
    if chief:
        _summarise(result, plan)


def _use_onednn(values):
    """Lets TensorFlow train by oneDNN's kernels on x86 where that is quicker.

    TensorFlow by itself does so with AVX-512 only. With AVX2 alone a step takes 0.5 to 0.85 of the
    time with them, but for what a paper says is slower (`papers.beside`). Restoring is left as
    TensorFlow has it.
    """
    beside = papers.beside(values.model, "onednn")
    recipe = values.recipe or values.dataset or "quick"
    # Fine-tuning takes another run's network, whose width is not known yet.
    slower = beside and (recipe not in beside.FASTER_RECIPES or values.init_from)
    known = platform.machine().lower() in ("x86_64", "amd64")
    if known and not slower and "tensorflow" not in sys.modules:  # which reads it once
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _other_backend():
    return os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow"


def _train_by_fit(values):
    """Trains on Keras' JAX or PyTorch backend: one device, no TensorFlow."""
    for name, default in [("strategy", "auto"), ("virtual_devices", 1)]:
        if getattr(values, name) != default:
            raise UserError(f"--{name}: needs Keras' TensorFlow backend; unset KERAS_BACKEND.")
    from restore_tf import training

    options = _options(values)
    plan = _plan(values)
    if plan.nothing_to_do:
        return _say_finished(plan)
    _announce(plan)
    with _recorded(plan) as callbacks:
        result = training.train(
            plan.experiment, plan.workdir, *plan.sources, options, callbacks=callbacks
        )
    _summarise(result, plan)


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
    options = Options(**{name: getattr(values, name) for name in names})
    if options.init_from is None:
        return options
    return dataclasses.replace(options, init_from=str(_initial(values)))


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A training that was found to be possible; nothing is written yet.

    Attributes:
      experiment, run, workdir: what to train, and where.
      steps: that the run in the directory was to take; None where there is none.
      step: of its newest checkpoint, 0 without one.
      sources: the training and the validation pairs; none where there is nothing to do.
    """

    experiment: experiments.Experiment
    run: experiments.Run
    workdir: Path
    steps: int | None
    step: int
    sources: tuple = ()

    @property
    def nothing_to_do(self) -> bool:
        return self.step >= self.experiment.steps


def _plan(values, parts=1, alone=True):
    """Checks everything that can be wrong, and reads what is in the run directory.

    Args:
      values: the flags.
      parts: what every batch is cut into.
      alone: whether there are no other workers.
    """
    from restore_tf.training import checks

    experiment, run = _experiment(values)
    workdir = Path(values.workdir or _default_workdir(experiment))
    tensorflow = not _other_backend()
    run_directory.check_for_training(workdir, tensorflow)
    old = _check_resume(workdir, experiment, run, values.resume)
    if values.init_from:
        known = old and old[1].init_from_weights
        run = dataclasses.replace(run, init_from_weights=known or _provenance(_initial(values)))
    steps = old and old[0].steps
    step = run_directory.checkpoint_step(workdir, tensorflow) or 0
    plan = _Plan(experiment, run, workdir, steps, step)
    if plan.nothing_to_do and alone:
        return plan
    sources = _sources(experiment, run, values)
    checks.check(experiment, sources[0], parts)
    return dataclasses.replace(plan, sources=sources)


@contextlib.contextmanager
def _recorded(plan, chief=True):
    """Keeps experiment.json true: yields the callbacks that write it when a training begins.

    A new run is recorded at once, so that it can be resumed whenever it is killed; where it is
    refused before anything else is written, the record goes again. A run that exists is recorded
    anew only if its steps change, and once the first step is about to be done.
    """
    if not chief:
        yield ()
        return
    made = [path for path in (plan.workdir, *plan.workdir.parents) if not path.exists()]
    if plan.steps is None:
        experiments.write(plan.workdir, plan.experiment, plan.run)
    if plan.step == 0:
        run_directory.begin(plan.workdir)
    changed = plan.steps not in (None, plan.experiment.steps)
    try:
        yield (_record_at_start(plan),) if changed else ()
    except UserError:
        if plan.steps is None and run_directory.abandon(plan.workdir):
            with contextlib.suppress(OSError):
                for path in made:
                    path.rmdir()
        raise
    finally:
        run_directory.end(plan.workdir, not _other_backend())


def _record_at_start(plan):
    import keras

    def write(logs=None):
        if not written:
            logger.info(
                "%s: was started for %d steps; the learning rate now runs over %d.",
                plan.workdir,
                plan.steps,
                plan.experiment.steps,
            )
            experiments.write(plan.workdir, plan.experiment, plan.run)
            written.append(True)

    written: list[bool] = []  # `fit` begins anew for every stretch of steps
    return keras.callbacks.LambdaCallback(on_train_begin=write)


def _say_finished(plan):
    steps = plan.experiment.steps
    kept = "" if plan.steps == steps else f" and its record stays at {plan.steps} steps"
    print(
        f"{plan.workdir}: is at step {plan.step} already; --steps {steps} trains nothing{kept}. "
        f"To go on, pass --steps above {plan.step}."
    )
    print(f"Next: python evaluate.py --workdir {plan.workdir}")


def _provenance(workdir):
    """What is known of the weights a run starts from: their hash, and where they came from."""
    files = (run_directory.BEST, run_directory.HALF)
    path = next((Path(workdir) / name for name in files if (Path(workdir) / name).is_file()), None)
    if path is None:
        raise UserError(f"--init_from {workdir}: has no {run_directory.BEST} yet; train it longer.")
    _, run = experiments.read(workdir)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "converted": run.converted}


def _experiment(values):
    """The recipe with every override, and what the command decided beside it."""
    recipes = experiments.recipes_of(values.model)
    recipe = values.recipe
    if recipe is None:
        recipe = "quick" if values.dataset is None else next(iter(recipes))
        recipe = values.dataset if values.dataset in recipes else recipe
    experiment = experiments.load_recipe(values.model, recipe)
    if values.init_from:
        experiment = _with_network_of(experiment, _initial(values))
    experiment = experiments.override(experiment, values.set)
    dataset = values.dataset or experiment.dataset
    config = values.config or (experiment.config if dataset == experiment.dataset else None)
    from restore_tf.datasets.sources import default_config

    config = config or default_config(dataset)
    experiment = dataclasses.replace(
        experiment, dataset=dataset, config=config, steps=values.steps or experiment.steps
    )
    paths = {name: getattr(values, name) for name in (*_FOLDERS, "init_from")}
    run = experiments.Run(
        # What is no path is the name of published weights.
        **{
            name: str(Path(path).absolute()) if path and Path(path).exists() else path
            for name, path in paths.items()
        },
        seed=values.seed,
        precision=values.precision,
        overrides=tuple(values.set),
    )
    return experiment, run


def _initial(values):
    """The run directory that --init_from names, itself or by the name of published weights."""
    from restore_tf.weights import published

    return published.resolve(values.init_from)


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
    """Refuses to continue a run with anything but its own experiment.

    Returns what it was, (experiment, run); None where there is none.
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
    return old, old_run


def _plain(value):
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _sources(experiment, run, values):
    """The training and the validation pairs."""
    from restore_tf.datasets import sources

    where = {name: getattr(run, name) for name in (*_FOLDERS, "seed")}
    training, validation = (
        sources.open_source(experiment.dataset, experiment.config, split, **where)
        for split in ("train", "validation")
    )
    return sources.cached(training) if values.cache else training, validation


def _announce(plan, strategy=None):
    experiment, (training, validation) = plan.experiment, plan.sources
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
    curves = "" if _other_backend() else f" (curves: tensorboard --logdir {plan.workdir})"
    print(f"Run directory: {plan.workdir}{curves}", flush=True)


def _summarise(result, plan):
    if not result.finished:
        return
    print(f"Done: {result.step} steps. {_best(result.best_psnr, result.degraded_psnr)}")
    print(f"Next: python evaluate.py --workdir {plan.workdir}")


def _best(psnr, degraded):
    """The best validation in words; identical pictures have an infinite PSNR."""
    if math.isinf(degraded):
        return "The degraded validation pictures equal the sharp ones: there is nothing to restore."
    if psnr == math.inf:
        return f"Best validation: equal to the sharp pictures; degraded input {degraded:.2f} dB."
    return (
        f"Best validation PSNR {psnr:.2f} dB, degraded input {degraded:.2f} dB "
        f"({psnr - degraded:+.2f} dB)."
    )


if __name__ == "__main__":
    sys.exit(main())
