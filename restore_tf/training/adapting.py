"""What a network learns by looking at data, once its training is over: `Restorer.adapt`."""

from __future__ import annotations

import os
from collections.abc import Callable

from tqdm import tqdm

from restore_tf.datasets.numpy_pairs import Batches
from restore_tf.experiments import experiment as experiments
from restore_tf.training.checkpoints import save_best
from restore_tf.training.phases import phases
from restore_tf.weights.run import load_weights


class Stopped(Exception):
    """A signal came before the network had seen all that it wants."""


def adapt(experiment, workdir: str | os.PathLike, source, seed: int, stopped: Callable[[], bool]):
    """Adapts the best weights of a run to its training data, and saves them.

    In a network of its own, on one device: what the training holds stays as it is.

    Args:
      experiment: the `Experiment`; samples are crops of its `crop`, not augmented.
      workdir: the run directory.
      source: the training pairs.
      seed: of the samples.
      stopped: whether to give up.

    Returns:
      The adapted network.

    Raises:
      Stopped: `stopped` said so; nothing is saved.
      UserError: a pair that cannot be read, or no best weights.
    """
    model = experiments.build(experiment)
    load_weights(workdir, model)
    model.adapt(_batches(experiment, model, source, seed, stopped))
    save_best(workdir, model)
    return model


def _batches(experiment, model, source, seed, stopped):
    """At most as many samples as the training saw."""
    seen = sum((phase.end - phase.start) * phase.batch for phase in phases(experiment))
    batch = experiment.batch
    steps = max(1, min(model.adapt_samples, seen) // batch)
    settings = {"crop": experiment.crop, "seed": seed}
    settings |= {"channels": model.channels, "output_scale": model.output_scale}
    batches = Batches(source, batch=batch, steps=steps, **settings)
    bar = {"unit": "batch", "disable": None, "leave": False}
    for step in tqdm(range(steps), "adapting", **bar):
        if stopped():
            raise Stopped
        yield batches[step][:2]
