"""What a run costs on this machine, measured in a process of its own.

    python -m restore_tf.export.cost_probe JOB.json

For the job see `jobs`.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP = 2  # runs before those that count


def count(run: str) -> dict[str, Any]:
    """Counts a run's parameters, multiply-accumulates and passes; runs nothing.

    Args:
      run: a run directory, a published name, or a step without weights ("unsharp:2:1.5:3").

    Returns:
      parameters: of what restores.
      training_parameters: of all networks that are trained together; None of converted weights.
      gmacs_per_megapixel: of one picture, all passes; None where a loop hides some.
      evaluations: passes of a picture.
    """
    from restore_tf.system.quiet import import_tensorflow

    import_tensorflow()
    from restore_tf.experiments import experiment as experiments
    from restore_tf.experiments import papers
    from restore_tf.export.plan import cost
    from restore_tf.networks import steps
    from restore_tf.weights import published

    if steps.is_step(run):
        gmacs = cost.count(steps.step_network(run), restoring=True).multiplications / 1e3
        known = {"parameters": 0, "training_parameters": 0}
        return {**known, "gmacs_per_megapixel": gmacs, "evaluations": 1}
    experiment, record = experiments.read(published.resolve(run))
    model = experiments.build(experiment)
    counted = cost.count(model, restoring=True)
    make_parts = getattr(papers.find(experiment.model), "make_parts", None)
    parts = make_parts(experiment).values() if make_parts and not record.converted else ()
    parameters = model.count_params()
    others = sum(part.count_params() for part in parts)
    return {
        "parameters": parameters,
        "training_parameters": None if record.converted else parameters + others,
        "gmacs_per_megapixel": counted.multiplications * counted.runs / 1e3,
        "evaluations": model.evaluations * counted.runs,
    }


def measure(run: str, size: Sequence[int], runs: int = 5, counted: bool = False) -> dict[str, Any]:
    """Restores a picture as `restore_tf.restore` does: float32, one at a time, result read back.

    Args:
      run: a run directory, a published name, or a step without weights ("unsharp:2:1.5:3").
      size: (height, width) of the picture, in pixels.
      runs: how many are timed, after `WARM_UP`.
      counted: whether `count` is asked, too, once all is measured.

    Returns:
      seconds_per_megapixel: the median, per 1e6 pixels of the picture.
      peak_bytes: the most memory beyond what the process held once the network was loaded; None
        where the system does not say.
      count: what `count` returns; None where it was not asked.
    """
    from restore_tf.system.quiet import import_tensorflow

    import_tensorflow()
    from restore_tf.inference.restore import restore
    from restore_tf.networks import steps
    from restore_tf.weights.load import load_model

    model = steps.step_network(run) if steps.is_step(run) else load_model(run)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    picture = picture.astype(np.float32) / 255
    _forget_peak()
    held, times = _status("VmRSS"), []
    for _ in range(WARM_UP + runs):
        begin = time.perf_counter()
        np.asarray(restore(model, picture))
        times.append(time.perf_counter() - begin)
    peak = _status("VmHWM")
    return {
        "seconds_per_megapixel": statistics.median(times[WARM_UP:]) / math.prod(size) * 1e6,
        "peak_bytes": None if peak is None or held is None else max(0, peak - held),
        "count": count(run) if counted else None,
    }


def _forget_peak():
    """Has Linux count the most memory from now on: loading took some for a while."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(name):
    """Bytes that Linux says of this process; None elsewhere."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        line = next(line for line in lines.splitlines() if line.startswith(name))
        return 1024 * int(line.split()[1])
    return None


if __name__ == "__main__":
    from restore_tf.export import jobs

    sys.exit(jobs.serve(sys.argv[1], {"count": count, "measure": measure}))
