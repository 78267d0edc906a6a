"""`restore.py`: restores pictures with a trained run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags
from tqdm import tqdm

from restore_tf import experiment as experiments
from restore_tf import images, pipeline, quiet
from restore_tf.commands import cli, model_flags, restore_jobs, restore_pixels, restore_video
from restore_tf.errors import UserError

USAGE = """Restores pictures of any size: files, folders, patterns ("photos/**/*.jpg").
  python restore.py PICTURE_OR_FOLDER … --workdir RUN --output DIR
  python restore.py a.jpg --workdir RUN --output sharp.png
  python restore.py photos --recursive --workdir RUN --suffix _sharp
  python restore.py - --workdir RUN --output - < a.png > sharp.png
  python restore.py photos --tflite srn_256x256_int8.tflite --output DIR
  python restore.py clip.mp4 --workdir RUN --output sharp.mp4"""

SOME_FAILED = 1
FORMATS = ("png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(_restore, _flags(), sys.argv if argv is None else argv, USAGE)


def _flags():
    values = flags.FlagValues()
    model_flags.define(values)
    model_flags.define_tflite(values)

    def switch(name, meaning):
        flags.DEFINE_boolean(name, False, meaning, flag_values=values)

    flags.DEFINE_string(
        "output",
        None,
        "a folder; a file for a single picture or clip; - for standard output",
        short_name="o",
        flag_values=values,
    )
    flags.DEFINE_string(
        "suffix",
        "",
        "put into names: NAME_sharp.png; beside the input without --output",
        flag_values=values,
    )
    flags.DEFINE_enum("format", None, FORMATS, "write another format", flag_values=values)
    flags.DEFINE_integer(
        "jpeg_quality", images.JPEG_QUALITY, "of JPEG and WebP files", 1, 100, flag_values=values
    )
    flags.DEFINE_integer(
        "max_pixels", images.MAX_PIXELS, "refuse larger pictures", 1, flag_values=values
    )
    switch("recursive", "also the sub-folders of folders, kept below --output")
    switch("overwrite", "replace existing outputs")
    switch("strip", "also write NAME_before_after.png")
    restore_pixels.define(values)
    restore_video.define(values)
    return values


def _restore(positional, values):
    if values.tflite is None:
        model_flags.workdir(values)
    else:
        model_flags.check_tflite(values)
    if restore_video.are_clips(positional, values):
        return restore_video.run(positional, values, _restorer)
    naming = restore_jobs.Naming(values.output, values.suffix, values.format, values.strip)
    jobs = restore_jobs.plan(positional, naming, values.recursive)
    failed = [] if values.overwrite else _existing(jobs)
    left = [job for job in jobs if job not in dict(failed)]
    if not left:
        raise failed[0][1]
    outcomes = _run(left, _restorer(values), values)
    silent = None if len(left) > 1 else True  # None: only on a terminal
    for job, error in tqdm(outcomes, total=len(left), unit="picture", disable=silent):
        if error is not None:
            failed.append((job, error))
    return _report(jobs, failed, values.output)


def _restorer(values) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what turns a picture's pixels into restored ones, of the same shape and type.

    Pixels are (height, width, 3) or (height, width), uint8 or uint16.
    """
    restore_pixels.check(values)
    if values.tflite is not None:
        return restore_pixels.make(model_flags.load_tflite(values), values)
    experiments.read(values.workdir)  # its errors come at once, TensorFlow takes seconds
    quiet.import_tensorflow()
    return restore_pixels.make(model_flags.load(values), values)


def _existing(jobs):
    return [(job, _exists(job)) for job in jobs if job.existing is not None]


def _exists(job):
    return UserError(f"{job.existing}: exists; pass --overwrite or another --output.")


def _run(jobs, restore, values):
    """Yields (job, its UserError or None) while decoding, computing and encoding overlap."""

    def read(job):
        source = sys.stdin.buffer.read() if job.picture is None else job.picture
        return images.read_picture(source, values.max_pixels, job.name)

    def compute(picture):
        return picture, restore(picture.pixels)

    def write(job, result):
        _write(job, *result, values)

    return pipeline.run(jobs, read, compute, write)


def _write(job, picture, restored, values):
    if job.existing is not None and not values.overwrite:  # it came up meanwhile
        raise _exists(job)
    result = dataclasses.replace(picture, pixels=restored)
    if job.output is None:
        ending = f".{values.format}" if values.format else images.ending(picture.kind)
        _write_stream(images.encode(result, ending, values.jpeg_quality, job.name))
        return
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{job.output.parent}: cannot be made ({error.strerror}).") from None
    images.write_picture(job.output, result, values.jpeg_quality)
    if job.strip is not None:
        images.write_picture(job.strip, images.before_after(picture.pixels, restored))


def _write_stream(data):
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise UserError(f"standard output: cannot be written ({error.strerror}).") from None


def _report(jobs, failed, output):
    """Prints what was done and what failed; returns the exit code."""
    if output != restore_jobs.STREAM:
        where = "beside the inputs" if output is None else f"into {output}"
        print(f"{len(jobs) - len(failed)} of {len(jobs)} pictures restored {where}")
    if failed and len(jobs) > 1:
        print(f"{len(failed)} of {len(jobs)} pictures failed:", file=sys.stderr)
    for _, error in failed:
        print(f"error: {error}", file=sys.stderr)
    if failed and len(jobs) == 1:
        return cli.USER_ERROR
    return SOME_FAILED if failed else 0
