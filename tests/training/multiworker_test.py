"""Two real worker processes on this machine, against one process."""

import signal
import subprocess

import numpy as np
import pytest
from tiny_training import assert_equal_weights, folders, rows, weights
from worker_processes import COMMAND, end, reached, start, start_two, wait_for

from restore_tf.commands.words import without_flags
from restore_tf.errors import UserError
from restore_tf.training import strategies


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("pairs"))


@pytest.mark.slow
def test_two_workers_equal_one_process(tmp_path, data):
    one, two = tmp_path / "one", tmp_path / "two"
    code, _, err = end(start(one, *data, "--steps=10"))
    assert code == 0, err
    done = subprocess.run(
        [*COMMAND, *data, f"--workdir={two}", "--steps=10", "--local_workers", "2"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "2 replicas on 2 workers." in done.stdout
    assert done.stdout.count("Done: 10 steps") == 1  # the chief alone speaks
    losses = [[float(row["loss"]) for row in rows(d) if row["loss"]] for d in (one, two)]
    assert len(losses[0]) == 10
    np.testing.assert_allclose(*losses, rtol=1e-4)
    psnr = [[float(row["psnr"]) for row in rows(d) if row["psnr"]] for d in (one, two)]
    np.testing.assert_allclose(*psnr, atol=0.01)
    # Sums are taken in another order; Adam's first steps magnify that where a gradient is tiny.
    for which in ("latest", "best"):
        assert_equal_weights(weights(one, which), weights(two, which), atol=5e-4)


@pytest.mark.slow
def test_a_killed_worker_stops_the_other_and_a_restart_goes_on(tmp_path, data):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for worker in start_two(whole, *data, "--steps=24"):
        code, _, err = end(worker)
        assert code == 0, err
    workers = start_two(broken, *data, "--steps=24")
    wait_for(reached(broken, 6), workers[0])
    workers[1].kill()
    code, _, err = end(workers[0])
    message = err.strip().splitlines()[-1]
    assert code == 1, err
    assert "error: another worker is gone" in err, message
    assert "Traceback" not in err
    workers[1].wait()
    for worker in start_two(broken, *data, "--steps=24"):
        code, _, err = end(worker)
        assert code == 0, err
    assert_equal_weights(weights(whole), weights(broken), atol=1e-6)
    assert_equal_weights(weights(whole, "best"), weights(broken, "best"), atol=1e-6)


@pytest.mark.slow
def test_sigterm_of_one_worker_stops_both_at_one_step(tmp_path, data):
    workers = start_two(tmp_path, *data, "--steps=100000")
    wait_for(reached(tmp_path, 4), workers[0])
    workers[1].send_signal(signal.SIGTERM)
    outcomes = [end(worker) for worker in workers]
    assert [code for code, _, _ in outcomes] == [0, 0], outcomes
    assert "the same command resumes from there" in outcomes[0][2]
    assert weights(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_shown(monkeypatch, wrong):
    monkeypatch.setenv("TF_CONFIG", wrong)
    for name in ("auto", "multiworker"):
        with pytest.raises(UserError, match='TF_CONFIG: expected {"cluster"'):
            strategies.make_strategy(name)


def test_multiworker_needs_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="TF_CONFIG is not set.*--local_workers 2"):
        strategies.make_strategy("multiworker")


@pytest.mark.parametrize("name", ["one", "mirrored"])
def test_what_the_chief_says_is_what_everyone_hears(name):
    agreed = strategies.from_chief(strategies.make_strategy(name))
    psnr, step = agreed([np.float32(21.5), np.int64(7)])
    assert (psnr, step) == (21.5, 7)
    assert agreed([np.float32("-inf"), np.int64(8)]) == [float("-inf"), 8]


def test_launching_leaves_out_its_own_flag():
    words = ["--model=srn", "--local_workers", "2", "--steps=3", "--local_workers=2", "-x"]
    assert without_flags(words, ["local_workers"]) == ["--model=srn", "--steps=3", "-x"]
