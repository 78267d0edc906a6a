"""What a training can be asked for: two workers do as one device does."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_training import assert_equal_weights, rows, weights
from worker_processes import end, in_two_places
from worker_program import CASES, train_case

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of what two workers trained, and what each wrote down."""
    folder = tmp_path_factory.mktemp("program")
    program = Path(__file__).parents[1] / "worker_program.py"
    for worker in in_two_places([sys.executable, str(program), str(folder)]):
        code, _, err = end(worker)
        assert code == 0, err
    return folder, [json.loads((folder / f"{index}.json").read_text()) for index in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_as_one_device(tmp_path, two, case):
    both, one = two[0] / case, train_case(case, tmp_path)
    for column, tolerance in [("loss", {"rtol": 1e-4}), ("psnr", {"atol": 0.01})]:
        numbers = [[float(row[column]) for row in rows(run) if row[column]] for run in (one, both)]
        assert numbers[0]
        np.testing.assert_allclose(*numbers, **tolerance)
    # Adam's first steps magnify rounding where a gradient is tiny.
    tolerance = 1e-6 if case.startswith("mixed") else 5e-4
    for which in ("latest", "best"):
        assert_equal_weights(weights(one, which), weights(both, which), atol=tolerance)


def test_fine_tuning_plateaus_and_an_early_stop(two):
    folder, _ = two
    run = folder / "fine-tuned"
    # The first validation is the best; every later one cuts the rate, and the third ends it.
    rates = [float(row["learning_rate"]) for row in rows(run) if row["loss"]]
    np.testing.assert_allclose(rates, [1e-12] * 4 + [5e-13] * 2 + [3e-13] * 2, rtol=1e-5)
    assert [int(row["step"]) for row in rows(run) if row["psnr"]] == [2, 4, 6, 8]
    assert_equal_weights(weights(folder / "progressive patches", "best"), weights(run), atol=1e-9)


def test_an_overflow_on_one_worker_skips_the_step_on_all(two):
    for worker in two[1]:
        assert worker["after the overflow"] == {"moved": 0, "updates": 0, "scale": 2**14}
        after = worker["after a good step"]
        assert after.pop("moved") > 0
        assert after == {"updates": 1, "scale": 2**14}


def test_every_worker_calls_the_same_keras_callbacks(two):
    logs = "['learning_rate', 'loss', 'val_psnr']"
    first, second = two[1]
    assert first["calls"] == [
        "train begins",
        *(0, 1, 2, f"epoch 0: {logs}"),
        *(3, 4, 5, f"epoch 1: {logs}"),
        *(6, 7, 8, f"epoch 2: {logs}"),
        "train ends",
    ]
    assert second["calls"] == first["calls"]
    assert second["validations"] == first["validations"]


def test_keras_early_stopping_ends_all_workers_at_one_step(two):
    # The first validation is the best; the second that is no better ends it.
    assert [worker["stopped at"] for worker in two[1]] == [9, 9]
