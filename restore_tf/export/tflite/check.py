"""Inspects and runs a TFLite file in a process of its own, which a bad file can abort.

    python -m restore_tf.export.tflite.check JOB.json

For the job see `jobs`. Neither TensorFlow nor Keras is imported.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.export.tflite.contents import contents

_SECONDS = 10.0  # at most, that timing takes once the first frame is done
_FRAMES = 20


def check(
    file: str, folder: str, restored: str, threads: int | None = None, again: bool = False
) -> dict[str, Any]:
    """Runs a file on the crops of `convert.prepare`.

    Args:
      file: the TFLite file, its NAME.json beside it.
      folder: as `prepare`'s.
      restored: file to write the restored crops to, float32 of the crops' shape, as `.npy`.
      threads: as `LiteModel`'s.
      again: also run it on another size, then on the first again; for files of any size.

    Returns:
      operations, custom, dynamic, flex, floats (see `Contents`), input and output (type, shape,
      scale, zero point), ms (median of a frame, after the first), peak_mb (of this process),
      bytes_per_pixel (memory that loading and running added, per pixel), finite (whether all
      outputs are finite numbers).

    Raises:
      UserError: with `again`, other outputs after a picture of another size.
    """
    from restore_tf.export.tflite.crops import read_crops
    from restore_tf.inference.tflite_model import LiteModel

    degraded, _, _ = read_crops(folder)
    images = degraded.astype(np.float32) / 255
    before = peak_bytes()
    model = LiteModel(file, threads)
    outputs = [model.restore_padded(images[:1])]
    times = _times(model, degraded[:1] if model.takes_bytes else images[:1])
    outputs += [model.restore_padded(image[None]) for image in images[1:]]
    peak = peak_bytes()
    if again:
        _run_on_another_size(model, images[:1], outputs[0])
    outputs = np.concatenate(outputs)
    np.save(restored, outputs)
    found = contents(file)
    return {
        "operations": found.operations,
        "custom": found.custom,
        "dynamic": found.dynamic,
        "flex": found.flex,
        "floats": found.floats,
        **model.describe(),
        "ms": 1e3 * statistics.median(times),
        "peak_mb": peak / 1e6,
        "bytes_per_pixel": max(1.0, (peak - before) / images[0, ..., 0].size),
        "finite": bool(np.isfinite(outputs).all()),
    }


def _times(model, images):
    """Seconds of each frame."""
    run = model.run_raw if model.takes_bytes else model.restore_padded
    times = []
    while len(times) < _FRAMES and sum(times) < _SECONDS:
        begin = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - begin)
    return times


def _run_on_another_size(model, image, expected):
    """Finds files that keep their first size, which would give wrong numbers silently."""
    half = image.shape[1] // 2 // model.size_multiple * model.size_multiple
    if half:
        model.restore_padded(np.ascontiguousarray(image[:, :half]))
    if not np.array_equal(model.restore_padded(image), expected):
        raise UserError(f"{model.name}: gives other numbers after a picture of another size.")


def peak_bytes() -> int:
    """Returns this process's peak memory so far, in bytes.

    On Linux by its own count for the running program: `getrusage` includes the process that it was
    forked from.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        line = next(line for line in lines.splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    from restore_tf.export import jobs

    sys.exit(jobs.serve(sys.argv[1], {"check": check}))
