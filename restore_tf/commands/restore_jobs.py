"""What `restore.py` is to do: which pictures, and where each goes."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.pictures.files import EXTENSIONS

STREAM = "-"  # standard input or output


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to restore.

    Attributes:
      picture: its file; None for standard input.
      output: the restored one's file; None for standard output.
      strip: the file of the before/after strip, or None.
    """

    picture: Path | None
    output: Path | None
    strip: Path | None = None

    @property
    def name(self) -> str:
        """What to call the picture in messages."""
        return "standard input" if self.picture is None else str(self.picture)

    @property
    def existing(self) -> Path | None:
        """The file that would be overwritten, or None."""
        return next((p for p in (self.output, self.strip) if p is not None and p.exists()), None)


@dataclasses.dataclass(frozen=True)
class Naming:
    """How outputs are named.

    Attributes:
      output: a folder, "-", for a single picture also a file, or None for beside the input.
      suffix: comes between a name and its ending.
      format: the ending to write, without the dot; the input's by default.
      strip: whether before/after strips are wanted.
    """

    output: str | None
    suffix: str = ""
    format: str | None = None
    strip: bool = False


def plan(inputs: Sequence[str], naming: Naming, recursive: bool = False) -> list[Job]:
    """Lists what is to be done, before anything is.

    Args:
      inputs: files, folders, glob patterns ("photos/**/*.jpg"), or "-" alone. Sub-folders below a
        folder, or below what stands before a pattern's first wildcard, are kept below the output.
      naming: how outputs are named.
      recursive: take the pictures of sub-folders too.

    Raises:
      UserError: a missing input, a folder without pictures, two inputs of one name, an output that
        is an input, or no telling where the output goes.
    """
    _check(inputs, naming)
    if list(inputs) == [STREAM]:
        return [Job(None, None if naming.output == STREAM else _output_file(naming))]
    found = [entry for text in inputs for entry in _find(text, naming, recursive)]
    found = list(dict.fromkeys(found))  # a file can be named twice, and match two patterns
    single = len(inputs) == 1 and Path(inputs[0]).is_file()
    if naming.output == STREAM:
        if not single:
            raise UserError("--output -: takes a single picture; expected a folder for several.")
        jobs = [Job(found[0][0], None)]
    elif single and naming.output is not None and _is_file_name(naming.output):
        jobs = [_with_strip(found[0][0], _output_file(naming), naming)]
    else:
        folder = _output_folder(naming)
        jobs = [
            _job(path, folder / below if folder else path.parent, naming) for path, below in found
        ]
    _check_outputs(jobs)
    return jobs


def _check(inputs, naming):
    if not inputs:
        raise UserError("no pictures; expected the paths of pictures or folders.")
    if naming.output is None and not naming.suffix:
        raise UserError(
            "--output: missing; expected the folder for the restored pictures, or --suffix to "
            "write them beside the inputs."
        )
    if os.sep in naming.suffix or "/" in naming.suffix:
        raise UserError(f"--suffix {naming.suffix}: expected a part of a file name.")
    if STREAM in inputs:
        if len(inputs) > 1:
            raise UserError("-: standard input goes alone; expected no other pictures.")
        if naming.output is None or (naming.output != STREAM and not _is_file_name(naming.output)):
            raise UserError("-: standard input has no name; expected --output - or a picture file.")
    if naming.strip and STREAM in (naming.output, *inputs):
        raise UserError("--strip: writes a file; expected no standard input or output.")


def _is_file_name(output):
    return Path(output).suffix.lower() in EXTENSIONS and not Path(output).is_dir()


def _output_file(naming):
    """--output as a file."""
    path = Path(naming.output)
    if naming.suffix:
        raise UserError(
            f"--suffix: --output {path} names the file; expected a folder, or no suffix."
        )
    if naming.format and path.suffix.lower() != f".{naming.format}":
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


def _job(picture, folder, naming):
    ending = f".{naming.format}" if naming.format else picture.suffix
    return _with_strip(picture, folder / f"{picture.stem}{naming.suffix}{ending}", naming)


def _with_strip(picture, output, naming):
    strip = output.with_name(f"{picture.stem}_before_after.png") if naming.strip else None
    return Job(picture, output, strip)


def _find(text, naming, recursive) -> Iterator[tuple[Path, Path]]:
    """Yields (file, its folder below the input) of one input."""
    path = Path(text)
    if path.is_dir():
        found = [p for p in _listing(path, recursive, naming) if _is_picture(p)]
        found = _without_results(found, naming)
        if not found:
            below = "" if recursive else "; --recursive looks into sub-folders"
            raise UserError(f"{path}: has no pictures ({', '.join(EXTENSIONS)}){below}.")
        yield from ((p, p.parent.relative_to(path)) for p in found)
    elif path.exists():
        if path.suffix.lower() not in EXTENSIONS:
            raise UserError(f"{path}: unknown ending; expected one of {', '.join(EXTENSIONS)}.")
        yield path, Path()
    elif glob.has_magic(text):
        start = _before_wildcards(path)
        found = [Path(p) for p in sorted(glob.glob(text, recursive=True))]
        found = _without_results([p for p in found if _is_picture(p)], naming)
        if not found:
            raise UserError(f"{text}: matches no pictures ({', '.join(EXTENSIONS)}).")
        yield from ((p, p.parent.relative_to(start)) for p in found)
    else:
        raise UserError(f"{path}: no such file or folder.")


def _is_picture(path):
    # Hidden files are other programs' notes ("._a.jpg"), or outputs that were never finished.
    hidden = path.name.startswith(".")
    return path.suffix.lower() in EXTENSIONS and not hidden and not path.is_dir()


def _listing(folder, recursive, naming):
    if not recursive:
        return sorted(folder.iterdir())
    output = Path(naming.output).resolve() if naming.output else None
    found = []
    for place, folders, names in os.walk(folder):
        # An output folder within the input's holds results, not pictures to restore.
        folders[:] = [f for f in folders if f[0] != "." and Path(place, f).resolve() != output]
        found += [Path(place, name) for name in names]
    return sorted(found)


def _before_wildcards(pattern):
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _without_results(found, naming):
    """Leaves out what an earlier run with the same --suffix wrote beside its inputs."""
    if naming.output is not None or not naming.suffix:
        return found
    names = {path.with_suffix("") for path in found}
    return [
        path
        for path in found
        if not path.stem.endswith(naming.suffix)
        or path.with_name(path.stem.removesuffix(naming.suffix)) not in names
    ]


def _check_outputs(jobs):
    inputs = {job.picture.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        for path in (job.output, job.strip):
            if path is None:
                continue
            if path.resolve() in inputs:
                raise UserError(f"{path}: is an input; choose another --output folder.")
            if path in taken:
                raise UserError(
                    f"{job.picture}: would be written to {path}, as {taken[path]} is; restore them "
                    "in two runs."
                )
            taken[path] = job.picture
