"""Checkpoints of a run: `best.weights.h5` for use, `checkpoints/` to resume from."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path
from restore_tf.weights.run import (
    BEST,
    FIT_STATE,
    FOLDER,
    _newest_first,
    _try_restore,
    load_fit_state,
)

_KEPT = 2  # the newest, and the one before in case the newest is damaged


class Checkpoints:
    """Saves and restores the whole `State` of a training, on TensorFlow.

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
        self._numbers = {
            name: tf.Variable(number, trainable=False, dtype=_tensor_type(name, number))
            for name, number in state.numbers().items()
        }
        groups = {group: _named(group, found) for group, found in state.saved().items()}
        self._checkpoint = tf.train.Checkpoint(**groups, progress=self._numbers)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(self.workdir / FOLDER), max_to_keep=_KEPT
        )

    def restore(self) -> bool:
        """Restores the newest readable checkpoint; returns whether there is one.

        Raises:
          UserError: there are checkpoints and none can be read, or of several only that of step 0:
            going on from there would replace the best weights by early ones.
        """
        paths = _newest_first(self.workdir)
        for path in paths:
            if not _try_restore(self._checkpoint, path):
                continue
            numbers = {name: variable.numpy() for name, variable in self._numbers.items()}
            if path != paths[0] and not numbers["step"]:
                break
            self._state.set_numbers(numbers)
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
          OSError: it cannot be written; what was written so far is removed.
          tf.errors.OpError: likewise.
        """
        if not self._writes:
            return
        for name, number in self._state.numbers().items():
            self._numbers[name].assign(number)
        try:
            self._manager.save(checkpoint_number=self._state.step)
        except BaseException:
            self._remove_parts(self._state.step)
            raise

    def save_best(self) -> None:
        """Saves the restorer's weights as `best.weights.h5`."""
        if self._writes:
            save_best(self.workdir, self._state.model)

    def _remove_parts(self, step):
        """Removes what a failed save left: on a full disk it would be in the way."""
        prefix = f"ckpt-{step}"
        saved = [Path(path).name for path in self._manager.checkpoints]
        for path in (self.workdir / FOLDER).glob(f"{prefix}*"):
            if path.name.partition(".")[0] in saved:
                continue
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


class ArrayCheckpoints:
    """Saves and restores a `State` on any Keras backend: one file of arrays by variables' paths.

    Args:
      workdir: the run directory.
      state: the `State`.
    """

    def __init__(self, workdir: str | os.PathLike, state):
        self.workdir = Path(workdir)
        self._state = state

    def restore(self) -> bool:
        """Restores the checkpoint; returns whether there is one.

        Raises:
          UserError: it is damaged, or of another network.
        """
        numbers = load_fit_state(self.workdir, self._state.saved())
        if numbers is None:
            return False
        self._state.set_numbers(numbers)
        return True

    def save(self) -> None:
        """Saves the state in place of the one before, once it is written as a whole.

        Raises:
          OSError: it cannot be written.
        """
        arrays = {
            f"{group}/{path}": variable.numpy()
            for group, variables in self._state.saved().items()
            for path, variable in variables.items()
        }
        numbers = self._state.numbers().items()
        arrays |= {f"progress/{name}": np.asarray(number) for name, number in numbers}
        path = self.workdir / FOLDER / FIT_STATE
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, suffix=".npz") as temporary:
            np.savez(temporary, **arrays)

    def save_best(self) -> None:
        """Saves the restorer's weights as `best.weights.h5`."""
        save_best(self.workdir, self._state.model)


def save_best(workdir: str | os.PathLike, model) -> None:
    """Saves a network's weights as a run's `best.weights.h5`.

    Args:
      workdir: the run directory.
      model: the `Restorer`.
    """
    optimizer = getattr(model, "optimizer", None)
    with atomic_path(Path(workdir) / BEST, suffix=".weights.h5") as temporary:
        # Keras would save a compiled network's optimizer along: three times the size.
        model.optimizer = None
        try:
            model.save_weights(temporary)
        finally:
            model.optimizer = optimizer


def _tensor_type(name, number):
    if isinstance(number, int):
        return "int64"
    return "float64" if name.startswith("best_") else "float32"


def _named(group, variables):
    """{name in TensorFlow's checkpoints: TensorFlow variable}: paths without the owner's name.

    The owner's own name may carry a counter. Optimizers keep whole paths: a loss-scaling optimizer
    and the one inside both count iterations.
    """
    whole = group.endswith("optimizer")
    named = {
        path if whole else path.partition("/")[2]: variable.value
        for path, variable in variables.items()
    }
    if len(named) != len(variables):
        raise ValueError("two variables of one path; give the layers names of their own.")
    return named
