"""Run directories of weights alone: what conversions make, and what is left of a training to share.

A training's own folder holds checkpoints with the optimizer's state, samples and curves, and the
paths of the machine that made it.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import skimage.data

from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.run_directory import BEST, HALF, Run
from restore_tf.system import outputs
from restore_tf.weights.run import load_weights, save_half

_SIDE = 128  # pixels, at least, of the picture that is restored before and after


@dataclasses.dataclass(frozen=True)
class Packed:
    """The result of packing.

    Attributes:
      weights: how many numbers were packed.
      bytes: of the weights' file.
      difference: the largest difference of a restored picture to that of the run, of its range 1.
    """

    weights: int
    bytes: int
    difference: float


def pack(workdir: str | os.PathLike, output: str | os.PathLike) -> Packed:
    """Writes a run's best weights as float16, and what describes the network, to share them.

    The record loses the paths of this machine; it keeps the recipe, the overrides and the digests
    of what the training began with.

    Args:
      workdir: the run directory.
      output: the run directory to make.

    Raises:
      UserError: not a run directory, one without weights yet, a chain of other runs, weights that
        float16 cannot hold, or a folder that cannot be made. Nothing is written then.
    """
    outputs.check_folder(output)
    if os.path.isdir(output) and os.listdir(output):
        raise UserError(f"{output}: exists; pass another --output.")
    recipe, run = experiments.read(workdir)
    if run.links:
        raise UserError(f"{workdir}: is a chain of other runs; pack {', '.join(run.links)}.")
    model = experiments.build(recipe)
    load_weights(workdir, model)
    write_run(model, recipe, run.without_places(), output, half=True)
    packed = experiments.build(recipe)
    load_weights(output, packed)
    side = -(-_SIDE // model.size_multiple) * model.size_multiple
    picture = skimage.data.astronaut()[:side, :side, : model.channels].astype(np.float32) / 255
    before, after = (each.restore_padded(picture[None]) for each in (model, packed))
    return Packed(
        weights=sum(int(np.prod(variable.shape)) for variable in model.weights),
        bytes=(Path(output) / HALF).stat().st_size,
        difference=float(np.abs(before - after).max()),
    )


def write_run(
    model, recipe: Experiment, run: Run, output: str | os.PathLike, half: bool = False
) -> None:
    """Writes a run directory aside, checks every weight, then puts it into place.

    Args:
      model: the network.
      recipe: what describes it.
      run: what made it.
      output: the run directory to make.
      half: keep the weights as float16.

    Raises:
      UserError: weights that float16 cannot hold, or a folder that cannot be made. Nothing is
        written then.
    """
    with outputs.staged(Path(output)) as staging:
        experiments.write(staging, recipe, run)
        with outputs.writing(output):
            save_half(staging, model) if half else model.save_weights(staging / BEST)
        again = experiments.build(recipe)
        load_weights(staging, again)
        for kept, read in zip(model.weights, again.weights, strict=True):
            expected = kept.numpy().astype(np.float16) if half else kept.numpy()
            if kept.path != read.path or not np.array_equal(expected, read.numpy()):
                raise UserError(f"{kept.path}: read back differently; nothing was written.")
