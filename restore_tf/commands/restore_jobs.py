"""Plans the work of `restore.py`: which pictures or clips, and the output of each."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from restore_tf.commands import restore_inputs
from restore_tf.commands.restore_inputs import STREAM, Entry
from restore_tf.errors import UserError
from restore_tf.pictures import kinds
from restore_tf.system import disk
from restore_tf.system.log import logger
from restore_tf.system.record import Record

STRIP = "_before_after"
DISAGREEMENT = "_disagreement"
_LONGEST_NAME = 255  # bytes, on nearly every file system
_NAMED = 5  # files named in a line


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to restore.

    Attributes:
      picture: its file; None for standard input.
      output: the restored one's file; None for standard output.
      strip: the file of the before/after strip, or None.
      disagreement: the file of the map of where samples disagree, or None.
      record: lists what this package wrote into the output folder, or beside the inputs; None for
        standard output.
      named: whether --output names the restored picture's file itself.
    """

    picture: Path | None
    output: Path | None
    strip: Path | None = None
    disagreement: Path | None = None
    record: Record | None = dataclasses.field(default=None, compare=False)
    named: bool = False

    @property
    def name(self) -> str:
        """What to call the picture in messages."""
        return "standard input" if self.picture is None else str(self.picture)

    @property
    def existing(self) -> Path | None:
        """The file that would be overwritten, or None."""
        return next((p for p in self.outputs if os.path.lexists(p)), None)

    @property
    def outputs(self) -> list[Path]:
        """The files to write."""
        paths = (self.output, self.strip, self.disagreement)
        return [path for path in paths if path is not None]

    @property
    def recorded(self) -> list[Path]:
        """Those of the outputs that are recorded, and replaced only if they were."""
        return self.outputs[1:] if self.named else self.outputs


@dataclasses.dataclass(frozen=True)
class Naming:
    """How outputs are named.

    Attributes:
      output: a folder, "-", for a single picture also a file, or None for beside the input.
      suffix: put between a name and its ending.
      format: the ending to write, without the dot; the input's by default.
      strip: also write before/after strips.
      disagreement: also write maps of where samples disagree.
    """

    output: str | None
    suffix: str = ""
    format: str | None = None
    strip: bool = False
    disagreement: bool = False


def plan(found: Sequence[Entry], inputs: Sequence[str], naming: Naming) -> list[Job]:
    """Decides the output of each picture, before the work begins.

    Args:
      found: from `restore_inputs.entries`.
      inputs: the files, folders and patterns of the command line.
      naming: how outputs are named.

    Returns:
      A `Job` for each picture.

    Raises:
      UserError: an input without pictures, two inputs of one name, an output that is an input or
        cannot be made, or neither an output nor a suffix.
    """
    _check(inputs, naming)
    if list(inputs) == [STREAM]:
        output = None if naming.output == STREAM else _output_file(naming)
        return [Job(None, output, named=True)]
    pictures = restore_inputs.select(found, inputs, kinds.is_picture, "pictures")
    single = len(inputs) == 1 and pictures[0].named
    if naming.output == STREAM:
        if not single:
            raise UserError("--output -: takes a single picture; expected a folder for several.")
        return [Job(pictures[0].path, None)]
    if single and naming.output is not None and _is_file_name(naming.output):
        output = _output_file(naming)
        job = _with_extras(pictures[0].path, output, naming, Record(output.parent))
        jobs = [dataclasses.replace(job, named=True)]
    else:
        folder = _output_folder(naming)
        kept = without_results(pictures, folder, naming.suffix)
        record_of = records(folder)
        jobs = []
        for entry in kept:
            place = folder / entry.below if folder else entry.path.parent
            jobs.append(_job(entry.path, place, naming, record_of(place)))
    jobs = _once(jobs)
    check_outputs([(job.picture, job.outputs) for job in jobs])
    return jobs


def _check(inputs, naming):
    if naming.output is None and not naming.suffix:
        raise UserError(
            "--output: missing; expected the folder for the restored pictures, or --suffix to "
            "write them beside the inputs."
        )
    check_suffix(naming.suffix)
    if STREAM in inputs and (
        naming.output is None or (naming.output != STREAM and not _is_file_name(naming.output))
    ):
        raise UserError("-: standard input has no name; expected --output - or a picture file.")
    for flag in ("strip", "disagreement"):
        if getattr(naming, flag) and STREAM in (naming.output, *inputs):
            raise UserError(f"--{flag}: writes a file; expected no standard input or output.")


def check_suffix(suffix: str) -> None:
    """Checks --suffix.

    Args:
      suffix: its value.

    Raises:
      UserError: it has a slash.
    """
    if os.sep in suffix or "/" in suffix:
        raise UserError(f"--suffix {suffix}: expected a part of a file name.")


def _is_file_name(output):
    return kinds.is_picture(output) and not Path(output).is_dir()


def _output_file(naming):
    """--output as a file."""
    path = Path(naming.output)
    if naming.suffix:
        raise UserError(
            f"--suffix: --output {path} names the file; expected a folder, or no suffix."
        )
    if naming.format and kinds.ending(path) != f".{naming.format}":
        raise UserError(f"--format {naming.format}: --output {path} has another ending.")
    return path


def _output_folder(naming):
    if naming.output is None:
        return None
    folder = Path(naming.output)
    if _is_file_name(folder):
        raise UserError(f"--output {folder}: names one picture; expected a folder for several.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder}: is a file; expected a folder.")
    return folder


def records(folder: Path | None) -> Callable[[Path], Record]:
    """Returns a function from a folder of results to its record.

    Args:
      folder: the output folder, which has one record for all below it; None for results beside the
        inputs, where each folder has its own.
    """
    return functools.cache(lambda place: Record(folder or place))


def _job(picture, folder, naming, record):
    ending = f".{naming.format}" if naming.format else picture.suffix
    return _with_extras(picture, folder / f"{picture.stem}{naming.suffix}{ending}", naming, record)


def _with_extras(picture, output, naming, record):
    wanted = {STRIP: naming.strip, DISAGREEMENT: naming.disagreement}
    extras = [
        output.with_name(f"{picture.stem}{name}.png") if asked else None
        for name, asked in wanted.items()
    ]
    return Job(picture, output, *extras, record=record)


def _once(jobs):
    """Leaves out repeated jobs: the same input under a link, with the same output."""
    kept: dict[tuple[Path, str], Job] = {}
    for job in jobs:
        kept.setdefault((job.output, os.path.realpath(job.picture)), job)
    return list(kept.values())


def without_results(found: Sequence[Entry], folder: Path | None, suffix: str) -> list[Entry]:
    """Leaves out results that an earlier run wrote beside its inputs; one message names them.

    They are known by their names where this run would write such names itself. Otherwise their
    folder's record knows them: "a_sharp.png" is a result of "a.png" if it is recorded, unchanged,
    and "a.png" is not. So a folder that holds nothing but results is restored as any other.

    Args:
      found: pictures or clips.
      folder: the results' folder; None for beside the inputs.
      suffix: of the results' names.
    """
    by_name: dict[Path, list[Entry]] = {}
    for entry in found:
        by_name.setdefault(entry.path.with_suffix(""), []).append(entry)
    record_of = records(None)

    @functools.cache
    def is_recorded(entry):
        places = [entry.path.parent, *entry.path.parents[1 : len(entry.below.parts) + 1]]
        return any(record_of(place).owns(entry.path) for place in places)

    def is_named_so(entry):
        path, stem = entry.path, entry.path.stem
        beside = folder is None or os.path.realpath(folder / entry.below) == entry.place[0]
        extras = (STRIP, DISAGREEMENT) if path.suffix == ".png" else ()
        sources = [stem.removesuffix(extra) for extra in extras if stem.endswith(extra)]
        sources += [stem.removesuffix(suffix)] if suffix and stem.endswith(suffix) else []
        return beside and any(s and path.with_name(s) in by_name for s in sources)

    def is_recorded_beside(entry):
        stem = entry.path.stem
        shorter = [entry.path.with_name(stem[:end]) for end in range(1, len(stem))]
        sources = [source for name in shorter for source in by_name.get(name, [])]
        return any(not is_recorded(source) for source in sources) and is_recorded(entry)

    def is_result(entry):
        return is_named_so(entry) or is_recorded_beside(entry)

    results = [entry for entry in found if is_result(entry)]
    if results:
        named = ", ".join(entry.path.name for entry in results[:_NAMED])
        more = ", …" if len(results) > _NAMED else ""
        what = "result" if len(results) == 1 else "results"
        logger.info("left out %d %s of an earlier run (%s%s)", len(results), what, named, more)
    return [entry for entry in found if entry not in results]


def check_outputs(outputs: Iterable[tuple[Path | None, Sequence[Path]]]) -> None:
    """Checks that every output can be written and none is an input or another's output.

    Args:
      outputs: (input, its outputs); None for standard input.

    Raises:
      UserError: names the first output that cannot.
    """
    outputs = list(outputs)
    inputs = {os.path.realpath(source) for source, _ in outputs if source is not None}
    taken: dict[Path, Path] = {}
    for source, paths in outputs:
        for path in paths:
            if len(os.fsencode(path.name)) > _LONGEST_NAME:
                raise UserError(
                    f"{path.name}: is too long for a file name ({len(os.fsencode(path.name))} "
                    f"bytes, {_LONGEST_NAME} at most); rename {source}, or leave --suffix out."
                )
            if os.path.realpath(path) in inputs:
                raise UserError(f"{path}: is an input; choose another --output folder.")
            if path in taken:
                raise UserError(
                    f"{source}: would be written to {path}, like {taken[path]}; restore them in "
                    "two runs."
                )
            if path.is_dir():
                raise UserError(f"{path}: is a folder; the restored file needs this name.")
            taken[path] = source
    for folder in {path.parent: None for path in taken}:
        disk.check_folder(folder)
