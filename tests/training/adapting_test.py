"""What a network learns by looking at data when its training is over, in one that counts."""

import signal

import numpy as np
import pytest
from tiny_training import assert_equal_weights, rows, run, simple, weights

from restore_tf.errors import UserError
from restore_tf.experiments import experiment

BOTH = pytest.mark.parametrize(
    "strategy", ["one", pytest.param("mirrored", marks=pytest.mark.slow)]
)


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    """`simple`'s network, where adapting sets the first weight to 1 + the number of samples."""
    network = type(experiment.build(simple()))
    signals = []

    def adapt(self, batches):
        seen = 1
        for degraded, sharp in batches:
            assert degraded.shape == sharp.shape
            seen += len(degraded)
            if signals:
                signal.raise_signal(signals.pop())
        self.weights[0].assign(np.full(self.weights[0].shape, seen))

    monkeypatch.setattr(network, "adapt_samples", 5)
    monkeypatch.setattr(network, "adapt", adapt)
    return signals


def adapted(workdir):
    return weights(workdir, "best")[0].ravel()[0]


@BOTH
def test_the_best_weights_adapt_at_the_end(tmp_path, strategy):
    result = run(tmp_path, simple(), strategy=strategy)
    assert result.finished
    assert adapted(tmp_path) == 1 + 4  # two batches of two
    first, second = (row for row in rows(tmp_path) if row["step"] == "6" and row["psnr"])
    assert first["psnr"] != second["psnr"]
    assert result.best_score == pytest.approx(float(second["psnr"]), abs=1e-4)


def test_no_more_samples_than_the_training_saw(tmp_path):
    run(tmp_path, simple(steps=1))
    assert adapted(tmp_path) == 1 + 2


def test_other_weights_stay_as_they_are(tmp_path, monkeypatch):
    run(tmp_path / "adapted", simple())
    monkeypatch.setattr(type(experiment.build(simple())), "adapt_samples", 0)
    run(tmp_path / "plain", simple())
    assert_equal_weights(weights(tmp_path / "adapted"), weights(tmp_path / "plain"))
    kept = [weights(tmp_path / name, "best")[1:] for name in ("adapted", "plain")]
    assert_equal_weights(*kept)


def test_stopped_while_it_adapts_the_same_command_goes_on(tmp_path, counting):
    counting.append(signal.SIGTERM)
    assert not run(tmp_path / "stopped", simple()).finished
    assert adapted(tmp_path / "stopped") < 2
    assert run(tmp_path / "stopped", simple()).finished
    run(tmp_path / "whole", simple())
    for which in ("best", "latest"):
        found = [weights(tmp_path / name, which) for name in ("stopped", "whole")]
        assert_equal_weights(*found)


def test_an_early_end_adapts_too(tmp_path):
    never = {"learning_rate": 1e-12, "end_learning_rate": 1e-12}
    result = run(tmp_path, simple(steps=60, **never), early_stopping=1)
    assert result.finished and result.step < 60
    assert adapted(tmp_path) == 1 + 4


def test_a_crop_that_it_cannot_look_at_is_said_before_the_first_step(tmp_path):
    recipe = simple(crop=32, progressive=[(0, 16, 2)])  # pictures of 24 pixels
    with pytest.raises(UserError, match="training crop of 32"):
        run(tmp_path, recipe)
    assert not (tmp_path / "best.weights.h5").exists()
