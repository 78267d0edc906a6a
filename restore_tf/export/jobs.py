"""Runs functions in processes of their own, so that a crash or a leak stays there.

The job is JSON, {"function": name, "arguments": {…}}; so is its answer in answer.json beside it,
{"result": …} or {"error": line, "user": whether the user can fix it}. No answer: it crashed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError
from restore_tf.system import quiet

_HOURS = 2.0  # after which a job counts as hanging


class Failed(Exception):
    """A job failed through no fault of the user's; the message is one line."""


def run_in_process(module: str, function: str, scratch: Path, **arguments: Any) -> Any:
    """Runs a function of a module of `restore_tf.export` in a process of its own.

    Args:
      module: the module's name, such as "tflite.convert"; it calls `serve`.
      function: one of those that it serves.
      scratch: a folder for the job's files.
      arguments: of the function; JSON values.

    Returns:
      The function's result, as JSON holds it.

    Raises:
      UserError: the function raised one.
      Failed: it raised anything else, crashed, or did not end.
    """
    job, answer = scratch / "job.json", scratch / "answer.json"
    answer.unlink(missing_ok=True)
    job.write_text(json.dumps({"function": function, "arguments": arguments}), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "CUDA_VISIBLE_DEVICES": "-1",  # files for CPUs are compared with what a CPU computes
    }
    environment.pop("KERAS_BACKEND", None)  # TFLite is made by TensorFlow alone
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"restore_tf.export.{module}", str(job)],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=3600 * _HOURS,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{function}: gave no answer within {_HOURS:g} hours") from None
    if not answer.exists():
        raise Failed(f"{function}: its process {_ending(done)}")
    found = json.loads(answer.read_text(encoding="utf-8"))
    if "result" in found:
        return found["result"]
    raise UserError(found["error"]) if found["user"] else Failed(f"{function}: {found['error']}")


def serve(path: str, functions: Mapping[str, Callable[..., Any]]) -> int:
    """Runs the job that a file describes and writes its answer; returns the exit code.

    Args:
      path: the job's JSON file.
      functions: {name: function} that the job may call.
    """
    quiet.declare_own_process()
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        answer = {"result": functions[job["function"]](**job["arguments"])}
    except UserError as error:
        answer = {"error": str(error), "user": True}
    except Exception as error:  # converters raise many kinds; the caller wants a line
        traceback.print_exc()
        answer = {"error": _describe(error), "user": False}
    Path(path).with_name("answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return 0 if "result" in answer else 1


def _describe(error):
    """An error as one line: its type, and its first words or the place that raised it."""
    kind = type(error).__name__
    said = [line.strip()[:300] for line in str(error).splitlines() if line.strip()]
    if said:
        return f"{kind}: {said[0]}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return kind
    last = frames[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    return f"{kind}, raised without a message by {last.name} ({place})"


def _ending(done):
    """How a process ended that gave no answer."""
    said = [line for line in done.stderr.splitlines() if line.strip()]
    last = f" ({said[-1][:300]})" if said else ""
    if done.returncode < 0:
        return f"crashed: {signal.Signals(-done.returncode).name}{last}"
    return f"ended with code {done.returncode}{last}"
