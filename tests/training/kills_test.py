"""Nothing is lost: processes killed at random moments, a full disk."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
from tiny_training import assert_equal_weights, folders, weights

FLAGS = (
    "--model=srn --recipe=quick --cache --set=network.width=4 --set=network.res_blocks=1 "
    "--set=network.scales=2 "
    "--set=batch=2 --set=crop=32 --set=ema_momentum=0.9 --steps=300 --checkpoint_every=7 "
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


def has_begun(workdir):
    return (workdir / "checkpoints" / "checkpoint").exists()


@pytest.mark.slow
def test_kills_at_random_times_change_nothing(tmp_path, data):
    whole = start(tmp_path / "whole", *data)
    assert whole.wait(timeout=300) == 0
    chance, killed = random.Random(1), 0
    broken = tmp_path / "broken"
    for sent in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        process = start(broken, *data)
        while process.poll() is None and not has_begun(broken):
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 10 if killed else 2))
        if process.poll() is None:
            process.send_signal(sent)
            killed += 1
        process.communicate(timeout=120)
    assert killed >= 2
    process = start(broken, *data)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Done: 300 steps" in out
    for which in ("latest", "best"):
        assert_equal_weights(weights(tmp_path / "whole", which), weights(broken, which))


@pytest.mark.slow
def test_a_full_disk_stops_cleanly_and_keeps_the_last_checkpoint(tmp_path, data):
    first = start(tmp_path, *data, "--steps=14", "--checkpoint_every=14")
    assert first.wait(timeout=120) == 0, first.communicate()
    size = max(path.stat().st_size for path in (tmp_path / "checkpoints").glob("*.data*"))
    kept = weights(tmp_path)

    def fill_the_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    second = start(tmp_path, *data, "--checkpoint_every=3", preexec_fn=fill_the_disk)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 2, err
    assert "Traceback" not in err
    assert "cannot be written" in err
    assert "the checkpoint of step 14 is kept" in err
    names = {path.name.partition(".")[0] for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"checkpoint", "ckpt-14"}
    assert_equal_weights(kept, weights(tmp_path))
    assert os.path.getsize(tmp_path / "best.weights.h5")
