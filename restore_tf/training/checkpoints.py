"""Checkpoints of a run: `best.weights.h5` for use, `checkpoints/` to resume from."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import keras
import numpy as np

from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path
from restore_tf.weights.run import BEST, FIT_STATE, FOLDER, _newest_first, _try_restore

_KEPT = 2  # the newest, and the one before in case the newest is damaged


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
