"""`restore-tf average`: makes training pairs by averaging the frames of sharp, fast video."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.system import outputs

USAGE = """Makes (degraded, sharp) training pairs by averaging consecutive frames.
From a video of 120 or more frames a second (pip install 'restore_tf[video]'):
  restore-tf average --output_dir DIR clip.mp4
From a folder of frames, or a folder of such folders, of any strength of blur:
  restore-tf average --output_dir DIR --mode gamma --window 9,21 GOPRO_Large_all/train"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(average, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    from restore_tf.datasets.exposure import MODES

    values = flags.FlagValues()
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("output_dir", None, "folder for train/SEQUENCE/, with degraded and sharp pictures")
    string(
        "window",
        "7,13",
        "frames averaged into one picture: SMALLEST,LARGEST or one number, all odd",
    )
    flags.DEFINE_enum(
        "mode",
        "linear",
        MODES,
        "linear: average light by the sRGB curve, into blur_gamma/; gamma: light by gamma 2.2, as "
        "GoPro's blur_gamma/; encoded: stored values, as GoPro's blur/",
        flag_values=values,
    )
    for name, value, lower, text in [
        ("stride", None, 1, "frames from one window's start to the next; by default they touch"),
        ("seed", 0, 0, "seed of the random window lengths"),
        ("limit", None, 1, "the most pairs of each sequence; all by default"),
    ]:
        flags.DEFINE_integer(name, value, text, lower_bound=lower, flag_values=values)
    for name, text in [
        ("overwrite", "replace pictures that an earlier call wrote and recorded"),
        ("resume", "keep existing pictures, after an interruption or to add another mode"),
    ]:
        flags.DEFINE_boolean(name, False, text, flag_values=values)
    return values


def average(sources: Sequence[str], values: flags.FlagValues) -> None:
    """Makes pairs of every source; prints where they are and how to train on them.

    Args:
      sources: videos, folders of frames, or folders of such folders.
      values: the command's flags.

    Raises:
      UserError: no source, no --output_dir, a bad --window, or sources that failed.
    """
    from restore_tf.datasets import averaging

    if not sources:
        raise UserError("nothing to average; expected videos or folders of frames.")
    if not values.output_dir:
        raise UserError("--output_dir is missing; name the folder for the pairs.")
    outputs.check_folder(values.output_dir)
    failed = None
    try:
        counts = averaging.make_pairs(
            sources,
            values.output_dir,
            _window(values.window),
            values.stride,
            values.mode,
            values.seed,
            values.limit,
            overwrite=values.overwrite,
            resume=values.resume,
        )
    except averaging.SomeFailed as error:
        counts, failed = error.counts, error
    for sequence, count in counts.items():
        print(f"{values.output_dir}/train/{sequence}: {count} pairs")
    if failed is not None:
        raise failed
    config = averaging.FOLDERS[values.mode]
    print(
        f"Next: python train.py --model srn --dataset gopro --config {config}"
        f" --data_dir {values.output_dir}"
    )


def _window(text: str) -> int | tuple[int, int]:
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 2):
        raise UserError(f"--window {text}: expected an odd number, or two such as 7,13.")
    return numbers if len(numbers) == 2 else numbers[0]
