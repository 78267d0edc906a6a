"""What a training can be asked for: two workers do as one device does."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_training import assert_equal_weights, folders, rows, weights
from worker_processes import COMMAND, end, in_two_places, reached, start_two, wait_for

pytestmark = pytest.mark.slow

# {what: (flags of both, micro-batches of one device, of each of two workers)}. In 16 bits all go
# image by image: rounding is then the same, and only sums in float32 are taken in another order.
OPTIONS = {
    "micro-batches": (["--set=recurrent_clip_norm=1e-3"], 1, 2),
    "progressive patches": (["--set=progressive=[(4, 48, 4)]", "--seed=5"], 1, 1),
    "mixed_bfloat16": (["--precision=mixed_bfloat16"], 4, 2),
    "mixed_float16": (["--precision=mixed_float16"], 4, 2),
}


# From the second step on a weight that differs in its last bit can round to another 16-bit number.
STEPS = {"mixed_bfloat16": 1, "mixed_float16": 1}


def trained(workdir, *flags):
    """Trains by the command; returns the run directory."""
    command = [*COMMAND, f"--workdir={workdir}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data):
    """Returns the run of one device with some options, made when first asked for."""
    made = {}

    def run(options):
        if options not in made:
            flags, parts, _ = OPTIONS[options]
            workdir = tmp_path_factory.mktemp("alone") / "run"
            steps = f"--steps={STEPS.get(options, 8)}"
            made[options] = trained(workdir, *data, steps, *flags, f"--accumulate={parts}")
        return made[options]

    return run


@pytest.mark.parametrize("options", OPTIONS)
def test_as_one_device(tmp_path, data, alone, options):
    flags, _, parts = OPTIONS[options]
    steps = STEPS.get(options, 8)
    more = [*flags, f"--accumulate={parts}", "--local_workers=2", f"--steps={steps}"]
    one, two = alone(options), trained(tmp_path / "two", *data, *more)
    validations = 1 + (steps > 5)
    for column, length, tolerance in [
        ("loss", steps, {"rtol": 1e-4}),
        ("psnr", validations, {"atol": 0.01}),
    ]:
        numbers = [[float(row[column]) for row in rows(run) if row[column]] for run in (one, two)]
        assert len(numbers[0]) == length
        np.testing.assert_allclose(*numbers, **tolerance)
    # Adam's first steps magnify rounding where a gradient is tiny.
    tolerance = 1e-6 if options in STEPS else 5e-4
    for which in ("latest", "best"):
        assert_equal_weights(weights(one, which), weights(two, which), atol=tolerance)


def test_fine_tuning_plateaus_and_an_early_stop(tmp_path, data, alone):
    first = alone("micro-batches")
    run = trained(
        tmp_path / "run",
        *data,
        "--local_workers=2",
        f"--init_from={first}",
        *("--set=schedule=constant", "--set=learning_rate=1e-12", "--set=end_learning_rate=3e-13"),
        *("--set=plateau_patience=1", "--set=plateau_factor=0.5", "--set=ema_momentum=None"),
        *("--steps=40", "--validate_every=2", "--early_stopping=3"),
    )
    # The first validation is the best; every later one cuts the rate, and the third ends it.
    rates = [float(row["learning_rate"]) for row in rows(run) if row["loss"]]
    np.testing.assert_allclose(rates, [1e-12] * 4 + [5e-13] * 2 + [3e-13] * 2, rtol=1e-5)
    assert [int(row["step"]) for row in rows(run) if row["psnr"]] == [2, 4, 6, 8]
    assert_equal_weights(weights(first, "best"), weights(run), atol=1e-9)


def test_a_run_with_everything_resumes(tmp_path, data):
    flags = [
        *data,
        *("--steps=24", "--validate_every=4", "--precision=mixed_bfloat16", "--accumulate=2"),
        *("--set=schedule=constant", "--set=plateau_patience=1"),
        "--set=progressive=[(0, 32, 4), (16, 48, 4)]",
    ]

    def finish(workers):
        outcomes = [end(worker) for worker in workers]
        assert {code for code, _, _ in outcomes} == {0}, outcomes
        return outcomes[0][2]

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(start_two(whole, *flags))
    workers = start_two(parts, *flags)
    wait_for(reached(parts, 6), workers[0])
    workers[-1].send_signal(signal.SIGTERM)
    assert "the same command resumes from there" in finish(workers)
    finish(start_two(parts, *flags))
    for which in ("latest", "best"):
        assert_equal_weights(weights(whole, which), weights(parts, which), atol=1e-6)
    psnr = [[float(row["psnr"]) for row in rows(run) if row["psnr"]] for run in (whole, parts)]
    assert len(psnr[0]) == 6
    np.testing.assert_allclose(*psnr, atol=1e-3)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each of two workers wrote down in `worker_program.py`."""
    folder = tmp_path_factory.mktemp("program")
    program = Path(__file__).parents[1] / "worker_program.py"
    for worker in in_two_places([sys.executable, str(program), str(folder)]):
        code, _, err = end(worker)
        assert code == 0, err
    return [json.loads((folder / f"{index}.json").read_text()) for index in range(2)]


def test_an_overflow_on_one_worker_skips_the_step_on_all(told):
    for worker in told:
        assert worker["after the overflow"] == {"moved": 0, "updates": 0, "scale": 2**14}
        after = worker["after a good step"]
        assert after.pop("moved") > 0
        assert after == {"updates": 1, "scale": 2**14}


def test_every_worker_calls_the_same_keras_callbacks(told):
    logs = "['learning_rate', 'loss', 'val_psnr']"
    for worker in told:
        assert worker["calls"] == [
            "train begins",
            *(0, 1, 2, f"epoch 0: {logs}"),
            *(3, 4, f"epoch 1: {logs}"),
            "train ends",
        ]
    assert told[0]["validations"] == told[1]["validations"]


def test_keras_early_stopping_ends_all_workers_at_one_step(told):
    # The first validation is the best; the second that is no better ends it.
    assert [worker["stopped at"] for worker in told] == [9, 9]
