"""`train.py --local_workers 2`: several worker processes on this machine.

Tests a distributed training on one machine: starts the same command once for each worker, with the
TF_CONFIG that a cluster's scheduler would set.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from restore_tf.commands.words import without_flags

# A worker whose partners are gone exits after about ten seconds.
_PATIENCE = 60.0  # seconds


def train_with_workers(argv: Sequence[str], count: int) -> int:
    """Trains with several worker processes.

    Args:
      argv: the flags of train.py; --local_workers is left out.
      count: how many processes, 1 or more.

    Returns:
      0, or the exit code of the worker that failed first.
    """
    arguments = without_flags(argv, ["local_workers"])
    if not any(flag.lstrip("-").startswith("strategy") for flag in arguments):
        arguments.append("--strategy=multiworker")
    hosts = [f"127.0.0.1:{port}" for port in free_ports(count)]
    workers = []
    for index in range(count):
        place = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-m", "restore_tf.commands.train", *arguments]
        environment = {**os.environ, "TF_CONFIG": json.dumps(place)}
        workers.append(subprocess.Popen(command, env=environment))
    return _wait(workers)


def _wait(workers):
    """Waits for the workers. Forwards SIGTERM; a terminal sends Ctrl-C to all by itself."""

    def pass_on(number, frame):
        for worker in workers:
            worker.send_signal(signal.SIGTERM)

    handlers = {signal.SIGTERM: pass_on, signal.SIGINT: lambda number, frame: None}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    failed, deadline = 0, None
    try:
        while any(worker.poll() is None for worker in workers):
            failed = failed or next((w.returncode for w in workers if w.returncode), 0)
            if failed and deadline is None:
                deadline = time.monotonic() + _PATIENCE
            if deadline and time.monotonic() > deadline:
                for worker in workers:
                    worker.kill()
            time.sleep(0.1)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    failed = failed or next((w.returncode for w in workers if w.returncode), 0)
    return 128 - failed if failed < 0 else failed  # a signal, as shells report it


def free_ports(count: int) -> list[int]:
    """Returns free ports of this machine.

    Args:
      count: how many.
    """
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
