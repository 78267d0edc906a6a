"""Checkpoints of a run: `best.weights.h5` for use, `checkpoints/` to resume from."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from restore_tf.errors import UserError
from restore_tf.files import atomic_path

BEST = "best.weights.h5"
FOLDER = "checkpoints"
FIT_STATE = "fit_state.npz"  # of trainings on Keras' other backends
_KEPT = 2  # the newest, and the one before in case the newest is damaged


def load_weights(workdir: str | os.PathLike, model, which: str = "best") -> None:
    """Loads a run's weights into a built model.

    Args:
      workdir: the run directory.
      model: the network that `experiment.json` describes.
      which: "best" or "latest".

    Raises:
      UserError: there is no such checkpoint yet, or it is damaged or of another network.
    """
    if which not in ("best", "latest"):
        raise UserError(f"--checkpoint {which}: expected best or latest.")
    if which == "latest":
        _load_latest(Path(workdir), model)
        return
    path = Path(workdir) / BEST
    if not path.is_file():
        raise UserError(
            f"{path}: not there yet; it is written at the first validation. "
            "Train longer, or pass --checkpoint latest."
        )
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise many kinds for damaged or foreign files
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: damaged, or weights of another network ({reason}).") from None


def _load_latest(workdir, model):
    if (workdir / FOLDER / FIT_STATE).exists():
        load_fit_state(workdir, {"model": model.variables})
        return
    import tensorflow as tf

    from restore_tf.state import by_path

    for path in _newest_first(workdir):
        checkpoint = tf.train.Checkpoint(model=by_path(model.variables))
        if not _try_restore(checkpoint, path, partial=True):
            continue
        if any(name.startswith("average/") for name, _ in tf.train.list_variables(path)):
            average = tf.train.Checkpoint(average=by_path(model.trainable_variables))
            _try_restore(average, path, partial=True)
        return
    raise UserError(f"{workdir / FOLDER}: holds no readable checkpoint; train first.")


def _newest_first(workdir):
    import tensorflow as tf

    state = tf.train.get_checkpoint_state(str(workdir / FOLDER))
    return list(reversed(state.all_model_checkpoint_paths)) if state else []


def _try_restore(checkpoint, path, partial=False):
    import tensorflow as tf

    try:
        status = checkpoint.restore(path)
        status.assert_existing_objects_matched()
        if partial:
            status.expect_partial()
        else:
            status.assert_consumed()
    except (tf.errors.OpError, ValueError, AssertionError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        warnings.warn(f"{path}: damaged checkpoint, trying an older one ({reason}).", stacklevel=3)
        return False
    return True


class Checkpoints:
    """Saves and restores the whole `State` of a training.

    Args:
      workdir: the run directory.
      state: the `State`.
      writes: whether this process writes files; under several workers only the chief does.
    """

    def __init__(self, workdir: str | os.PathLike, state, writes: bool = True):
        import tensorflow as tf

        self.workdir = Path(workdir)
        self._state = state
        self._writes = writes
        self._checkpoint = tf.train.Checkpoint(**state.saved())
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(self.workdir / FOLDER), max_to_keep=_KEPT
        )

    def restore(self) -> bool:
        """Restores the newest readable checkpoint; returns whether there is one.

        Raises:
          UserError: there are checkpoints and none can be read.
        """
        paths = _newest_first(self.workdir)
        if any(_try_restore(self._checkpoint, path) for path in paths):
            return True
        if paths:
            raise UserError(
                f"{self.workdir / FOLDER}: none of its checkpoints can be resumed from; "
                "start again with another --workdir."
            )
        return False

    def save(self) -> None:
        """Saves the state; TensorFlow renames the files when they are whole.

        Raises:
          OSError, tf.errors.OpError: it cannot be written; what was written so far is removed.
        """
        if not self._writes:
            return
        step = int(self._state.step.numpy())
        try:
            self._manager.save(checkpoint_number=step)
        except BaseException:
            self._remove_parts(step)
            raise

    def save_best(self) -> None:
        """Saves the model's weights as `best.weights.h5`."""
        if self._writes:
            with atomic_path(self.workdir / BEST, suffix=".weights.h5") as temporary:
                self._state.model.save_weights(temporary)

    def _remove_parts(self, step):
        """Removes what a failed save left: on a full disk it would be in the way."""
        prefix = f"ckpt-{step}"
        saved = [Path(path).name for path in self._manager.checkpoints]
        for path in (self.workdir / FOLDER).glob(f"{prefix}*"):
            if path.name.partition(".")[0] in saved:
                continue
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def save_fit_state(workdir: str | os.PathLike, groups, numbers) -> None:
    """Saves a training on any Keras backend, as arrays under the variables' paths.

    Args:
      workdir: the run directory.
      groups: {group: list of Keras variables}.
      numbers: {name: number} of its progress.
    """
    arrays = {
        f"{group}/{variable.path}": np.asarray(keras.ops.convert_to_numpy(variable.value))
        for group, variables in groups.items()
        for variable in variables
    }
    arrays |= {f"progress/{name}": np.asarray(value) for name, value in numbers.items()}
    path = Path(workdir) / FOLDER / FIT_STATE
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, suffix=".npz") as temporary:
        np.savez(temporary, **arrays)


def load_fit_state(workdir: str | os.PathLike, groups) -> dict[str, float] | None:
    """Restores what `save_fit_state` saved into the same variables; returns its numbers.

    None where there is none.

    Raises:
      UserError: it is damaged, or of another network.
    """
    path = Path(workdir) / FOLDER / FIT_STATE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for group, variables in groups.items():
                for variable in variables:
                    variable.assign(arrays[f"{group}/{variable.path}"])
            prefix = "progress/"
            return {
                name.removeprefix(prefix): arrays[name].item()
                for name in arrays.files
                if name.startswith(prefix)
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: damaged, or of another network ({reason}).") from None
