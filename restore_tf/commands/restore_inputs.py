"""Finds the input files of `restore.py` and `restore-tf client`, each once."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.pictures import kinds
from restore_tf.system import folders
from restore_tf.system.log import logger

STREAM = "-"  # standard input or output


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file among the inputs.

    Attributes:
      path: the file.
      below: its folder, relative to the input that it was found through.
      source: that input, as it was given.
      named: whether the command line names the file itself, not its folder or a pattern.
    """

    path: Path
    below: Path
    source: str
    named: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """(real folder, name), equal for two entries of one file in one place."""
        return os.path.realpath(self.path.parent), self.path.name


def entries(
    inputs: Sequence[str], output: str | None = None, recursive: bool = False
) -> list[Entry]:
    """Lists all files among the inputs, each once, before the work begins.

    Sub-folders below a folder, or below the part of a pattern before its first wildcard, are kept
    below the output.

    Args:
      inputs: files, folders, glob patterns ("photos/**/*.jpg"), or "-" alone.
      output: the results' file or folder; an output folder within an input folder is skipped.
      recursive: take the files of sub-folders too.

    Raises:
      UserError: no inputs, or a missing one.
    """
    if not inputs:
        raise UserError("no pictures; expected the paths of pictures or folders.")
    if STREAM in inputs:
        if len(inputs) > 1:
            raise UserError("-: standard input cannot be combined with other pictures.")
        return []
    found: dict[tuple[str, str], Entry] = {}
    for text in dict.fromkeys(inputs):
        for entry in _find(text, output, recursive):
            found.setdefault(entry.place, entry)
    return list(found.values())


def select(
    found: Iterable[Entry], inputs: Sequence[str], takes: Callable[[Path], bool], what: str
) -> list[Entry]:
    """Returns the entries that a command takes; one warning names the others.

    Args:
      found: from `entries`.
      inputs: the files, folders and patterns of the command line.
      takes: `kinds.is_picture` or `kinds.is_clip`.
      what: "pictures" or "clips".

    Raises:
      UserError: a file of the command line is of another kind, or an input has none of this kind.
    """
    taken, left_out = [], []
    for entry in found:
        if takes(entry.path):
            taken.append(entry)
        elif entry.named:
            raise UserError(_refusal(entry.path, what))
        else:
            left_out.append(entry)
    for text in dict.fromkeys(inputs):
        if text != STREAM and not any(entry.source == text for entry in taken):
            _check_not_empty(text, [e for e in left_out if e.source == text], taken, what)
    line = kinds.describe_left_out(entry.path for entry in left_out)
    if line is not None:
        clips = any(kinds.is_clip(entry.path) for entry in left_out)
        hint = '; restore clips in a separate run: "photos/*.mp4"' if clips else ""
        logger.warning("%s%s.", line, hint)
    return taken


def _refusal(path, what):
    if what == "pictures" and not kinds.is_clip(path):
        return kinds.unknown_ending(path)
    others = "clips" if kinds.is_clip(path) else "pictures" if kinds.is_picture(path) else "files"
    return f"{path}: is not one of the {what} given with it; restore {others} in a separate run."


def _check_not_empty(text, left_out, taken, what):
    folder = Path(text)
    line = kinds.describe_left_out(entry.path for entry in left_out)
    if folder.is_dir():
        if any(_is_below(entry.path, folder) for entry in taken):
            return  # found through another input
        deep = any(entry.below != Path() for entry in left_out)
        if not deep and any(place.is_dir() for place in folder.iterdir()):
            hint = "--recursive looks into sub-folders"
            line = f"{line}; {hint}" if line else hint
        endings = ", ".join(kinds.PICTURES if what == "pictures" else kinds.CLIPS)
        raise UserError(f"{text}: has no {what} ({endings}){f'; {line}' if line else ''}.")
    matched = any(_matches(entry.path.parts, folder.parts) for entry in taken)
    if glob.has_magic(text) and not folder.exists() and not matched:
        raise UserError(f"{text}: matches no {what}{f'; {line}' if line else ''}.")


def _is_below(path, folder):
    return Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder))


def _find(text, output, recursive) -> Iterator[Entry]:
    """Yields the files of one input."""
    path = Path(text)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:  # a name too long, say
        raise UserError(f"{path}: no such file or folder ({error.strerror}).") from None
    if is_folder:
        for below, files in folders.walk(path, recursive, _results_within(path, output)):
            yield from (Entry(file, below, text) for file in files)
    elif exists:
        yield Entry(path, Path(), text, named=True)
    elif path.is_symlink():
        raise UserError(f"{path}: is a broken link; expected a picture or a folder.")
    elif glob.has_magic(text):
        start = _before_wildcards(path)
        for file in _matching(path, start, output):
            yield Entry(file, file.parent.relative_to(start), text)
    else:
        raise UserError(f"{path}: no such file or folder.")


def _results_within(folder, output):
    """The output folder, unless it is the input's."""
    if output in (None, STREAM) or os.path.realpath(output) == os.path.realpath(folder):
        return []
    return [output]


def _before_wildcards(pattern):
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _matching(pattern, start, output):
    """The files that a pattern matches, by name. Each real folder once where it has a `**`."""
    if "**" not in pattern.parts:
        found = [Path(text) for text in sorted(glob.glob(str(pattern)))]
        for path in found:
            if path.is_symlink() and not path.exists():
                logger.warning("%s: is a broken link; left out.", path)
        return [path for path in found if path.is_file() and not path.name.startswith(".")]
    if not start.is_dir():
        return []
    parts = pattern.parts[len(start.parts) :]
    return [
        file
        for below, files in folders.walk(start, True, _results_within(start, output))
        for file in files
        if _matches((*below.parts, file.name), parts)
    ]


def _matches(names, patterns):
    """Whether a path's parts match a pattern's; `**` is any number of folders, or all below."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return not patterns[1:] or any(
            _matches(names[i:], patterns[1:]) for i in range(len(names) + 1)
        )
    first = bool(names) and fnmatch.fnmatchcase(names[0], patterns[0])
    return first and _matches(names[1:], patterns[1:])
