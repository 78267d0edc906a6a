"""Measures in a few steps whether a training is faster in mixed_bfloat16 than in float32."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable

import keras
import numpy as np

from restore_tf.datasets.sources import MemorySource
from restore_tf.system.processor import has_bfloat16
from restore_tf.training.phases import phases

_CANDIDATES = ("float32", "mixed_bfloat16")
_WARM_UP, _STEPS = 2, 10
_PAIRS = 4


def faster(
    make_engine: Callable, experiment, options, clock: Callable[[], float] = time.perf_counter
) -> tuple[str, str]:
    """Chooses between float32 and mixed_bfloat16 by ten steps of each on one batch of noise.

    Nothing of these steps stays: the networks are thrown away and nothing is written. Several
    workers must call it together; the chief's times decide for all.

    Args:
      make_engine: returns the engine (see `engine.Engine`) of (experiment, `Options`).
      experiment: the `Experiment`.
      options: the training's `Options`; its precision is replaced.
      clock: in seconds.

    Returns:
      The precision, and a line that says why.
    """
    if not (has_bfloat16() or _accelerated()):
        return "float32", "float32 (this processor has no bfloat16 instructions)"
    seconds = []
    for precision in _CANDIDATES:
        tried = dataclasses.replace(options, precision=precision, resume=False)
        engine = make_engine(experiment, tried)
        with engine.failures():
            seconds.append(_seconds(engine, clock))
            seconds = [float(value) for value in engine.agreed(seconds)]
        # Names of layers are counted anew: those of checkpoints must not depend on this.
        keras.backend.clear_session()
    ratio = seconds[1] / seconds[0]
    chosen = _CANDIDATES[ratio < 1]
    return chosen, f"{chosen} ({_STEPS} steps in bfloat16 took {ratio:.2f} of float32's time)"


def _seconds(engine, clock):
    """Seconds of ten steps on one batch, after the first ones have compiled them."""
    keras.utils.set_random_seed(engine.options.seed)
    phase = phases(engine.experiment)[0]
    with tempfile.TemporaryDirectory() as nowhere:
        engine.start(nowhere)
        batches = engine.batches(_noise(phase.crop, engine.state.model.output_scale), phase, 0)
        batch = next(batches)
        engine.read([engine.step(batch) for _ in range(_WARM_UP)])
        begin = clock()
        engine.read([engine.step(batch) for _ in range(_STEPS)])
        end = clock()
        batches.close()
    return end - begin


def _noise(side, scale):
    """Pairs of noise, as large as the crops."""
    random = np.random.default_rng(0)
    shapes = (side, side, 3), (scale * side, scale * side, 3)
    pairs = [[random.integers(0, 256, shape, np.uint8) for shape in shapes] for _ in range(_PAIRS)]
    return MemorySource([f"noise{number}" for number in range(_PAIRS)], pairs, scale)


def _accelerated():
    """Whether Keras computes on a GPU or TPU, which has its own number formats."""
    if keras.backend.backend() != "tensorflow":
        return any(not name.startswith("cpu") for name in keras.distribution.list_devices())
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
