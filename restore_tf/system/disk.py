"""Makes folders and writes files; reports failures in one line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from restore_tf.errors import UserError


def check_folder(folder: str | os.PathLike) -> None:
    """Checks, before long work, that a folder could be made and written to; makes nothing.

    Args:
      folder: the output folder; it need not exist.

    Raises:
      UserError: a file or a broken link is in the way, or there is no permission.
    """
    path = Path(folder)
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    if not path.is_dir():
        problem = "is a file" if path.exists() else "is a link to nothing"
        raise UserError(
            f"{folder}: cannot be made (Not a directory: {path} {problem}); pass another output."
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(
            f"{folder}: cannot be written (no permission for {path}); pass another output."
        )


def make_folder(folder: str | os.PathLike) -> Path:
    """Makes a folder and its missing parents; returns its path.

    Args:
      folder: may exist.

    Raises:
      UserError: it cannot be made: a file is in the way, the disk is full or read-only.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made ({reason(error)}).") from None
    return path


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turns `OSError`s in the block into one-line errors.

    Args:
      path: the file or folder being written, named in the error.

    Raises:
      UserError: writing failed.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({reason(error)}).") from None


def reason(error: BaseException) -> str:
    """Returns an exception's message in one line, such as "No space left on device".

    Args:
      error: of any type.
    """
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
