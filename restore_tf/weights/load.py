"""Loads a network with its trained weights: a run directory's, or published ones by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from restore_tf.errors import UserError
from restore_tf.experiments import experiment, papers
from restore_tf.system.log import logger
from restore_tf.weights import published
from restore_tf.weights.run import keras_by_path, load_weights


def load_model(
    workdir: str | os.PathLike | None = None,
    checkpoint: str = "best",
    precision: str = "float32",
    network: Mapping[str, Any] | None = None,
    **options: Any,
):
    """Returns the network of a run directory, with its trained weights.

    Args:
      workdir: a run directory, as train.py and convert.py make them, the name of published weights
        (`restore_tf.weights.published`), or None for those shipped with the package.
      checkpoint: "best", the weights with the highest validation PSNR, or "latest".
      precision: of the layers, "float32" or "bfloat16"; images and the last layer are float32 in
        both.
      network: arguments of the network's constructor in place of the recipe's: options of
        inference, such as {"stages": 1} for the early exit of a network of several stages.
      options: the same by keyword: `load_model(run, stages=1)`; None and False leave the recipe's.

    Returns:
      A `Restorer`, set up for inference.

    Raises:
      UserError: not a run directory, no such checkpoint yet, weights that do not fit, or a network
        without such options.
    """
    from restore_tf.networks.dtype_policy import computing_in

    workdir = published.resolve(workdir)
    recipe, run = experiment.read(workdir)
    given = {name: value for name, value in options.items() if value not in (None, False)}
    arguments = papers.inference_options(recipe, {**(network or {}), **given})
    with computing_in("mixed_bfloat16" if precision == "bfloat16" else precision):
        model = experiment.build(recipe, **arguments)
    load_weights(workdir, model, checkpoint)
    if run.links:
        from restore_tf.weights import chains

        chains.warn_of_changes(run)
    return model.for_inference()


def load_initial(workdir: str | os.PathLike, model) -> None:
    """Loads the best weights of a run into a network, to train it from there.

    What the network has beside them, such as a gate that is new, stays as it is, and a line says
    so.

    Args:
      workdir: the run directory; of a chain that lists runs its links' weights are taken.
      model: a built network of the same kind.

    Raises:
      UserError: as `load_model`; or the run has weights that do not fit or have no place in the
        network.
    """
    if model.links:
        source = load_model(workdir)
        for own, given in zip(model.links, source.links, strict=True):
            own.set_weights(given.get_weights())
        return
    source = experiment.build(experiment.read(workdir)[0])
    load_weights(workdir, source)
    own, given = keras_by_path(model), keras_by_path(source)
    for name, variable in given.items():
        if name not in own or own[name].shape != variable.shape:
            raise UserError(f"--init_from {workdir}: weights of another network (of {name}).")
    for name, variable in given.items():
        own[name].assign(variable)
    if new := dict.fromkeys(name.partition("/")[0] for name in own if name not in given):
        logger.warning("--init_from %s: has no %s; new here.", workdir, ", ".join(new))
