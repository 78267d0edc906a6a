"""The weights of a run: read into a network, by the variables' names."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.experiments import experiment, papers
from restore_tf.system.log import logger

BEST = "best.weights.h5"
FOLDER = "checkpoints"
FIT_STATE = "fit_state.npz"  # of trainings on Keras' other backends


def by_path(variables) -> dict:
    """Returns {path without the owner's name: TensorFlow variable}.

    tf.train.Checkpoint(model=…) silently leaves out every layer that a Keras 3 layer keeps in a
    list; naming each variable leaves out none. The owner's own name may carry a counter.
    """
    named = {variable.path.partition("/")[2]: variable.value for variable in variables}
    if len(named) != len(variables):
        raise ValueError("two variables of one path; give the layers names of their own.")
    return named


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
        load_fit_state(workdir, {"model": {v.path: v for v in model.variables}})
        weights = {v.path: v for v in model.trainable_variables}
        load_fit_state(workdir, {"average": weights}, optional=True)
        return
    import tensorflow as tf

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
      optional: leave variables as they are whose group was not saved.

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


def load_model(
    workdir: str | os.PathLike,
    checkpoint: str = "best",
    precision: str = "float32",
    network: Mapping[str, Any] | None = None,
    **options: Any,
):
    """Returns the network of a run directory, with its trained weights.

    Args:
      workdir: a run directory, as train.py and convert.py make them.
      checkpoint: "best", the weights with the highest validation PSNR, or "latest".
      precision: "float32" or "bfloat16": what the layers compute in; images and the last layer are
        float32 in both.
      network: arguments of the network's constructor in place of the recipe's: options of
        inference, such as {"stages": 1} for the early exit of a network of several stages.
      options: the same by keyword: `load_model(run, stages=1)`; None and False leave the recipe's.

    Raises:
      UserError: not a run directory, no such checkpoint yet, weights that do not fit, or a network
        without such options.
    """
    from restore_tf.networks.dtype_policy import computing_in

    recipe, _ = experiment.read(workdir)
    given = {name: value for name, value in options.items() if value not in (None, False)}
    arguments = papers.inference_options(recipe, {**(network or {}), **given})
    with computing_in("mixed_bfloat16" if precision == "bfloat16" else precision):
        model = experiment.build(recipe, **arguments)
    load_weights(workdir, model, checkpoint)
    return model.for_inference()
