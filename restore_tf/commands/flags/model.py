"""The flags that say which trained network a command uses, and how it runs."""

from __future__ import annotations

from absl import flags

from restore_tf.errors import UserError
from restore_tf.experiments.ranges import literal
from restore_tf.system.log import logger

_OF_A_RUN = (
    "workdir",
    "checkpoint",
    "stages",
    "local_attention",
    "local_attention_crop",
    "precision",
    "set",
)
_NETWORK = "network."


def define(values: flags.FlagValues) -> None:
    """Defines --workdir, --checkpoint, --precision, and --set with its older names.

    Those are --stages and --local_attention(_crop), for network.stages and
    network.local_attention.
    """
    flags.DEFINE_string("workdir", None, "the run directory", flag_values=values)
    flags.DEFINE_string("checkpoint", "best", "best or latest", flag_values=values)
    flags.DEFINE_multi_string(
        "set",
        [],
        "network.FIELD=VALUE: an option that the network restores with, such as network.stages=1",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "stages",
        None,
        "run only the first so many stages of a network of several",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "local_attention",
        False,
        "a sliding mean in place of global channel attention, where a network has that",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "bfloat16", "auto"],
        "what the network computes in; auto: bfloat16 where it is measured to be faster",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "local_attention_crop",
        None,
        "the training crop that its windows derive from, in pixels; the recipe's by default",
        lower_bound=8,
        flag_values=values,
    )


def define_tflite(values: flags.FlagValues) -> None:
    """Defines --tflite, which takes the place of --workdir."""
    flags.DEFINE_string(
        "tflite",
        None,
        "a TFLite file of export.py, in place of --workdir; runs without TensorFlow",
        flag_values=values,
    )


def check_tflite(values: flags.FlagValues) -> None:
    """Raises a UserError for flags that say what a TFLite file was decided on when it was made."""
    for name in _OF_A_RUN:
        if values[name].present:
            raise UserError(
                f"--{name}: cannot be combined with --tflite; such a file is one network, made by "
                "export.py."
            )


def load_tflite(values: flags.FlagValues):
    """Returns the `tflite_model.LiteModel` that --tflite names.

    Raises:
      UserError: as `LiteModel`, or flags about tiles for a file whose size is fixed.
    """
    from restore_tf.inference.tflite_model import LiteModel

    model = LiteModel(values.tflite)
    for name in ("memory", "tile", "verify_tiles"):
        if model.size is not None and values[name].present:
            raise UserError(
                f"--{name}: {values.tflite} takes {model.size[0]}x{model.size[1]} pixels (height x "
                "width) at a time and has no other tiles; leave it out."
            )
    return model


def workdir(values: flags.FlagValues) -> str:
    """Returns --workdir; a UserError where it is missing."""
    if values.workdir is None:
        raise UserError("--workdir: missing; expected the run directory that train.py made.")
    return values.workdir


def arguments(values: flags.FlagValues) -> dict:
    """Returns what `weights.run.load_model` takes besides the run and the precision.

    Raises:
      UserError: a --set that is no network.FIELD=VALUE, or says what another flag says too.
    """
    given = {
        "checkpoint": values.checkpoint,
        "stages": values.stages,
        "local_attention": values.local_attention_crop or values.local_attention,
    }
    network = {}
    for assignment in values.set:
        field, equals, text = (part.strip() for part in assignment.partition("="))
        name = field.removeprefix(_NETWORK)
        if not equals or not name or not field.startswith(_NETWORK):
            raise UserError(
                f"--set {assignment}: expected network.FIELD=VALUE, such as network.stages=1; "
                "all else was decided when the run was trained."
            )
        if given.get(name):
            raise UserError(f"--set {assignment}: --{name} is given, too; leave one out.")
        network[name] = literal(text)
    named = {name: network.pop(name) for name in ("stages", "local_attention") if name in network}
    return {**given, **named, **({"network": network} if network else {})}


def load(values: flags.FlagValues):
    """Returns the network that the flags name."""
    from restore_tf.inference.fastest_precision import faster
    from restore_tf.weights.run import load_model

    def model(precision):
        return load_model(workdir(values), **arguments(values), precision=precision)

    if values.precision != "auto":
        return model(values.precision)
    chosen, reason = faster(model)
    logger.info("precision: %s", reason)
    return chosen


def describe(values: flags.FlagValues) -> str:
    """How the network was run, for provenance: "best checkpoint, 2 stages, local attention"."""
    given = arguments(values)
    parts = [f"{values.checkpoint} checkpoint"]
    if given["stages"]:
        parts.append(f"first {given['stages']} stages")
    if values.precision != "float32":
        parts.append(f"{values.precision} precision")
    if given["local_attention"]:
        crop = given["local_attention"]
        parts.append(f"local attention (crop {'of the recipe' if crop is True else crop})")
    parts += [f"{name}={value}" for name, value in given.get("network", {}).items()]
    return ", ".join(parts)
