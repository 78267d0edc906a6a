"""Which validation is the best, by whichever metric: weights, early stopping, plateau, resuming.

Scores are fed by hand, so that PSNR and the other metric choose different steps.
"""

import dataclasses
import json
import logging

import keras
import numpy as np
import pytest
from pretrained_files import needs_lpips
from tiny_training import (
    assert_equal_weights,
    folders,
    kill_at,
    rows,
    run,
    simple,
    source,
    stop_at,
    weights,
)
from tiny_training import toys as toys

from restore_tf.commands import train
from restore_tf.datasets.augmentation import gray
from restore_tf.errors import UserError
from restore_tf.evaluation import score
from restore_tf.experiments import experiment
from restore_tf.networks import losses, pretrained
from restore_tf.training.backend_engine import BackendEngine
from restore_tf.weights.load import load_model

pytestmark = pytest.mark.usefixtures("toys")

ENGINES = pytest.mark.parametrize("engine", [None, BackendEngine], ids=["tensorflow", "any"])
PSNR = [20.0, 21.0, 25.0, 22.0, 21.0]  # of the degraded picture, then after every step
FALLING = [0.5, 0.3, 0.4, 0.1, 0.2]
RISING = [0.5, 0.6, 0.7, 0.7, 0.9]


def feed(monkeypatch, **values):
    """Has metrics give these values, one after another: a run reads one picture a validation."""
    for name, numbers in values.items():
        left = iter(numbers)
        monkeypatch.setitem(score.MEASURES, name, lambda sharp, picture, left=left: next(left))


def train_by(workdir, metric, engine=None, keep=None, options=None, **changes):
    """Four steps with a validation after each; `keep` collects the weights of each."""
    changes = {"steps": 4, "best_metric": metric, "learning_rate": 1e-2} | changes
    collect = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: keep is not None and keep.append(logs)
    )
    options = {"validate_every": 1, "validation_pictures": 1} | (options or {})
    return run(workdir, simple(**changes), callbacks=[collect], engine=engine, **options)


class Weights(keras.callbacks.Callback):
    """Keeps the weights that each validation saw."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


@pytest.mark.parametrize(
    ("engine", "metric", "values", "best"),
    [
        (None, "psnr", None, 2),
        (None, "gmsd", FALLING, 3),
        (None, "ssim", RISING, 4),
        (BackendEngine, "psnr", None, 2),
        (BackendEngine, "lpips", FALLING, 3),
        (BackendEngine, "ssim_matlab", RISING, 4),
        (BackendEngine, "last", None, 4),
    ],
)
def test_the_best_weights_are_those_of_the_metrics_best_step(
    tmp_path, monkeypatch, engine, metric, values, best
):
    monkeypatch.setattr(pretrained, "is_installed", lambda: True)
    feed(monkeypatch, psnr=PSNR, **({metric: values} if values else {}))
    seen = Weights()
    recipe = simple(steps=4, best_metric=metric, learning_rate=1e-2)
    options = {"validate_every": 1, "validation_pictures": 1, "validation": source(1, side=32)}
    result = run(tmp_path, recipe, callbacks=[seen], engine=engine, **options)
    assert_equal_weights(weights(tmp_path, "best"), seen.kept[best - 1])
    others = [kept for step, kept in enumerate(seen.kept, 1) if step != best]
    for kept in others:
        assert not np.array_equal(kept[0], seen.kept[best - 1][0])
    expected = {"psnr": PSNR[best], "last": best}.get(metric) or values[best]
    assert (result.metric, result.best_score) == (metric, pytest.approx(expected, rel=1e-6))
    assert result.degraded_score == {"psnr": 20.0, "last": None}.get(metric, 0.5)


@ENGINES
def test_early_stopping_waits_for_the_metric(tmp_path, monkeypatch, caplog, engine):
    """PSNR still rises where GMSD, lower is better, has not fallen for two validations."""
    feed(monkeypatch, psnr=range(20, 40), gmsd=[0.5, 0.3, 0.2, 0.4, 0.2, 0.1])
    with caplog.at_level(logging.INFO, "restore_tf"):
        result = train_by(tmp_path, "gmsd", engine, options={"early_stopping": 2}, steps=9)
    assert (result.step, result.finished) == (4, True)
    assert "stopped early: 2 validations without a new best GMSD." in caplog.text
    assert result.best_score == pytest.approx(0.2)


@ENGINES
def test_the_plateau_is_the_metrics(tmp_path, monkeypatch, engine):
    feed(monkeypatch, psnr=range(20, 40), gmsd=[0.5, 0.3, 0.4, 0.2, 0.2, 0.2, 0.1])
    recipe = {"steps": 6, "schedule": "constant", "plateau_patience": 1, "end_learning_rate": 1e-9}
    train_by(tmp_path, "gmsd", engine, options={"log_every": 1}, **recipe)
    rates = [float(row["learning_rate"]) for row in rows(tmp_path) if row["loss"]]
    np.testing.assert_allclose(
        rates, [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3, 1.25e-3], rtol=1e-5
    )  # cut after steps 2, 4 and 5


@pytest.mark.slow
@ENGINES
def test_a_resumed_run_knows_its_best(tmp_path, monkeypatch, engine):
    """Where it was broken off must not matter: worse scores do not replace the first."""
    options = {"validate_every": 1, "validation_pictures": 1, "checkpoint_every": 1}
    recipe = simple(steps=5, best_metric="gmsd", plateau_patience=3, schedule="constant")
    scores = [0.1, 0.4, 0.2, 0.3, 0.3]
    feed(monkeypatch, gmsd=[0.5, *scores])
    whole = run(tmp_path / "whole", recipe, engine=engine, **options)
    feed(monkeypatch, gmsd=[0.5, *scores[:2]])
    stop_at(tmp_path / "parts", 2, recipe, engine=engine, **options)
    feed(monkeypatch, gmsd=[0.5, *scores[2:]])
    kill_at(tmp_path / "parts", 2, recipe, engine=engine, **options)  # step 4: after 3's checkpoint
    feed(monkeypatch, gmsd=[0.5, *scores[3:]])
    parts = run(tmp_path / "parts", recipe, engine=engine, **options)
    assert parts == whole
    assert whole.best_score == pytest.approx(0.1)
    for which in ("best", "latest"):
        found = [weights(tmp_path / name, which) for name in ("whole", "parts")]
        assert_equal_weights(*found, atol=1e-7)
    tables = [
        [{k: v for k, v in row.items() if k != "steps_per_second"} for row in rows(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    found = [float(row["gmsd"]) for row in tables[0] if row["gmsd"]]
    np.testing.assert_allclose(found, scores, rtol=1e-6)
    assert [row["gmsd"] for row in tables[1]] == [row["gmsd"] for row in tables[0]]


def test_the_metric_is_named_in_files_and_logs(tmp_path, monkeypatch):
    feed(monkeypatch, psnr=PSNR, gmsd=FALLING)
    logs = []
    train_by(tmp_path, "gmsd", keep=logs)
    assert logs[2]["val_gmsd"] == pytest.approx(0.1)
    assert logs[2]["val_psnr"] == 22.0
    table = [row for row in rows(tmp_path) if row["psnr"]]
    np.testing.assert_allclose([float(row["gmsd"]) for row in table], FALLING[1:], rtol=1e-6)
    assert {row["gmsd_degraded"] for row in table} == {"0.5"}
    board = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"gmsd_degraded" in board
    for metric in ("psnr", "last"):
        feed(monkeypatch, psnr=PSNR)
        train_by(tmp_path / metric, metric)
        assert not [name for name in rows(tmp_path / metric)[0] if "last" in name]


@pytest.mark.parametrize(
    "strategy", ["one", pytest.param("mirrored", marks=pytest.mark.slow), BackendEngine]
)
def test_the_validation_loss_is_the_recipes(tmp_path, strategy):
    """Pictures as large as the crops: the loss of the whole pictures, by the loss itself."""
    recipe = simple(best_metric="loss", steps=3, crop=16)
    pairs = source(3, side=16)
    where = {"engine": strategy} if strategy is BackendEngine else {"strategy": strategy}
    result = run(tmp_path, recipe, validation=pairs, validate_every=1, **where)
    found = [float(row["val_loss"]) for row in rows(tmp_path) if row["psnr"]]
    assert len(found) == 3
    assert result.best_score == pytest.approx(min(found))
    assert result.degraded_score is None
    model = load_model(tmp_path, "best")
    degraded, sharp = (
        gray(np.stack([pairs.read(i)[k] for i in range(3)]).astype(np.float32) / 255)
        for k in (0, 1)
    )
    expected = np.mean(losses.charbonnier_edge(sharp, model(degraded)))
    assert min(found) == pytest.approx(expected, rel=1e-5)


@needs_lpips
def test_lpips_is_measured_where_it_is_installed(tmp_path):
    from restore_tf.evaluation import perceptual

    pairs = source(1, side=32)
    recipe = simple(best_metric="lpips", steps=2)
    result = run(tmp_path, recipe, validation=pairs, validate_every=1)
    degraded, sharp = pairs.read(0)
    assert result.degraded_score == pytest.approx(perceptual.lpips(sharp, degraded), rel=1e-6)
    found = [float(row["lpips"]) for row in rows(tmp_path) if row["psnr"]]
    assert result.best_score == pytest.approx(min(found), rel=1e-5)


def test_older_runs_are_read_as_psnr(tmp_path):
    experiment.write(tmp_path, simple(), {"seed": 0})
    path = tmp_path / "experiment.json"
    content = json.loads(path.read_text())
    assert content["experiment"].pop("best_metric") == "psnr"
    path.write_text(json.dumps(content))
    found, _ = experiment.read(tmp_path)
    assert found == dataclasses.replace(simple(), **vars(found))
    assert found.best_metric == "psnr"


def test_a_metric_that_cannot_be_measured_is_named_before_anything_is_written(
    tmp_path, monkeypatch, capsys
):
    data = folders(tmp_path / "data", side=24)
    words = ["train.py", "--model=srn", *data, f"--workdir={tmp_path / 'run'}", "--set=crop=16"]
    monkeypatch.setattr(pretrained, "is_installed", lambda: True)
    for metric, said in [
        ("lpipz", "best_metric takes one of psnr, ssim, "),
        ("lpips", "best_metric lpips: b/0 is smaller than the 31 pixels that LPIPS takes; "),
    ]:
        assert train.main([*words, f"--set=best_metric={metric}"]) == 2
        line = capsys.readouterr().err.strip()
        assert said in line
        assert "\n" not in line
    monkeypatch.setattr(pretrained, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r"best_metric lpips: not installed \(pip install --no"):
        run(tmp_path / "api", simple(best_metric="lpips"))
    assert not (tmp_path / "run").exists()
    assert {path.name for path in (tmp_path / "api").iterdir()} == {"experiment.json"}


@pytest.mark.slow
def test_the_command_says_what_the_best_is_of(tmp_path, monkeypatch, capsys):
    data = folders(tmp_path / "data", side=32)
    words = ["train.py", "--model=plain", *data, "--steps=2", "--validate_every=1"]
    words += ["--set=network.filters=(4,)", "--set=batch=2", "--set=crop=16"]
    said = []
    for metric in ("gmsd", "loss", "last"):
        workdir = f"--workdir={tmp_path / metric}"
        assert train.main([*words, workdir, f"--set=best_metric={metric}"]) == 0
        said += [line for line in capsys.readouterr().out.splitlines() if "Done" in line]
    assert said[0].startswith("Done: 2 steps. Best validation GMSD 0.")
    assert said[0].endswith("; lower is better).")
    assert "Best validation loss 0.0" in said[1]
    assert said[2] == "Done: 2 steps. Kept: the weights of the last validation, at step 2."
