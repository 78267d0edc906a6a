"""The flags that say which trained network a command uses, and how it runs."""

from __future__ import annotations

from absl import flags

from restore_tf.errors import UserError


def define(values: flags.FlagValues) -> None:
    """Defines --workdir, --checkpoint, --stages, --local_attention and --local_attention_crop."""
    flags.DEFINE_string("workdir", None, "the run directory", flag_values=values)
    flags.DEFINE_string("checkpoint", "best", "best or latest", flag_values=values)
    flags.DEFINE_integer(
        "stages", None, "MPRNet: run only the first so many stages", 1, 3, flag_values=values
    )
    flags.DEFINE_boolean(
        "local_attention",
        False,
        "MPRNet: a sliding mean in place of global channel attention",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "local_attention_crop",
        None,
        "the training crop that its windows derive from, in pixels; the recipe's by default",
        lower_bound=8,
        flag_values=values,
    )


def workdir(values: flags.FlagValues) -> str:
    """Returns --workdir; a UserError where it is missing."""
    if values.workdir is None:
        raise UserError("--workdir: missing; expected the run directory that train.py made.")
    return values.workdir


def load(values: flags.FlagValues):
    """Returns the network that the flags name."""
    from restore_tf import inference

    return inference.load_model(
        workdir(values),
        values.checkpoint,
        values.stages,
        values.local_attention_crop if values.local_attention_crop else values.local_attention,
    )


def describe(values: flags.FlagValues) -> str:
    """How the network was run, for provenance: "best checkpoint, 2 stages, local attention"."""
    parts = [f"{values.checkpoint} checkpoint"]
    if values.stages:
        parts.append(f"first {values.stages} stages")
    if values.local_attention or values.local_attention_crop:
        parts.append(f"local attention (crop {values.local_attention_crop or 'of the recipe'})")
    return ", ".join(parts)
