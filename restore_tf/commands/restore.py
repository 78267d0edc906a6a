"""`restore.py`: restores pictures with a trained run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf import experiment as experiments
from restore_tf.commands import cli, model_flags
from restore_tf.errors import UserError

USAGE = """Restores pictures, or every picture of a folder, of any size.
  python restore.py PICTURE_OR_FOLDER … --workdir RUN --output DIR"""

SOME_FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(_restore, _flags(), sys.argv if argv is None else argv, USAGE)


def _flags():
    values = flags.FlagValues()
    model_flags.define(values)
    flags.DEFINE_string("output", None, "folder for the restored pictures", flag_values=values)
    flags.DEFINE_boolean("overwrite", False, "replace existing outputs", flag_values=values)
    flags.DEFINE_boolean(
        "strip",
        False,
        "also write NAME_before_after.png",
        flag_values=values,
    )
    return values


def _restore(positional, values):
    workdir = model_flags.workdir(values)
    if values.output is None:
        raise UserError("--output: missing; expected the folder for the restored pictures.")
    if not positional:
        raise UserError("no pictures; expected the paths of pictures or folders.")
    jobs = plan(positional, Path(values.output), values.overwrite, values.strip)
    experiments.read(workdir)
    cli.import_tensorflow()
    from tqdm import tqdm

    model = model_flags.load(values)
    Path(values.output).mkdir(parents=True, exist_ok=True)
    failed = []
    for job in tqdm(jobs, unit="picture", disable=None):
        try:
            _restore_one(model, job)
        except UserError as error:
            failed.append(error)
    print(f"{len(jobs) - len(failed)} of {len(jobs)} pictures restored into {values.output}")
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    if failed and len(jobs) == 1:
        return cli.USER_ERROR
    return SOME_FAILED if failed else 0


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to restore: its file, the output, and the before/after strip or None."""

    picture: Path
    output: Path
    strip: Path | None


def plan(inputs: Sequence[str], output: Path, overwrite: bool, strip: bool) -> list[Job]:
    """Lists what is to be done, before anything is.

    Raises:
      UserError: a missing input, a folder without pictures, two inputs of one name, an output that
        is an input or, without `overwrite`, exists.
    """
    from restore_tf.images import EXTENSIONS

    pictures: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found = [p for p in sorted(path.iterdir()) if p.suffix.lower() in EXTENSIONS]
            if not found:
                raise UserError(f"{path}: has no pictures ({', '.join(EXTENSIONS)}).")
            pictures += found
        elif not path.exists():
            raise UserError(f"{path}: no such file or folder.")
        elif path.suffix.lower() not in EXTENSIONS:
            raise UserError(f"{path}: unknown ending; expected one of {', '.join(EXTENSIONS)}.")
        else:
            pictures.append(path)
    jobs = []
    for path in pictures:
        strip_path = output / f"{path.stem}_before_after.png" if strip else None
        jobs.append(Job(path, output / path.name, strip_path))
    _check_outputs(jobs, overwrite)
    return jobs


def _check_outputs(jobs, overwrite):
    inputs = {job.picture.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        for path in filter(None, (job.output, job.strip)):
            if path.resolve() in inputs:
                raise UserError(f"{path}: is an input; choose another --output folder.")
            if path in taken:
                raise UserError(f"{job.picture}: would be written to {path}, as {taken[path]} is.")
            if path.exists() and not overwrite:
                raise UserError(f"{path}: exists; pass --overwrite or another --output folder.")
            taken[path] = job.picture


def _restore_one(model, job):
    from restore_tf import images, inference

    picture = images.read_picture(job.picture)
    restored = inference.restore(model, picture.pixels)
    images.write_picture(job.output, dataclasses.replace(picture, pixels=restored))
    if job.strip is not None:
        images.write_picture(job.strip, images.before_after(picture.pixels, restored))
