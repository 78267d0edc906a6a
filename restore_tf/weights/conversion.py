"""Converts an authors' checkpoint to a run directory; every weight is read back and compared."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers
from restore_tf.weights.download import sha256
from restore_tf.weights.packing import write_run


@dataclasses.dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    Attributes:
      weights: how many arrays were converted.
      identified: the published network that they are, in words; empty where unknown.
      terms: the licence of such weights, in words.
      non_commercial: whether they may not be used commercially.
    """

    weights: int
    identified: str
    terms: str
    non_commercial: bool


def convert(
    model: str,
    task: str,
    checkpoint: str | os.PathLike,
    output: str | os.PathLike,
    overrides: Sequence[str] = (),
    network: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Converted:
    """Converts a checkpoint.

    Args:
      model: the paper's model, see `papers`.
      task: one of the tasks of the paper's converter, such as "deblurring".
      checkpoint: the authors' file or files, as the converter names them.
      output: the run directory to make.
      overrides: "network.field=value" texts, for networks of another width.
      network: the same as {field: value}; it wins over `overrides`.
      provenance: facts added to the run's record, under "converted".
      half: keep the weights as float16, for a run directory half as large.

    Raises:
      UserError: no such model or task, a checkpoint that cannot be read or is of another network,
        or a folder that cannot be made. Nothing is written then.
    """
    paper = papers.converter(model)
    if task not in paper.TASKS:
        raise UserError(f"--task {task}: {model} has {papers.listed(paper.TASKS, task)}.")
    recipe = experiments.load_recipe(model, paper.TASKS[task])
    recipe = experiments.override(recipe, overrides)
    recipe = dataclasses.replace(recipe, network={**recipe.network, **(network or {})})
    built = experiments.build(recipe)
    paper.load_checkpoint(built, checkpoint)
    source = {
        "files": {file.name: sha256(file) for file in paper.files(checkpoint)},
        "terms": paper.TERMS,
        "identified": paper.identify(built),
        **(provenance or {}),
    }
    run = experiments.Run(converted=source, overrides=tuple(overrides))
    write_run(built, recipe, run, output, half)
    return Converted(len(built.weights), source["identified"], paper.TERMS, paper.NON_COMMERCIAL)
