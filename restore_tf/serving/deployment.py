"""Writes deployment files for TensorFlow Serving: Docker, Kubernetes, curl."""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path

IMAGE_VERSION = "2.21.0"  # of tensorflow-serving-api, which the tests run with
FILES = (
    "README.md",
    "models.config",
    "batching.config",
    "docker-compose.yml",
    "kubernetes.yaml",
    "client.sh",
)
_EXECUTABLE = ("client.sh",)
_INCLUDE = re.compile(r"^( *)@INCLUDE ([\w.]+)@$", re.MULTILINE)


def write(
    directory: str | os.PathLike,
    model_name: str = "restore_tf",
    *,
    concurrent: int = 1,
    queued: int = 32,
    memory_gib: int = 8,
) -> list[Path]:
    """Writes DIR/serving with everything that TensorFlow Serving needs beside DIR/saved_model.

    Args:
      directory: the export's folder, DIR; it must exist. Files of an earlier call are replaced.
      model_name: the model's name in requests.
      concurrent: computations at the same time, 1 or more. One already uses every core; each takes
        its own memory.
      queued: pictures that wait, 1 or more; further ones are refused, and clients try again.
      memory_gib: the container's memory limit, in GiB.

    Returns:
      The files' paths.

    Raises:
      UserError: a name with other characters than letters, digits, `_`, `-` and `.`, or numbers
        below 1.
    """
    check_name(model_name)
    if min(concurrent, queued, memory_gib) < 1:
        raise UserError("concurrent, queued and memory_gib: expected numbers from 1.")
    values = {
        "MODEL_NAME": model_name,
        "LABEL": _label(model_name),
        "IMAGE_VERSION": IMAGE_VERSION,
        "CONCURRENT": str(concurrent),
        "QUEUED": str(queued),
        "MEMORY_GIB": str(memory_gib),
    }
    folder = Path(directory) / "serving"
    folder.mkdir(exist_ok=True)
    for name in FILES:
        with atomic_path(folder / name) as temporary:
            temporary.write_text(_fill(name, values), encoding="utf-8", newline="\n")
        if name in _EXECUTABLE:
            (folder / name).chmod((folder / name).stat().st_mode | 0o111)
    return [folder / name for name in FILES]


def check_name(model_name: str) -> None:
    """Checks that TensorFlow Serving and addresses accept a name.

    Args:
      model_name: letters, digits, `_`, `-` and `.`, beginning with a letter or digit; 1 to 63.

    Raises:
      UserError: another name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", model_name):
        raise UserError(
            f"model name {model_name!r}: expected letters, digits, '_', '-' and '.', 63 at most."
        )


def _fill(name, values):
    """A template with its values, and with the other files that it includes, indented."""
    text = (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")

    def include(found):
        lines = _fill(found[2], values).splitlines()
        return "\n".join(found[1] + line if line else line for line in lines)

    text = _INCLUDE.sub(include, text)
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _label(name):
    """A name as Kubernetes takes it (RFC 1123): lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
