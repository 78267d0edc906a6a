"""Checkpoints of a run: `best.weights.h5` for use, `checkpoints/` to resume from."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError
from restore_tf.files import atomic_path

BEST = "best.weights.h5"
FOLDER = "checkpoints"
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
    import tensorflow as tf

    for path in _newest_first(workdir):
        if _try_restore(tf.train.Checkpoint(model=_by_path(model.variables)), path, partial=True):
            return
    raise UserError(f"{workdir / FOLDER}: holds no readable checkpoint; train first.")


def _newest_first(workdir):
    import tensorflow as tf

    state = tf.train.get_checkpoint_state(str(workdir / FOLDER))
    return list(reversed(state.all_model_checkpoint_paths)) if state else []


def _by_path(variables) -> dict[str, Any]:
    """Returns {path without the owner's name: TensorFlow variable}.

    tf.train.Checkpoint(model=…) silently leaves out every layer that a Keras 3 layer keeps in a
    list; naming each variable leaves out none. The owner's own name may carry a counter.
    """
    named = {variable.path.partition("/")[2]: variable.value for variable in variables}
    if len(named) != len(variables):
        raise ValueError("two variables of one path; give the layers names of their own.")
    return named


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
    """Saves and restores the whole state of a training.

    The state is the weights, the optimizer (with its step and moments) and the best validation
    PSNR so far. The data's position and every random seed are functions of the step.

    Args:
      workdir: the run directory.
      model: a built network.
      optimizer: a built Keras optimizer.
      writes: whether this process writes files; under several workers only the chief does.
    """

    def __init__(self, workdir: str | os.PathLike, model, optimizer, writes: bool = True):
        import tensorflow as tf

        self.workdir = Path(workdir)
        self._best = tf.Variable(float("-inf"), dtype=tf.float64, trainable=False)
        self._model = model
        self._optimizer = optimizer
        self._writes = writes
        self._checkpoint = tf.train.Checkpoint(
            model=_by_path(model.variables),
            optimizer=_by_path(optimizer.variables),
            best=self._best,
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(self.workdir / FOLDER), max_to_keep=_KEPT
        )

    @property
    def best_psnr(self) -> float:
        """The highest validation PSNR so far, in dB; -inf before the first."""
        return float(self._best.numpy())

    def restore(self) -> int:
        """Restores the newest readable checkpoint; returns its step, 0 where there is none.

        Raises:
          UserError: there are checkpoints and none can be read.
        """
        paths = _newest_first(self.workdir)
        for path in paths:
            if _try_restore(self._checkpoint, path):
                return int(self._optimizer.iterations.numpy())
        if paths:
            raise UserError(
                f"{self.workdir / FOLDER}: none of its checkpoints can be resumed from; "
                "start again with another --workdir."
            )
        return 0

    def save(self, step: int) -> None:
        """Saves the state after `step` steps; TensorFlow renames the files when they are whole."""
        if self._writes:
            self._manager.save(checkpoint_number=step)

    def save_if_best(self, psnr: float) -> bool:
        """Keeps the weights as `best.weights.h5` where this validation PSNR (dB) is the highest."""
        if not psnr > self.best_psnr:
            return False
        self._best.assign(psnr)
        if self._writes:
            with atomic_path(self.workdir / BEST, suffix=".weights.h5") as temporary:
                self._model.save_weights(temporary)
        return True
