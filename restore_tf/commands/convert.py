"""`convert.py`: turns an authors' checkpoint into a run directory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.system import outputs, quiet
from restore_tf.system.log import logger

USAGE = """Converts published weights into a run directory, which evaluate and restore take.
  python convert.py --model srn_lstm --checkpoint deblur.model-523000 --output runs/srn_published
  python convert.py --model mprnet --task deblurring --checkpoint model_deblurring.pth \\
    --output runs/mprnet_published"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_convert, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("model", None, "the paper's model, such as srn_lstm or mprnet")
    string("task", "deblurring", "the checkpoint's task; an unknown one lists the known ones")
    string("checkpoint", None, "the authors' file; of TensorFlow 1, the path without .index")
    string("output", None, "the run directory to make; missing or empty")
    flags.DEFINE_multi_string(
        "set", [], "network.FIELD=VALUE, for networks of another width", flag_values=values
    )
    flags.DEFINE_boolean("half", False, "store float16: half the size", flag_values=values)
    return values


def _convert(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; convert.py takes flags only.")
    for name in ("model", "checkpoint", "output"):
        if getattr(values, name) is None:
            raise UserError(f"--{name}: missing; see --help.")
    output = Path(values.output)
    outputs.check_folder(output)
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: exists; pass another --output.")
    quiet.import_tensorflow()
    from restore_tf.weights import conversion

    made = conversion.convert(
        values.model, values.task, values.checkpoint, output, values.set, half=values.half
    )
    if made.identified:
        print(f"These are {made.identified}.")
    if made.non_commercial:
        logger.warning("%s.", made.terms)
    print(f"Converted {made.weights} weights into {output}; each was read back and compared.")
    print(f"Next: python restore.py PICTURE --workdir {output} --output DIR")
