"""Two worker processes of the command on this machine."""

import signal
import subprocess

import numpy as np
import pytest
from tiny_training import assert_equal_weights, folders, rows, weights
from worker_processes import COMMAND, end, reached, start_two, wait_for

from restore_tf.commands.words import without_flags
from restore_tf.errors import UserError
from restore_tf.training import strategies

# All that several workers must agree on when they resume.
EVERYTHING = (
    "--steps=60 --precision=mixed_bfloat16 --accumulate=2 --set=schedule=constant "
    "--set=plateau_patience=1"
).split() + ["--set=progressive=[(0, 32, 4), (20, 48, 4)]"]


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    return [*folders(tmp_path_factory.mktemp("pairs")), *EVERYTHING]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, flags):
    """A run that nothing interrupts, by one command, and what that said."""
    workdir = tmp_path_factory.mktemp("whole")
    done = subprocess.run(
        [*COMMAND, *flags, f"--workdir={workdir}", "--local_workers", "2"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


@pytest.mark.slow
def test_one_command_starts_both_workers(whole):
    _, said = whole
    assert "2 replicas on 2 workers." in said
    assert said.count("Done: 60 steps") == 1  # the chief alone speaks


@pytest.mark.slow
def test_a_lost_worker_and_a_sigterm_change_nothing(tmp_path, flags, whole):
    workers = start_two(tmp_path, *flags)
    wait_for(reached(tmp_path, 6), workers[0])
    workers[1].kill()
    code, _, err = end(workers[0])
    assert code == 1, err
    assert "error: another worker is gone" in err
    assert "Traceback" not in err
    workers[1].wait()

    workers = start_two(tmp_path, *flags)
    wait_for(reached(tmp_path, 22), workers[0])
    workers[1].send_signal(signal.SIGTERM)  # it stops both at one step
    outcomes = [end(worker) for worker in workers]
    assert [code for code, _, _ in outcomes] == [0, 0], outcomes
    assert "the same command resumes from there" in outcomes[0][2]

    for worker in start_two(tmp_path, *flags):
        code, _, err = end(worker)
        assert code == 0, err
    for which in ("latest", "best"):
        assert_equal_weights(weights(whole[0], which), weights(tmp_path, which), atol=1e-6)
    psnr = [
        [float(row["psnr"]) for row in rows(run) if row["psnr"]] for run in (whole[0], tmp_path)
    ]
    assert len(psnr[0]) == 12
    np.testing.assert_allclose(*psnr, atol=1e-3)


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
