"""Runs trainings in processes forked from this one, which has imported TensorFlow once.

    python -m restore_tf.commands.comparing.fork_server < JOBS

TensorFlow takes seconds to import, as long as a trial training of twenty steps. Only a process in
which TensorFlow has run nothing may be forked: it has no threads of its own then, and each fork
starts its own. So this process runs nothing, and serves a single thread. A job is a line of JSON:

    {"words": flags of train.py, "log": a file, "code": a file}   the exit code is written to "code"
    {"signal": number}                                            sent to every training

At the end of its input it stops the trainings, which save their state, and then exits.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import select
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

_IMPORTED = (  # what every training imports
    "restore_tf.training.loop",
    "restore_tf.training.tensorflow_engine",
    "restore_tf.training.checks",
    "restore_tf.evaluation.score",
    "restore_tf.evaluation.perceptual",
    "restore_tf.datasets.synthetic",
)
_POLL = 0.05  # seconds


def main() -> int:
    """Serves standard input; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the trainings, too
    _import()
    children: dict[int, str] = {}
    buffered, ended = b"", False
    while not ended or children:
        ready = [] if ended else select.select([0], [], [], _POLL)[0]
        if ready:
            data = os.read(0, 1 << 16)
            ended = not data
            if ended:
                _send(children, signal.SIGTERM)
            *lines, buffered = (buffered + data).split(b"\n")
            for line in lines:
                _serve(json.loads(line), children)
        _reap(children, wait=ended)
    return 0


def _import():
    from restore_tf.experiments import papers
    from restore_tf.system import quiet

    if platform.machine().lower() in ("x86_64", "amd64"):  # as train.py does for most networks
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    quiet.declare_own_process()
    quiet.import_tensorflow()
    papers.compared()  # imports all of them
    for module in _IMPORTED:
        importlib.import_module(module)


def _serve(job: Mapping[str, Any], children: dict[int, str]) -> None:
    if "signal" in job:
        _send(children, job["signal"])
        return
    pid = os.fork()
    if pid:
        children[pid] = job["code"]
        return
    code = 1
    try:
        code = _train(job)
    finally:
        os._exit(code)  # what the server would do at its end is not the training's


def _train(job) -> int:
    from restore_tf.commands import train

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT
                      else signal.SIG_DFL)  # fmt: skip
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    ):
        opened = os.open(path, flags, 0o666)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(1, 2)
    config = importlib.import_module("tensorflow").config
    # TensorFlow would rewrite a step for longer than a trial takes to compute it.
    config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    # Trials run side by side; threads of one would only wait for a core.
    config.threading.set_intra_op_parallelism_threads(1)
    config.threading.set_inter_op_parallelism_threads(1)
    try:
        return train.main(["train.py", *job["words"]])
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _send(children, number):
    for pid in children:
        os.kill(pid, number)


def _reap(children, wait):
    """Writes the exit codes of trainings that ended."""
    for pid in list(children):
        found, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
        if found:
            path = children.pop(pid)
            with open(f"{path}.part", "w", encoding="ascii") as file:
                file.write(str(os.waitstatus_to_exitcode(status)))
            os.replace(f"{path}.part", path)  # seen whole or not at all


if __name__ == "__main__":
    sys.exit(main())
