"""Files for running the application in a container, or on a host of Gradio pages."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.system import outputs

FILES = ("Dockerfile", "README.md", "app.py.template", "requirements.txt", "dockerignore")
_WRITTEN_AS = {"dockerignore": ".dockerignore", "app.py.template": "app.py"}


def write(folder: str | os.PathLike) -> list[Path]:
    """Writes a Dockerfile and the files of a hosted Space.

    Args:
      folder: created if missing. Files of an earlier call are replaced.

    Returns:
      The files.

    Raises:
      UserError: the folder cannot be written, or has other files of these names.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--write_files {folder}: is a file; expected a folder.")
    source = importlib.resources.files("restore_tf.app").joinpath("templates/deployment")
    names = [_WRITTEN_AS.get(name, name) for name in FILES]
    with outputs.staged(folder, names) as staging:
        for name, target in zip(FILES, names, strict=True):
            text = source.joinpath(name).read_text(encoding="utf-8")
            (staging / target).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in names]
