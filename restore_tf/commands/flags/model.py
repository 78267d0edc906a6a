"""The flags that select a trained network and its options of inference."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from restore_tf.errors import UserError
from restore_tf.system.log import logger

_OF_A_RUN = (
    "workdir",
    "weights",
    "checkpoint",
    "set",
    "stages",
    "local_attention",
    "local_attention_crop",
    "steps",
    "samples",
    "eta",
    "precision",
)
_FILES = ("tflite", "openvino")
_NETWORK = "network."


def define(values: flags.FlagValues) -> None:
    """Defines --workdir, --weights, --checkpoint, --set, --precision and short forms of --set.

    Args:
      values: the command's flags.
    """
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("workdir", None, "the run directory; by default the weights shipped with the package")
    string(
        "weights", None, "published weights by name, in place of --workdir; see restore-tf weights"
    )
    string("checkpoint", "best", "best (highest validation score) or latest")
    flags.DEFINE_multi_string(
        "set",
        [],
        "network.OPTION=VALUE: an option of inference, such as network.stages=1",
        flag_values=values,
    )
    for name, least, text in [
        ("stages", 1, "only the first N stages: --set network.stages=N"),
        ("local_attention_crop", 8, "window in pixels: --set network.local_attention=PIXELS"),
        ("steps", 1, "steps of a sampler: --set network.steps=N"),
        ("samples", 1, "samples that a sampler averages: --set network.samples=N"),
    ]:
        flags.DEFINE_integer(name, None, text, least, flag_values=values)
    local = "attention over windows: --set network.local_attention=True"
    flags.DEFINE_boolean("local_attention", False, local, flag_values=values)
    eta = "noise of a sampler's steps, 0 (none) to 1: --set network.eta=X"
    flags.DEFINE_float("eta", None, eta, 0, 1, flag_values=values)
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "bfloat16", "auto"],
        "type of the computation; auto: bfloat16 if it is measured to be faster",
        flag_values=values,
    )


def define_files(values: flags.FlagValues) -> None:
    """Defines --tflite and --openvino, which replace --workdir.

    Args:
      values: the command's flags.
    """
    for name, what in (("tflite", "a TFLite file"), ("openvino", "an OpenVINO file, NAME.xml,")):
        flags.DEFINE_string(
            name,
            None,
            f"{what} of export.py, in place of --workdir; runs without TensorFlow",
            flag_values=values,
        )


def file_path(values: flags.FlagValues) -> str | None:
    """Returns the file that --tflite or --openvino names, None where neither is given.

    Args:
      values: the command's flags.

    Raises:
      UserError: both are given, or a flag whose value a file already fixes.
    """
    given = [name for name in _FILES if values[name].value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise UserError(f"--{' and --'.join(given)}: choose one.")
    for name in _OF_A_RUN:
        if values[name].present:
            raise UserError(
                f"--{name}: cannot be combined with --{given[0]}; export.py has fixed it in the "
                "file."
            )
    return values[given[0]].value


def load_file(values: flags.FlagValues):
    """Loads the file that --tflite or --openvino names.

    Args:
      values: the command's flags.

    Returns:
      The file as an `inference.device_file.DeviceFile`.

    Raises:
      UserError: as the classes of the files, or flags about tiles for a file whose size is fixed.
    """
    if values.tflite is not None:
        from restore_tf.inference.tflite_model import LiteModel as File
    else:
        from restore_tf.inference.openvino_model import OpenVinoModel as File

    path = file_path(values)
    model = File(path)
    for name in ("memory", "tile", "verify_tiles"):
        if model.size is not None and values[name].present:
            raise UserError(
                f"--{name}: {path} takes {model.size[0]}x{model.size[1]} pixels (height x width) "
                "at a time and has no other tiles; leave it out."
            )
    return model


def workdir(values: flags.FlagValues) -> Path:
    """Returns the run directory that --workdir or --weights names, or that of the default weights.

    Args:
      values: the command's flags.

    Raises:
      UserError: both flags, an unknown name, or weights that were not fetched.
    """
    from restore_tf.weights import published

    if values.workdir is not None and values.weights is not None:
        raise UserError("--workdir and --weights: choose one.")
    if values.workdir is not None:
        return Path(values.workdir)
    if values.weights is not None:
        return published.path(values.weights)
    entry = published.default()
    logger.info(
        "weights: %s (%s; %s, %s); %s restores more and takes longer, see restore-tf weights.",
        entry.name,
        entry.summary,
        entry.licence,
        entry.holder,
        entry.better,
    )
    return published.path(entry.name)


def name(values: flags.FlagValues) -> str:
    """Returns the weights' name in results: the run directory, or the name of published ones.

    Args:
      values: the command's flags.

    Raises:
      UserError: no weights are shipped, and none are named.
    """
    from restore_tf.weights import published

    return str(values.workdir or values.weights or published.default().name)


def network(values: flags.FlagValues) -> dict:
    """Returns the options of inference: those of --set and its short forms.

    Args:
      values: the command's flags.

    Raises:
      UserError: an assignment of anything but the network, or an option given twice.
    """
    from restore_tf.experiments import experiment

    options = experiment.network_options(values.set)
    named = {
        "stages": values.stages,
        "local_attention": values.local_attention_crop or values.local_attention or None,
        "steps": values.steps,
        "samples": values.samples,
        "eta": values.eta,
    }
    for option, value in named.items():
        if value is not None and option in options:
            raise UserError(f"--set network.{option}: --{option} is given, too; leave one out.")
    return options | {option: value for option, value in named.items() if value is not None}


def arguments(values: flags.FlagValues) -> dict:
    """Returns the keyword arguments of `weights.load.load_model`, without the precision.

    Args:
      values: the command's flags.

    Raises:
      UserError: as `network`.
    """
    return {"checkpoint": values.checkpoint, "network": network(values)}


def load(values: flags.FlagValues, run: Path):
    """Loads the network that the flags name.

    Args:
      values: the command's flags.
      run: from `workdir`.

    Returns:
      A `Restorer`.

    Raises:
      UserError: as `load_model`.
    """
    from restore_tf.inference.fastest_precision import faster
    from restore_tf.weights.load import load_model

    def model(precision):
        return load_model(run, **arguments(values), precision=precision)

    if values.precision != "auto":
        return model(values.precision)
    chosen, reason = faster(model)
    logger.info("precision: %s", reason)
    return chosen


def describe(values: flags.FlagValues) -> str:
    """Describes the options of inference: "best checkpoint, stages=2, bfloat16 precision".

    Args:
      values: the command's flags.
    """
    parts = [f"{values.checkpoint} checkpoint"]
    parts += [f"{option}={value}" for option, value in network(values).items()]
    if values.precision != "float32":
        parts.append(f"{values.precision} precision")
    return ", ".join(parts)
