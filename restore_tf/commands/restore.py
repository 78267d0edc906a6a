"""`restore.py`: restores pictures with a trained run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags

from restore_tf.commands import cli, restore_disagreement, restore_video
from restore_tf.commands.flags import model as model_flags
from restore_tf.commands.flags import pictures as pictures_flags
from restore_tf.commands.flags import pixels as pixels_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.pictures import files, hidden
from restore_tf.system import pipeline, quiet

USAGE = """Restores pictures of any size: files, folders, patterns ("photos/**/*.jpg").
  python restore.py PICTURE_OR_FOLDER … --workdir RUN --output DIR
  python restore.py a.jpg --workdir RUN --output sharp.png
  python restore.py photos --recursive --workdir RUN --suffix _sharp
  python restore.py - --workdir RUN --output - < a.png > sharp.png
  python restore.py photos --tflite srn_256x256_int8.tflite --output DIR
  python restore.py photos --openvino srn_720x1280_int8.xml --output DIR
  python restore.py clip.mp4 --workdir RUN --output sharp.mp4"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_restore, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    model_flags.define(values)
    model_flags.define_files(values)
    pictures_flags.define(
        values, "a folder; a file for a single picture or clip; - for standard output"
    )
    flags.DEFINE_boolean("strip", False, "also write NAME_before_after.png", flag_values=values)
    restore_disagreement.define(values)
    pixels_flags.define(values)
    restore_video.define(values)
    return values


def _restore(positional, values):
    model_flags.file_path(values)  # raises its errors at once
    found = pictures_flags.entries(positional, values)
    if restore_video.are_clips(found, values):
        return restore_video.restore_clips(found, positional, values, make_restorer)
    return pictures_flags.restore_and_report(
        found,
        positional,
        values,
        lambda jobs: _run(jobs, make_restorer(values), values),
        values.strip,
        values.disagreement,
    )


def make_restorer(values) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that restores a picture's pixels, see `pixels_flags.make`.

    Args:
      values: the command's flags.

    Raises:
      UserError: no such run or weights, or options that do not fit them.
    """
    pixels_flags.check(values)
    if model_flags.file_path(values) is not None:
        return pixels_flags.make(model_flags.load_file(values), values)
    run = model_flags.workdir(values)
    experiments.read(run)  # raises its errors at once; TensorFlow takes seconds to import
    model_flags.network(values)
    quiet.import_tensorflow()
    return pixels_flags.make(model_flags.load(values, run), values)


def _run(jobs, restore, values):
    """Yields (job, its UserError or None) while decoding, computing and encoding overlap."""
    if values.disagreement:
        restore_disagreement.check(restore, values)

    def read(job):
        source = sys.stdin.buffer.read() if job.picture is None else job.picture
        return files.read_picture(source, values.max_pixels, job.name)

    def compute(job, picture):
        with pictures_flags.naming_errors(job.name):
            restored = hidden.restore(restore, picture.pixels, picture.alpha)
            if not values.disagreement:
                return picture, restored
            return picture, restored, restore_disagreement.draw(restore, picture, values, job.name)

    def write(job, result):
        _write(job, values, *result)

    return pipeline.process_jobs(jobs, read, compute, write)


def _write(job, values, picture, restored, disagreement=None):
    if job.output is not None:
        pictures_flags.save(job, picture, restored, values, disagreement)
        return
    data, _ = files.encode_restored(picture, restored, values.format, values.jpeg_quality, job.name)
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise UserError(f"standard output: cannot be written ({error.strerror}).") from None
