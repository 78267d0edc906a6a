"""`export.json`: an export folder's artefacts, how they were checked, and their weights' origin."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.system import outputs
from restore_tf.system.files import atomic_path

FILE_NAME = "export.json"
_PACKAGES = ("ai-edge-litert", "tensorflow-serving-api", "openvino")


def write(
    directory: str | os.PathLike,
    workdir: str | os.PathLike,
    weights: str,
    artefacts: Sequence[Mapping[str, Any]],
) -> Path:
    """Adds artefacts to a folder's record; entries of other paths stay.

    Args:
      directory: the export's folder; made if missing.
      workdir: the exported run; its `experiment.json` is copied into the entries.
      weights: which weights, with which options: "best checkpoint, first 2 stages".
      artefacts: entries with a "path" below `directory`; they replace those of the same path.

    Returns:
      The record's path.

    Raises:
      UserError: a damaged record, or a folder that cannot be written.
    """
    path = outputs.make_folder(directory) / FILE_NAME
    run = json.loads((Path(workdir) / experiment.FILE_NAME).read_text(encoding="utf-8"))
    made = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "weights": weights,
        "run": {"workdir": os.fspath(workdir), **run},
        "environment": _environment(),
    }
    entries = {entry["path"]: entry for entry in read(directory)}
    entries |= {entry["path"]: {**entry, "export": made} for entry in artefacts}
    content = {"artefacts": [entries[name] for name in sorted(entries)]}
    with outputs.writing(path), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def read(directory: str | os.PathLike) -> list[dict[str, Any]]:
    """Returns the entries of a folder's record; an empty list where there is none.

    Args:
      directory: the export's folder.

    Raises:
      UserError: the record is damaged, or another program's file.
    """
    path = Path(directory) / FILE_NAME
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["artefacts"]
        return [entry for entry in entries if entry["path"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: damaged ({type(error).__name__}); remove it or pass another --output."
        ) from None


def _environment():
    found = experiment.environment()
    for package in _PACKAGES:
        try:
            found["versions"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
