"""`train.py`: trains a model into a run directory."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import platform
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from restore_tf.commands import cli, local_workers, training_plan, training_precision
from restore_tf.commands.flags import data as data_flags
from restore_tf.errors import UserError
from restore_tf.evaluation import metric_names
from restore_tf.experiments import papers
from restore_tf.system import quiet
from restore_tf.training.options import AUTO, Options

USAGE = """Trains a model. Without a download, on synthetic data:
  python train.py --model srn
On GoPro, by the paper's recipe:
  python train.py --model srn --dataset gopro --data_dir DIR/GOPRO_Large
As the next link of a chain, on the output of the runs before it; and a chain's links together:
  python train.py --model srn --chain RUN,RUN --workdir NEW_RUN
  python train.py --model chain --init_from CHAIN --workdir NEW_RUN"""


_LIMITS = {  # of the flags that do not take every number above 0
    "seed": (0, 2**32 - 1),  # what NumPy takes
    "virtual_devices": (1, 64),
    "local_workers": (1, 64),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    argv = list(sys.argv if argv is None else argv)
    return cli.run_command(functools.partial(_train, argv[1:]), define_flags(), argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("model", None, "the model, such as srn, srn_lstm or mprnet")
    string("recipe", None, "the recipe; by default quick, or the paper's with --dataset")
    flags.DEFINE_multi_string("set", [], "override: field=value of the recipe", flag_values=values)
    string("workdir", None, "the run directory; runs/MODEL_RECIPE by default")
    data_flags.define(values, "the recipe's")
    defaults = {
        "steps": (None, "optimizer steps in all; the recipe's by default"),
        "seed": (0, "seed of weights, data order and augmentation"),
        "checkpoint_every": (500, "steps between checkpoints to resume from"),
        "validate_every": (500, "steps between validations"),
        "log_every": (50, "steps between rows of metrics.csv"),
        "validation_pictures": (8, "the most pictures of a validation"),
        "virtual_devices": (1, "split the CPU into N devices, to try strategies"),
        "local_workers": (1, "run N worker processes here, to try --strategy multiworker"),
        "accumulate": (1, "cut each device's images into N micro-batches, to save memory"),
        "early_stopping": (
            None,
            "end after N validations without a new best score; off by default",
        ),
    }
    for name, (value, text) in defaults.items():
        least, most = _LIMITS.get(name, (1, None))
        flags.DEFINE_integer(name, value, text, least, most, flag_values=values)
    string(
        "strategy",
        "auto",
        "one, mirrored (several devices), multiworker (TF_CONFIG) or tpu; auto: by what is found",
    )
    string("tpu", "", "name or address of the TPU; by default this virtual machine's own")
    string(
        "precision",
        "float32",
        "float32, mixed_bfloat16 or mixed_float16; auto: ten steps of the first two are measured",
    )
    string("init_from", None, "run directory or published weights to start from (fine-tuning)")
    string("init_predictor", None, "run directory or published weights of the frozen first pass")
    flags.DEFINE_list(
        "chain",
        None,
        "runs and steps, RUN,RUN,…: train on their output, as the next link of that chain",
        flag_values=values,
    )
    for name, value, text in [
        ("resume", True, "resume from the run directory's newest checkpoint"),
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
        return local_workers.train_with_workers(argv, values.local_workers)
    if training_plan.other_backend():
        return _train_by_fit(values)
    use_onednn(values)
    quiet.import_tensorflow()
    strategy = _strategy(values)  # before anything else runs: TensorFlow requires it
    from restore_tf import training
    from restore_tf.training import strategies

    chief = strategies.is_chief(strategy)
    alone = strategies.worker_count(strategy) == 1
    options = make_options(values)
    plan = training_plan.make_plan(
        values, strategy.num_replicas_in_sync * options.accumulate, alone
    )
    if plan.nothing_to_do and alone:  # several workers decide together
        return _say_finished(plan)
    if chief and not plan.nothing_to_do:
        _announce(plan, strategy)
    plan, options = training_precision.decided(
        plan, options, functools.partial(training.engine_class(), strategy=strategy)
    )
    with training_plan.recorded(plan, chief, alone) as callbacks:
        pairs = training_plan.prepared(plan, values)
        result = training.train(plan.experiment, plan.workdir, *pairs, options, strategy, callbacks)
    if chief:
        _say_finished(plan) if plan.nothing_to_do else _summarise(result, plan)


def use_onednn(values):
    """Enables oneDNN's kernels for training on x86 where they are faster.

    By default TensorFlow uses them with AVX-512 only. With AVX2 alone a step takes 0.5 to 0.85 of
    the time with them, except for what a paper names (`papers.sibling_module`): recipes with wide
    convolutions, or validations on large pictures. Restoring keeps TensorFlow's default.

    Args:
      values: the command's flags.
    """
    beside = papers.sibling_module(values.model, "onednn")
    recipe = values.recipe or values.dataset or "quick"
    faster = beside is None
    if beside is not None:
        # Fine-tuning takes another run's network, whose width is not known yet.
        faster = recipe in beside.FASTER_RECIPES and not values.init_from
        small = getattr(beside, "SYNTHETIC_RECIPES", ())
        if small and (values.dataset == "synthetic" or (not values.dataset and recipe in small)):
            faster = True
    known = platform.machine().lower() in ("x86_64", "amd64")
    if known and faster and "tensorflow" not in sys.modules:  # which reads it once
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _train_by_fit(values):
    """Trains on Keras' JAX or PyTorch backend: one device, no TensorFlow."""
    for name, default in [("strategy", "auto"), ("virtual_devices", 1)]:
        if getattr(values, name) != default:
            raise UserError(f"--{name}: needs Keras' TensorFlow backend; unset KERAS_BACKEND.")
    from restore_tf import training

    options = make_options(values)
    plan = training_plan.make_plan(values)
    if plan.nothing_to_do:
        return _say_finished(plan)
    _announce(plan)
    plan, options = training_precision.decided(plan, options, training.engine_class())
    with training_plan.recorded(plan) as callbacks:
        pairs = training_plan.prepared(plan, values)
        result = training.train(plan.experiment, plan.workdir, *pairs, options, callbacks=callbacks)
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


def make_options(values) -> Options:
    """Returns the training's `Options` from the flags; names of published weights become paths.

    With --precision auto they have float32; `training_precision.decided` replaces it.

    Args:
      values: the command's flags.

    Raises:
      UserError: no such weights for --init_from or --init_predictor.
    """
    names = [field.name for field in dataclasses.fields(Options)]
    given = {name: getattr(values, name) for name in names}
    if values.precision == AUTO:
        given["precision"] = "float32"
    options = Options(**given)
    if options.init_from is not None:
        options = dataclasses.replace(options, init_from=str(training_plan.initial_run(values)))
    if options.init_predictor is not None:
        run = str(training_plan.predictor_run(values))
        options = dataclasses.replace(options, init_predictor=run)
    return options


def _say_finished(plan):
    steps = plan.experiment.steps
    kept = "" if plan.steps == steps else f" and its record stays at {plan.steps} steps"
    print(
        f"{plan.workdir}: is at step {plan.step} already; --steps {steps} trains nothing{kept}. "
        f"To train further, pass --steps above {plan.step}."
    )
    _say_next(plan)


def _say_next(plan):
    if plan.run.after:
        links = " ".join(map(shlex.quote, [*plan.run.after["links"], str(plan.workdir)]))
        print(f"Next: restore-tf chain {links} --output {plan.workdir}_chain")
    else:
        print(f"Next: python evaluate.py --workdir {plan.workdir}")


def _announce(plan, strategy=None):
    experiment, (training, validation) = plan.experiment, plan.sources
    print(
        f"Training {experiment.model} by recipe {experiment.recipe} on "
        f"{data_flags.described(experiment.dataset, experiment.config)}: "
        f"{len(training)} pairs, {len(validation)} held out, "
        f"{experiment.steps} steps of {experiment.batch} crops of {experiment.crop} pixels."
    )
    if experiment.dataset == "synthetic" and plan.run.data_dir is None:
        print("The pairs are generated here; nothing is downloaded.")
    if experiment.recipe == "quick" and experiment.config == "defocus":
        print(
            "quick is a light network for out-of-focus blur, which ten CPU minutes can learn; "
            "camera shake takes hours: --dataset gopro --data_dir …, or --dataset synthetic."
        )
    if plan.run.after:
        print(f"It follows {' -> '.join(plan.run.after['links'])}, whose pictures are kept.")
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        from restore_tf.training.strategies import worker_count

        workers = worker_count(strategy)
        print(f"{strategy.num_replicas_in_sync} replicas on {workers} worker{'s'[: workers - 1]}.")
    curves = (
        "" if training_plan.other_backend() else f" (curves: tensorboard --logdir {plan.workdir})"
    )
    print(f"Run directory: {plan.workdir}{curves}", flush=True)


def _summarise(result, plan):
    if not result.finished:
        return
    print(f"Done: {result.step} steps. {gain_in_words(result)}")
    _say_next(plan)


def gain_in_words(result) -> str:
    """Describes the best validation score; identical pictures have an infinite PSNR.

    Args:
      result: of the training.
    """
    best, degraded = result.best_score, result.degraded_score
    if result.metric == "last":
        return f"Kept: the weights of the last validation, at step {best:.0f}."
    if degraded is None:
        return f"Best validation {result.metric} {best:.4g}."
    if math.isinf(degraded):
        return "The degraded validation pictures equal the sharp ones: there is nothing to restore."
    if best == math.inf:
        return f"Best validation: equal to the sharp pictures; degraded input {degraded:.2f} dB."
    label, digits, higher = metric_names.describe(result.metric)
    name, unit = label.removesuffix(" (dB)"), " dB" if label.endswith(" (dB)") else ""
    return (
        f"Best validation {name} {best:.{digits}f}{unit}, degraded input {degraded:.{digits}f}"
        f"{unit} ({best - degraded:+.{digits}f}{unit}{'' if higher else '; lower is better'})."
    )


if __name__ == "__main__":
    sys.exit(main())
