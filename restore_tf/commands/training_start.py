"""The weights that a training starts from: another run's, by path or by a published name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers


def provenance(workdir):
    """Returns the origin of the weights that a run starts from.

    Args:
      workdir: the run directory of these weights.

    Returns:
      {"sha256": their digest, "converted": the record of their conversion, or None}.

    Raises:
      UserError: no run, or no weights in it.
    """
    from restore_tf.weights import chains

    _, run = experiments.read(workdir)
    return {"sha256": chains.digests([str(workdir)])[str(workdir)], "converted": run.converted}


def initial_run(values) -> Path:
    """Returns the run directory that --init_from names, by path or by published weights' name.

    Args:
      values: the command's flags.

    Raises:
      UserError: no such weights.
    """
    from restore_tf.weights import published

    return published.resolve(values.init_from)


def predictor_run(values) -> Path:
    """Returns the run directory that --init_predictor names, by path or by published weights' name.

    Args:
      values: the command's flags.

    Raises:
      UserError: no such weights.
    """
    from restore_tf.weights import published

    return published.resolve(values.init_predictor)


def with_predictor(experiment, workdir):
    """Returns the experiment with another run's network as its first pass.

    Args:
      experiment: to train.
      workdir: the other run's directory.

    Raises:
      UserError: its paper takes none, or the run has no weights.
    """
    take = getattr(papers.find(experiment.model), "with_predictor", None)
    if take is None:
        raise UserError(
            f"--init_predictor: {experiment.model} takes no other network as its first pass; leave "
            "it out."
        )
    provenance(workdir)  # names a run without weights
    return take(experiment, experiments.read(workdir)[0])


def with_network_of(experiment, workdir):
    """Returns the experiment with another run's network; all other fields stay the recipe's.

    Args:
      experiment: to train.
      workdir: the other run's directory.

    Raises:
      UserError: that network is another paper's.
    """
    source, _ = experiments.read(workdir)
    if experiments.paper_of(source.model) != experiments.paper_of(experiment.model):
        raise UserError(
            f"--init_from {workdir}: holds {source.model}; pass --model {source.model}."
        )
    take = getattr(papers.find(source.model), "fine_tuning", None)
    if take is not None:
        return take(experiment, source)
    return dataclasses.replace(experiment, model=source.model, network=source.network)
