"""Nothing is lost: processes killed in the middle of anything, a full disk."""

import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from tiny_training import assert_equal_weights, folders, rows, weights
from worker_processes import end, wait_for

FLAGS = (
    "--model=srn --recipe=quick --cache --set=network.width=4 --set=network.res_blocks=0 "
    "--set=network.scales=2 "
    "--set=batch=2 --set=crop=32 --set=ema_momentum=0.9 --steps=120 --checkpoint_every=7 "
    "--validate_every=20 --log_every=5 --validation_pictures=1 --deterministic"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("pairs"))


def start(workdir, *flags, **options):
    command = [sys.executable, "-m", "restore_tf.commands.train", *FLAGS, *flags]
    return subprocess.Popen(
        [*command, f"--workdir={workdir}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def writing(workdir, pattern):
    """Whether a file of that name is there, whole or not."""
    return lambda: any(workdir.glob(pattern))


def logged(workdir, step):
    """Whether metrics.csv tells of that step."""
    path = workdir / "metrics.csv"
    return lambda: path.exists() and any(row["step"] == str(step) for row in rows(workdir))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """A run that nothing interrupts."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    code, _, err = end(start(workdir, *data))
    assert code == 0, err
    return workdir


@pytest.mark.slow
def test_kills_in_the_middle_of_anything_change_nothing(tmp_path, data, whole):
    broken = tmp_path / "broken"
    moments = [
        (signal.SIGKILL, writing(broken, "checkpoints/*ckpt-0*")),  # before the first step
        (signal.SIGKILL, logged(broken, 5)),  # before the first checkpoint after it
        (signal.SIGKILL, writing(broken, "checkpoints/*ckpt-14*")),  # while it saves
        (signal.SIGTERM, logged(broken, 25)),
        (signal.SIGKILL, writing(broken, "samples/*0000040.png")),  # while it validates
    ]
    for sent, moment in moments:
        process = start(broken, *data)
        wait_for(moment, process)
        process.send_signal(sent)
        code, _, err = end(process)
        assert code == (0 if sent == signal.SIGTERM else -sent), err
    process = start(broken, *data)
    code, out, err = end(process)
    assert code == 0, err
    assert "Done: 120 steps" in out
    for which in ("latest", "best"):
        assert_equal_weights(weights(whole, which), weights(broken, which))


@pytest.mark.slow
def test_a_full_disk_stops_cleanly_and_keeps_the_last_checkpoint(tmp_path, data, whole):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    size = max(path.stat().st_size for path in (workdir / "checkpoints").glob("*.data*"))
    kept, names = weights(workdir), names_in(workdir / "checkpoints")

    def fill_the_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    more = ["--steps=200", "--checkpoint_every=3"]
    code, _, err = end(start(workdir, *data, *more, preexec_fn=fill_the_disk))
    assert code == 2, err
    assert "Traceback" not in err
    assert "cannot be written" in err
    assert "the checkpoint of step 120 is kept" in err
    assert names_in(workdir / "checkpoints") == names
    assert "ckpt-120" in names
    assert_equal_weights(kept, weights(workdir))
    assert os.path.getsize(workdir / "best.weights.h5")


def names_in(folder):
    return {path.name.partition(".")[0] for path in folder.iterdir()}
