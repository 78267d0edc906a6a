"""The flags that say which trained network a command uses, and how it runs."""

from __future__ import annotations

import sys

from absl import flags

from restore_tf.errors import UserError


def define(values: flags.FlagValues) -> None:
    """Defines --workdir, --checkpoint, --stages, --precision and --local_attention(_crop)."""
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


def workdir(values: flags.FlagValues) -> str:
    """Returns --workdir; a UserError where it is missing."""
    if values.workdir is None:
        raise UserError("--workdir: missing; expected the run directory that train.py made.")
    return values.workdir


def load(values: flags.FlagValues):
    """Returns the network that the flags name."""
    from restore_tf import inference
    from restore_tf.precision import faster

    def model(precision):
        return inference.load_model(
            workdir(values),
            values.checkpoint,
            values.stages,
            values.local_attention_crop if values.local_attention_crop else values.local_attention,
            precision,
        )

    if values.precision != "auto":
        return model(values.precision)
    chosen, reason = faster(model)
    print(f"precision: {reason}", file=sys.stderr)
    return chosen


def describe(values: flags.FlagValues) -> str:
    """How the network was run, for provenance: "best checkpoint, 2 stages, local attention"."""
    parts = [f"{values.checkpoint} checkpoint"]
    if values.stages:
        parts.append(f"first {values.stages} stages")
    if values.precision != "float32":
        parts.append(f"{values.precision} precision")
    if values.local_attention or values.local_attention_crop:
        parts.append(f"local attention (crop {values.local_attention_crop or 'of the recipe'})")
    return ", ".join(parts)
