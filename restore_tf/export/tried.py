"""Runs a file for devices on the crops of `prepared`: its pictures, time and memory.

Called in a process of its own, which a bad file can abort. Imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.export.prepared import read_crops

_SECONDS = 10.0  # at most, that timing takes once the first frame is done
_FRAMES = 20


def run_on_crops(load: Callable[[], Any], folder: str, restored: str) -> tuple[Any, dict[str, Any]]:
    """Loads a file and runs it on the crops.

    Args:
      load: returns the file as an `inference.device_file.DeviceFile`.
      folder: as `prepared.prepare`'s.
      restored: file to write the restored crops to, float32 of the crops' shape, as `.npy`.

    Returns:
      The loaded file, and {ms: median of a frame, after the first; peak_mb: of this process;
      bytes_per_pixel: memory that loading and running added, per pixel; finite: whether all outputs
      are finite numbers}.
    """
    degraded, _, _ = read_crops(folder)
    images = degraded.astype(np.float32) / 255
    before = peak_bytes()
    model = load()
    outputs = [model.restore_padded(images[:1])]
    times = _times(model, degraded[:1] if model.takes_bytes else images[:1])
    outputs += [model.restore_padded(image[None]) for image in images[1:]]
    peak = peak_bytes()
    pictures = np.concatenate(outputs)
    np.save(restored, pictures)
    return model, {
        "ms": 1e3 * statistics.median(times),
        "peak_mb": peak / 1e6,
        "bytes_per_pixel": max(1.0, (peak - before) / images[0, ..., 0].size),
        "finite": bool(np.isfinite(pictures).all()),
    }


def _times(model, images):
    """Seconds of each frame."""
    restore = model.run_raw if model.takes_bytes else model.restore_padded
    times = []
    while len(times) < _FRAMES and sum(times) < _SECONDS:
        begin = time.perf_counter()
        restore(images)
        times.append(time.perf_counter() - begin)
    return times


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
