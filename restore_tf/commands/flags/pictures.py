"""Shared by `restore.py` and `restore-tf client`: flags, inputs, outputs, report, exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from absl import flags
from tqdm import tqdm

from restore_tf.commands import cli, restore_inputs, restore_jobs
from restore_tf.commands.restore_inputs import Entry
from restore_tf.commands.restore_jobs import Job
from restore_tf.errors import UserError, one_line
from restore_tf.pictures import files, kinds
from restore_tf.pictures.pixels import before_after
from restore_tf.system import disk

SOME_FAILED = 1  # exit code
FORMATS = tuple(ending.removeprefix(".") for ending in kinds.PICTURES)


def define(values: flags.FlagValues, output: str) -> None:
    """Defines the flags of inputs and outputs.

    Args:
      values: the command's flags.
      output: the help of --output.
    """

    def number(name, default, highest, meaning):
        flags.DEFINE_integer(name, default, meaning, 1, highest, flag_values=values)

    def switch(name, meaning):
        flags.DEFINE_boolean(name, False, meaning, flag_values=values)

    flags.DEFINE_string("output", None, output, short_name="o", flag_values=values)
    meaning = "added to names, NAME_sharp.png; without --output, written beside the inputs"
    flags.DEFINE_string("suffix", "", meaning, flag_values=values)
    meaning = "write this format; the input's by default"
    flags.DEFINE_enum("format", None, FORMATS, meaning, flag_values=values)
    number("jpeg_quality", files.JPEG_QUALITY, 100, "quality of JPEG and WebP files, 1 to 100")
    number("max_pixels", files.MAX_PIXELS, None, "refuse pictures of more pixels, height x width")
    switch("recursive", "restore sub-folders too, into the same sub-folders of --output")
    switch(
        "overwrite",
        "replace the file that --output names; in folders, and beside inputs, what an earlier run "
        "wrote: a hidden .restore_tf.jsonl there records it",
    )


def entries(positional: Sequence[str], values: flags.FlagValues) -> list[Entry]:
    """Lists all files among the inputs, see `restore_inputs.entries`.

    Args:
      positional: the files, folders and patterns of the command line.
      values: the command's flags.

    Raises:
      UserError: no inputs, or a missing one.
    """
    return restore_inputs.entries(positional, values.output, values.recursive)


def restore_and_report(
    found: Sequence[Entry],
    positional: Sequence[str],
    values: flags.FlagValues,
    restore_all: Callable[[list[Job]], Iterable[tuple[Job, UserError | None]]],
    strip: bool = False,
    disagreement: bool = False,
) -> int:
    """Restores pictures and reports: successes to standard output, failures to standard error.

    Args:
      found: from `entries`.
      positional: the files, folders and patterns of the command line.
      values: the command's flags.
      restore_all: restores the pictures whose outputs do not exist yet, yielding each with its
        error or None.
      strip: also write before/after strips.
      disagreement: also write maps of where a sampler's pictures disagree.

    Returns:
      The exit code: 0, `SOME_FAILED`, or `cli.USER_ERROR` where there was a single picture.

    Raises:
      UserError: as `restore_jobs.plan` and `restore_all`, or every output exists.
    """
    naming = restore_jobs.Naming(values.output, values.suffix, values.format, strip, disagreement)
    jobs = restore_jobs.plan(found, positional, naming)
    failed = [(job, error) for job in jobs if (error := _in_the_way(job, values))]
    left = [job for job in jobs if job not in dict(failed)]
    if not left:
        raise failed[0][1]
    silent = None if len(left) > 1 else True  # None: only on a terminal
    for job, error in tqdm(restore_all(left), total=len(left), unit="picture", disable=silent):
        if error is not None:
            failed.append((job, error))
    return _report(jobs, failed, values.output)


def save(
    job: Job,
    picture: files.Picture,
    pixels: np.ndarray,
    values: flags.FlagValues,
    disagreement: np.ndarray | None = None,
) -> None:
    """Writes a restored picture, and its strip and map if the job has them.

    Args:
      job: the paths to write to; not standard output.
      picture: the degraded one, whose metadata are kept.
      pixels: the restored ones, (height, width, 3) or (height, width), uint8 or uint16.
      values: the command's flags.
      disagreement: the map, (height, width, 3) uint8, where `job` has a file for one.

    Raises:
      UserError: it exists and --overwrite was not given, or it cannot be written.
    """
    if (error := _in_the_way(job, values)) is not None:  # another program wrote it meanwhile
        raise error
    disk.make_folder(job.output.parent)
    files.write_picture(job.output, files.restored(picture, pixels), values.jpeg_quality)
    if job.strip is not None:
        files.write_picture(job.strip, before_after(picture.pixels, pixels))
    if job.disagreement is not None:
        files.write_picture(job.disagreement, disagreement)
    for path in job.recorded:
        job.record.add(path)


@contextlib.contextmanager
def naming_errors(name: str) -> Iterator[None]:
    """Adds the name of a picture or clip to errors that lack it.

    Args:
      name: of the picture or clip.

    Raises:
      UserError: a UserError or MemoryError of the block, with the name.
    """
    try:
        yield
    except MemoryError:
        raise UserError(f"{name}: does not fit into memory; give --memory or --tile.") from None
    except UserError as error:
        if str(error).startswith(one_line(name)):
            raise
        raise UserError(f"{name}: {error}") from None


def _in_the_way(job, values):
    """The error of a job whose files exist already, or None.

    --overwrite replaces what an earlier run wrote and recorded, and the file that --output names.
    """
    if job.existing is None:
        return None
    if not values.overwrite:
        other = "--suffix" if values.output is None else "--output"
        return UserError(f"{job.existing}: exists; pass --overwrite or another {other}.")
    try:
        for path in job.recorded:
            job.record.check_overwrite(path, True)
    except UserError as error:
        return error
    return None


def _report(jobs, failed, output):
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
