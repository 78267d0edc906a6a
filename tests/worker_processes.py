"""Trainings as processes of their own: two workers on this machine."""

import contextlib
import json
import os
import subprocess
import sys

import pytest

from restore_tf.commands import local_workers

# Enough for a few steps of a light network.
FLAGS = (
    "--model=plain --recipe=quick --cache --set=network.filters=(8,8) --set=batch=4 "
    "--set=crop=32 --set=ema_momentum=0.9 --set=global_clip_norm=1.0 "
    "--checkpoint_every=2 --validate_every=5 --log_every=1 --validation_pictures=1 --deterministic"
).split()

_LOOKS = 0.05  # seconds between two looks at what a process has written

COMMAND = [sys.executable, "-m", "restore_tf.commands.train", *FLAGS]


def start_two(workdir, *flags):
    """Starts the two workers of a training."""
    return in_two_places([*COMMAND, f"--workdir={workdir}", *flags])


def in_two_places(command):
    """Starts a command twice, as two workers on this machine; returns the processes."""
    hosts = [f"127.0.0.1:{port}" for port in local_workers.free_ports(2)]
    cluster = {"worker": hosts}
    return [
        _begin(command, {"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]


def _begin(command, place=None):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    if place:
        environment["TF_CONFIG"] = json.dumps(place)
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process, timeout=500):
    """Waits for the end; returns (exit code, standard output, standard error)."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def wait_for(condition, process, seconds=400):
    """Waits until something holds; fails where the process ends first."""
    for _ in range(int(seconds / _LOOKS)):
        if condition():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOKS)
            if condition():  # its last deed
                return
            pytest.fail(f"it ended early: {end(process)}")
    process.kill()
    pytest.fail("nothing happened")


def reached(workdir, step):
    """Whether a training has a checkpoint of that step."""
    return lambda: (workdir / "checkpoints" / f"ckpt-{step}.index").exists()
