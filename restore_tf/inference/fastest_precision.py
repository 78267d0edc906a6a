"""Number formats that networks compute in, and which is fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
import numpy as np

from restore_tf.system.processor import has_bfloat16

_PROBE = 256  # pixels


def faster(load: Callable[[str], keras.Model]) -> tuple[keras.Model, str]:
    """Chooses between float32 and bfloat16 by measuring.

    Args:
      load: returns the network in "float32" or "bfloat16".

    Returns:
      The network in the faster precision, and a line that says why.
    """
    if not has_bfloat16():
        return load("float32"), "float32 (this processor has no bfloat16 instructions)"
    models = {name: load(name) for name in ("float32", "bfloat16")}
    times = {name: _seconds(model) for name, model in models.items()}
    best = min(times, key=times.__getitem__)
    ratio = times["bfloat16"] / times["float32"]
    return models[best], f"{best} (bfloat16 took {ratio:.2f} of float32's time)"


def _seconds(model):
    images = np.zeros((1, _PROBE, _PROBE, model.channels), np.float32)
    model.restore_padded(images)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        model.restore_padded(images)
        times.append(time.perf_counter() - begin)
    return min(times)
