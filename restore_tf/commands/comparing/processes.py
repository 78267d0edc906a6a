"""Processes of trainings: fresh ones, or forks of a server for short trainings."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from restore_tf.errors import one_line

_METRICS = "metrics.csv"
SIDE_BY_SIDE = 2  # short trainings; most of one is start-up, on one core


def started(words: Sequence[str], log: Path) -> subprocess.Popen:
    """Starts train.py in a fresh process.

    Args:
      words: its flags.
      log: a file, to which its output is added.
    """
    with open(log, "ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "restore_tf.commands.train", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def can_fork() -> bool:
    """Returns whether trainings may be forked from a process that has imported TensorFlow.

    Not with accelerators, whose drivers cannot be forked.
    """
    drivers = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("accel*")]
    tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    return sys.platform == "linux" and tensorflow and not drivers and not Path("/dev/kfd").exists()


def logged_step(run: Path) -> int:
    """Returns the last step in a run's metrics.csv; 0 if there is none yet.

    Args:
      run: a run directory.
    """
    try:
        with open(run / _METRICS, "rb") as file:
            file.seek(max(0, os.path.getsize(run / _METRICS) - 400))
            lines = file.read().decode(errors="replace").splitlines()
        return int(lines[-1].partition(",")[0])
    except (OSError, ValueError, IndexError):
        return 0


def last_line(log: Path) -> str:
    """Returns the last line of a training's output, at most 300 characters of it.

    Args:
      log: its output.
    """
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    return one_line(lines[-1].removeprefix("error: "))[:300] if lines else "it said nothing"


class Forked:
    """A forked training, with the methods of `subprocess.Popen` that a trainer uses.

    Args:
      server: the server that started it.
      code: the file for its exit code.

    Attributes:
      returncode: None while it runs.
    """

    def __init__(self, server: ForkServer, code: Path):
        self._server, self._code = server, code
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Returns the exit code, None while the training runs."""
        if self.returncode is None:
            alive = self._server.is_alive()  # asked first: its last act is to write the code
            if self._code.exists():
                self.returncode = int(self._code.read_text(encoding="ascii"))
            elif not alive:
                self.returncode = 1
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal to this training and the server's other ones.

        Args:
          number: the signal's.
        """
        self._server.send_job({"signal": int(number)})

    def terminate(self) -> None:
        """Stops the training together with the server."""
        self._server.close()

    def wait(self) -> int | None:
        """Returns the exit code, once the training has ended."""
        while self.poll() is None:
            time.sleep(0.05)
        return self.returncode


class ForkServer:
    """A process that has imported TensorFlow, and forks trainings; see `fork_server`."""

    def __init__(self):
        self._codes = tempfile.TemporaryDirectory(prefix="restore_tf_")
        self._lock, self._jobs = threading.Lock(), 0
        self._process: subprocess.Popen | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self._codes.cleanup()

    def launch(self) -> None:
        """Starts the process, which then imports TensorFlow, unless it runs."""
        with self._lock:
            self._process = self._process or subprocess.Popen(
                [sys.executable, "-m", "restore_tf.commands.comparing.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )

    def start(self, words: Sequence[str], log: Path) -> Forked:
        """Starts train.py in a fork.

        Args:
          words: its flags.
          log: a file, to which its output is added.
        """
        self.launch()
        with self._lock:
            self._jobs += 1
            code = Path(self._codes.name) / f"{self._jobs}"
        self.send_job({"words": list(words), "log": os.path.abspath(log), "code": str(code)})
        return Forked(self, code)

    def send_job(self, job) -> None:
        """Sends a job, unless the server has exited.

        Args:
          job: see `fork_server`.
        """
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()

    def is_alive(self) -> bool:
        """Returns whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Stops the remaining trainings, and the server."""
        if self._process is None:
            return
        if not self._jobs:
            self._process.kill()
        with self._lock, contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
