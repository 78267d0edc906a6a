"""A run directory: the results of a training, a conversion or a download, and its record.

`experiment.json` holds what the recipe fixed (`experiment.Experiment`), what the command decided
(`Run`) and the environment. It describes the weights beside it, so training writes it
when it begins, not before.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system import outputs
from restore_tf.system.files import atomic_path

FILE_NAME = "experiment.json"
BEST = "best.weights.h5"
HALF = "best.weights.npz"  # float16, of weights that come with a package
FOLDER = "checkpoints"
FIT_STATE = "fit_state.npz"  # of trainings on Keras' other backends
AFTER_CHAIN = "after_chain"  # folder of the previous links' pictures, of a link's training
# What a training writes beside its record.
_WRITTEN = (BEST, FOLDER, AFTER_CHAIN, "metrics.csv", "samples", "tensorboard")
_PACKAGES = ("tensorflow", "keras", "numpy", "scikit-image", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True)
class Run:
    """Choices of a command and a machine, as opposed to the recipe.

    Attributes:
      data_dir: folder of the data set, absolute; None where not given.
      degraded_dir: folder of the degraded pictures, absolute; None where not given.
      sharp_dir: folder of the sharp pictures, absolute; None where not given.
      seed: of weights, data order and augmentation.
      precision: of `training.options.PRECISIONS`.
      init_from: run directory that a fine-tuning started from, absolute.
      init_from_weights: {"sha256": of those weights, "converted": as below, of that run}.
      init_predictor: run directory whose network is the frozen first pass, absolute.
      overrides: the --set assignments.
      converted: of converted weights: {"files": {name: SHA-256}, "terms", "identified"}.
      after: of a network trained on what others give: {"links": of their chain, "sha256": {link:
        SHA-256 of its weights}}.
      links: of a chain that lists runs: {link: SHA-256 of its weights when the chain was made}.
      other: what a record holds besides, written by another version; kept.
    """

    data_dir: str | None = None
    degraded_dir: str | None = None
    sharp_dir: str | None = None
    seed: int = 0
    precision: str = "float32"
    init_from: str | None = None
    init_from_weights: Mapping[str, Any] | None = None
    init_predictor: str | None = None
    overrides: tuple[str, ...] = ()
    converted: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    links: Mapping[str, str] | None = None
    other: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Run:
        """Returns the run of a record, of this version or an older one.

        Args:
          values: the record's "run", as `to_json` returns it; unknown names go into `other`.

        Raises:
          TypeError: a value of another type than the field's.
        """
        names = {field.name for field in dataclasses.fields(cls)} - {"other"}
        known = {name: value for name, value in values.items() if name in names}
        other = {name: value for name, value in values.items() if name not in names}
        overrides = known.pop("overrides", None) or ()
        run = cls(**known, overrides=tuple(overrides), other=other)
        for name in ("data_dir", "degraded_dir", "sharp_dir", "init_from", "init_predictor"):
            if not isinstance(getattr(run, name), (str, type(None))):
                raise TypeError(f"{name} is not a path")
        for name in ("init_from_weights", "converted", "after", "links"):
            if not isinstance(getattr(run, name), (Mapping, type(None))):
                raise TypeError(f"{name} is not a mapping")
        if type(run.seed) is not int or not isinstance(run.precision, str):
            raise TypeError("seed or precision is of another type")
        return run

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` takes."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values.pop("other"), **values, "overrides": list(self.overrides)}

    def without_places(self) -> Run:
        """Returns this run without the folders of the machine that made it.

        The links that it was trained after keep their number and the last part of their paths.
        """
        after = self.after
        if after:
            named = {
                link: f"{number} {Path(link).name}" for number, link in enumerate(after["links"], 1)
            }
            digests = {named[link]: digest for link, digest in after["sha256"].items()}
            after = {**after, "links": [named[link] for link in after["links"]], "sha256": digests}
        return dataclasses.replace(
            self,
            data_dir=None,
            degraded_dir=None,
            sharp_dir=None,
            init_from=None,
            init_predictor=None,
            after=after,
        )

    @property
    def origin(self) -> str | None:
        """Where converted weights are from, in words; None for trained ones."""
        if self.converted is None:
            return None
        return f"converted from {', '.join(self.converted['files'])} ({self.converted['terms']})"


def write(workdir: str | os.PathLike, experiment: Mapping[str, Any], run: Run) -> None:
    """Writes the record of a run directory, which is made if missing.

    Args:
      workdir: the run directory.
      experiment: {field: value} of the `Experiment`.
      run: what the machine and the command decided.

    Raises:
      UserError: it cannot be written.
    """
    path = outputs.make_folder(workdir) / FILE_NAME
    content = {
        "format": 1,
        "experiment": dict(experiment),
        "run": run.to_json(),
        "environment": environment(),
    }
    with outputs.writing(path), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(workdir: str | os.PathLike, make) -> tuple[Any, Run]:
    """Reads the record of a run directory.

    Args:
      workdir: the run directory.
      make: takes the experiment's fields as arguments, such as `Experiment`.

    Returns:
      What `make` returned, and the `Run`.

    Raises:
      UserError: not a run directory, or its record is damaged or of another version.
    """
    path = Path(workdir) / FILE_NAME
    if not path.is_file():
        raise UserError(
            f"{workdir}: not a run directory (it has no {FILE_NAME}); train.py makes one."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return make(**content["experiment"]), Run.from_json(content["run"])
    except UserError as error:
        raise UserError(f"{path}: damaged or written by another version ({error}).") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: damaged or written by another version ({type(error).__name__}: {error})."
        ) from None


def checkpoint_step(workdir: str | os.PathLike, tensorflow: bool = True) -> int | None:
    """Returns the step of the newest checkpoint that a training resumes from; None without one.

    Args:
      workdir: the run directory.
      tensorflow: of a training on TensorFlow, else of one on another Keras backend.

    Raises:
      UserError: a checkpoint of another Keras backend that cannot be read.
    """
    folder = Path(workdir) / FOLDER
    if tensorflow:
        steps = listed_steps(folder) or named_steps(folder)
        return steps[-1] if steps else None
    path = folder / FIT_STATE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return int(arrays["progress/step"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path}: damaged; pass another --workdir.") from None


def listed_steps(folder: Path) -> list[int]:
    """Returns the steps of TensorFlow's checkpoints in the order they were saved, by its own list.

    After a damaged checkpoint an earlier step can be the newest.

    Args:
      folder: of the checkpoints. A list that is missing or damaged names none.
    """
    try:
        text = (folder / "checkpoint").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    named = re.findall(r'^all_model_checkpoint_paths: ".*-(\d+)"$', text, re.MULTILINE)
    return [int(step) for step in named]


def named_steps(folder: Path) -> list[int]:
    """Returns the steps of TensorFlow's checkpoints, by their files' names, oldest first.

    Args:
      folder: of the checkpoints.
    """
    names = (re.fullmatch(r"ckpt-(\d+)\.index", path.name) for path in folder.glob("ckpt-*.index"))
    return sorted(int(name[1]) for name in names if name)


def check_for_training(workdir: str | os.PathLike, tensorflow: bool = True) -> None:
    """Checks that a training in this folder replaces nothing but its own files.

    A training saves a checkpoint before its first step. So a folder with weights, or other files
    of a training, and no checkpoint to resume from is another's: converted, published, or copied
    without its checkpoints.

    Args:
      workdir: the run directory, there or not.
      tensorflow: as for `checkpoint_step`.

    Raises:
      UserError: it holds files that the training did not write.
    """
    workdir = Path(workdir)
    outputs.check_folder(workdir)
    _check_kinds(workdir)
    recorded = (workdir / FILE_NAME).exists()
    if recorded and checkpoint_step(workdir, tensorflow) is not None:
        return
    if recorded and checkpoint_step(workdir, not tensorflow) is not None:
        raise UserError(
            f"{workdir}: was trained on another Keras backend, whose checkpoints cannot be resumed "
            "here; set KERAS_BACKEND as then, or pass another --workdir with "
            f"--init_from {workdir}."
        )
    fine_tune = f"to fine-tune them, pass --init_from {workdir} and another --workdir"
    for name in (BEST, HALF):
        if (workdir / name).exists():
            raise UserError(
                f"{workdir}: has weights ({name}) but no checkpoint to resume from; "
                f"{fine_tune if recorded else 'pass another --workdir'}."
            )
    why = (
        "there is no checkpoint to resume from"
        if recorded
        else f"no {FILE_NAME} says that a training made it"
    )
    for name in _WRITTEN:
        # A training was killed while it saved its first checkpoint or computed its pairs.
        if recorded and name in (FOLDER, AFTER_CHAIN):
            continue
        if os.path.lexists(workdir / name):
            raise UserError(f"{workdir / name}: is in the way, and {why}; pass another --workdir.")


def _check_kinds(workdir):
    """Refuses links, and a folder where a training writes a file or the other way round."""
    for name in (FILE_NAME, *_WRITTEN):
        path, is_file = workdir / name, "." in name
        if path.is_symlink():
            raise UserError(f"{path}: is a link, which training does not replace.")
        if path.exists() and not (path.is_file() if is_file else path.is_dir()):
            expected = "file" if is_file else "folder"
            raise UserError(f"{path}: is in the way, expected a {expected}; move it away.")


def abandon(workdir: str | os.PathLike) -> bool:
    """Removes the record of a run directory that holds nothing else; returns whether it did.

    Args:
      workdir: the run directory.
    """
    workdir = Path(workdir)
    if not {path.name for path in workdir.rglob("*")} <= {FILE_NAME, FOLDER}:
        return False
    for folder in workdir.glob(FOLDER):  # TensorFlow creates it early
        folder.rmdir()
    (workdir / FILE_NAME).unlink()
    return True


def environment() -> dict[str, Any]:
    """Returns versions, commit and processor, to be kept beside results."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions,
        "commit": _commit(),
    }


def _commit():
    """The checkout's commit, with "+" behind it for uncommitted changes; None outside of one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")
