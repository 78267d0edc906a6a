"""Measures networks in processes of their own: converting leaks memory, and peaks are a process's.

    python -m restore_tf.export.plan.probe JOB.json

For the job see `jobs`.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_RUNS = 20


def prepare(
    networks: Sequence[dict[str, Any]], folder: str, kinds: Sequence[str], seconds: float
) -> list[dict[str, Any]]:
    """Builds networks with random weights, runs them in TensorFlow and converts them.

    Args:
      networks: each with "model", "arguments" (of the constructor) and "size" (height, width).
      folder: existing folder; NUMBER_KIND.tflite are written there.
      kinds: "float32" and "uint8", to convert to.
      seconds: how long each is run in TensorFlow; 0 for not at all.

    Returns:
      For each {"seconds": of one run, where asked for, "failed": {kind: why not converted}}.
    """
    from restore_tf.system.quiet import import_tensorflow

    import_tensorflow()
    from restore_tf.export.plan.rates import Network

    models = [Network("", each["model"], each["arguments"]).build() for each in networks]
    shapes = [
        (1, *each["size"], model.channels) for each, model in zip(networks, models, strict=True)
    ]
    found = [
        {"seconds": _median(functools.partial(model.restore_padded, _picture(shape)), seconds)}
        if seconds
        else {}
        for model, shape in zip(models, shapes, strict=True)
    ]
    for number, (model, shape) in enumerate(zip(models, shapes, strict=True)):
        found[number]["failed"] = _convert(model, shape, Path(folder) / str(number), kinds)
    return found


def _convert(model, shape, place, kinds):
    """Returns {kind: why it did not convert}."""
    from restore_tf.export import prepared
    from restore_tf.export.tflite import convert

    place.mkdir()
    images, scale = _picture(shape), model.output_scale
    reference = images.repeat(scale, axis=1).repeat(scale, axis=2)
    np.savez(place / "crops.npz", degraded=_as_bytes(images), reference=reference)
    failed = {}
    for kind in kinds:
        eight_bit = kind == "uint8"
        name = "saved_model_eight_bit" if eight_bit else "saved_model"
        try:
            prepared.write_saved_model(model, shape[1:3], place / name, eight_bit)
            convert.convert(str(place), kind, f"{place}_{kind}.tflite")
        except Exception as error:  # converters raise many kinds; the other engines go on
            failed[kind] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return failed


def run_file(file: str, seconds: float) -> dict[str, float]:
    """Measures a TFLite file of fixed size.

    Args:
      file: its path.
      seconds: how long to run it, about; 20 runs at most.

    Returns:
      {"seconds": of one run, the median, "bytes_per_pixel": memory that it added to the process}.
    """
    from restore_tf.export.tried import peak_bytes
    from restore_tf.inference.tflite_model import LiteModel

    held = peak_bytes()
    model = LiteModel(file)
    images = _picture((1, *model.size, model.channels))
    run = functools.partial(model.restore_padded, images)
    if model.takes_bytes:
        run = functools.partial(model.run_raw, _as_bytes(images))
    taken = _median(run, seconds)
    pixels = model.size[0] * model.size[1]
    return {"seconds": taken, "bytes_per_pixel": max(1.0, (peak_bytes() - held) / pixels)}


def _picture(shape):
    """Noise from 0 to 1, both of which occur."""
    images = np.random.default_rng(0).random(shape, np.float32)
    images.flat[0], images.flat[-1] = 0, 1
    return images


def _as_bytes(images):
    return np.rint(255 * images).astype(np.uint8)


def _median(run: Callable[[], object], seconds: float) -> float:
    """Seconds of one run, the median after a first one."""
    run()
    times = []
    while not times or (sum(times) < seconds and len(times) < _RUNS):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


if __name__ == "__main__":
    from restore_tf.export import jobs

    sys.exit(jobs.serve(sys.argv[1], {"prepare": prepare, "run_file": run_file}))
