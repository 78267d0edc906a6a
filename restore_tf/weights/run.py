"""The weights of a run: read into a network, by the variables' names."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.experiments.run_directory import (
    BEST,
    FIT_STATE,
    FOLDER,
    HALF,
    listed_steps,
    named_steps,
)
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger
from restore_tf.system.record import sha256


def by_path(model, variables) -> dict:
    """Returns {path within the model: TensorFlow variable} of some of a built model's variables.

    tf.train.Checkpoint(model=…) silently leaves out every layer that a Keras 3 layer keeps in a
    list; naming each variable leaves out none. The model's own path may carry a counter, or begin
    with the chain that it is a link of.

    Args:
      model: the built model.
      variables: some of its variables.

    Raises:
      ValueError: two variables have the same path.
    """
    return {path: variable.value for path, variable in _named(model, variables).items()}


def keras_by_path(model) -> dict:
    """Returns {path within the model: Keras variable} of a built model's variables.

    Args:
      model: the built model.

    Raises:
      ValueError: two variables have the same path.
    """
    return _named(model, model.variables)


def _named(model, variables):
    named = {_inside(model, variable): variable for variable in variables}
    if len(named) != len(variables):
        raise ValueError("two variables of one path; give the layers names of their own.")
    return named


def _inside(model, variable):
    """A variable's path within a model; some have a path of their own from their construction."""
    owner = f"{model.path}/"
    path = variable.path
    return path.removeprefix(owner) if path.startswith(owner) else path.partition("/")[2]


def load_weights(workdir: str | os.PathLike, model, which: str = "best") -> None:
    """Loads a run's weights into a built model.

    Args:
      workdir: the run directory.
      model: the network that `experiment.json` describes; of a chain that lists runs, its links
        get theirs.
      which: "best" or "latest".

    Raises:
      UserError: there is no such checkpoint yet, or it is damaged or of another network.
    """
    if which not in ("best", "latest"):
        raise UserError(f"--checkpoint {which}: expected best or latest.")
    if any(link.run for link in model.links):
        for link in model.links:
            if link.run:
                load_weights(link.run, link, which)
        return
    if which == "latest":
        _load_latest(Path(workdir), model)
        return
    path = Path(workdir) / BEST
    if not path.is_file() and (Path(workdir) / HALF).is_file():
        _load_half(Path(workdir) / HALF, model)
        return
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


def weights_digest(workdir: str | os.PathLike) -> str:
    """Returns the SHA-256 of a run's best weights, in hexadecimal digits.

    Args:
      workdir: the run directory.

    Raises:
      UserError: it has no weights yet.
    """
    for name in (BEST, HALF):
        path = Path(workdir) / name
        if path.is_file():
            return sha256(path)
    raise UserError(f"{workdir}: has no {BEST} yet; train it longer.")


def save_half(workdir: str | os.PathLike, model) -> None:
    """Saves a network's weights as float16 arrays under their variables' paths: half the size.

    The same weights give the same bytes.

    Args:
      workdir: the run directory; `load_weights` takes the file where there is no `BEST`.
      model: the network.

    Raises:
      UserError: a weight that float16 cannot hold.
    """
    arrays = {name: np.asarray(value) for name, value in by_path(model, model.variables).items()}
    for name, array in arrays.items():
        if not np.all(np.abs(array) <= np.finfo(np.float16).max):
            raise UserError(f"{name}: has values beyond float16; nothing was written.")
    with (
        atomic_path(Path(workdir) / HALF) as temporary,
        # Not compressed: that saves a twelfth, and the bytes would depend on zlib's version.
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, array in sorted(arrays.items()):
            buffer = io.BytesIO()
            np.save(buffer, array.astype(np.float16), allow_pickle=False)
            # A fixed date, so that the bytes depend on the weights alone.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(member, buffer.getvalue())


def _load_half(path, model):
    """Reads what `save_half` wrote; all weights or none."""
    variables = by_path(model, model.variables)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}).") from None
    for name, variable in variables.items():
        if name not in arrays or arrays[name].shape != tuple(variable.shape):
            raise UserError(f"{path}: weights of another network (of {name}).")
    for name, variable in variables.items():
        variable.assign(arrays[name].astype(np.float32))


def _load_latest(workdir, model):
    if (workdir / FOLDER / FIT_STATE).exists():
        load_fit_state(workdir, {"model": _as_saved(model, model.variables)})
        weights = _as_saved(model, model.trainable_variables)
        load_fit_state(workdir, {"average": weights}, optional=True)
        return
    import tensorflow as tf

    for path in _newest_first(workdir):
        checkpoint = tf.train.Checkpoint(model=by_path(model, model.variables))
        if not _try_restore(checkpoint, path, partial=True):
            continue
        if any(name.startswith("average/") for name, _ in tf.train.list_variables(path)):
            average = tf.train.Checkpoint(average=by_path(model, model.trainable_variables))
            _try_restore(average, path, partial=True)
        return
    raise UserError(f"{workdir / FOLDER}: holds no readable checkpoint; train first.")


def _as_saved(model, variables):
    """{path that a training of this model alone has: variable}."""
    return {f"{model.name}/{_inside(model, variable)}": variable for variable in variables}


def _newest_first(workdir):
    folder = workdir / FOLDER
    steps = listed_steps(folder)
    if not steps:
        steps = named_steps(folder)
        if steps:
            logger.warning(
                "%s: missing or damaged; going by the files' names.", folder / "checkpoint"
            )
    return [str(folder / f"ckpt-{step}") for step in reversed(steps)]


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
        logger.warning("%s: damaged checkpoint, trying an older one (%s).", path, reason)
        return False
    return True


def load_fit_state(
    workdir: str | os.PathLike, groups, optional: bool = False
) -> dict[str, float] | None:
    """Restores what `training.checkpoints.ArrayCheckpoints` saved; returns its numbers.

    Args:
      workdir: the run directory.
      groups: {group: {path: variable}} to restore.
      optional: skip groups that were not saved.

    Returns:
      {name: number} of the training's progress, or None where nothing was saved.

    Raises:
      UserError: it is damaged, or of another network.
    """
    path = Path(workdir) / FOLDER / FIT_STATE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for group, variables in groups.items():
                if optional and not any(name.startswith(f"{group}/") for name in arrays.files):
                    continue
                for name, variable in variables.items():
                    variable.assign(arrays[f"{group}/{name}"])
            prefix = "progress/"
            return {
                name.removeprefix(prefix): arrays[name].item()
                for name in arrays.files
                if name.startswith(prefix)
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: damaged, or of another network ({reason}).") from None
