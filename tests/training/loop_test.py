"""What the loop reads, writes and says: losses, callbacks, metrics.csv, messages."""

import csv
import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import At, rows, run, simple, source, stop_at

from restore_tf.errors import UserError
from restore_tf.networks import losses
from restore_tf.training.messages import first_line
from restore_tf.training.recent_losses import RecentLosses
from restore_tf.training.run_log import COLUMNS, RunLog
from restore_tf.training.tensorflow_engine import TensorFlowEngine
from restore_tf.weights.load import load_model


def arrays(found):
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def test_losses_are_read_when_a_row_is_due(tmp_path, monkeypatch):
    """Not at every step: a device that is waited for has nothing to go on with."""
    read, reads = TensorFlowEngine.read, []

    def counting(engine, found):
        reads.append(len(found))
        assert all(tf.is_tensor(one["loss"]) for one in found)
        return read(engine, found)

    monkeypatch.setattr(TensorFlowEngine, "read", counting)
    often = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    options = {"log_every": 4, "validate_every": 6, "checkpoint_every": 5}
    run(tmp_path, simple(steps=8), callbacks=[often], **options)
    assert reads == [4, 1, 1, 2]  # steps 4 (row), 5 (checkpoint), 6 (validation), 8 (the last)


def test_the_first_loss_that_is_not_finite_is_named():
    recent = RecentLosses(arrays)
    for loss in (1.0, 2.0, float("nan"), float("inf")):
        recent.add({"loss": loss, "critic": 0.5})
    with pytest.raises(UserError, match="the loss is nan at step 13; stopped with the last good"):
        recent.read(14)
    recent.add({"loss": 1.0, "critic": float("inf")})
    with pytest.raises(UserError, match=r"the loss \(critic\) is inf at step 15"):
        recent.read(15)


def test_means_are_of_the_steps_since():
    recent = RecentLosses(arrays)
    for step, loss in enumerate((1.0, 2.0, 6.0), 1):
        recent.add({"loss": loss})
        recent.read(step)
        recent.read(step)  # nothing is counted twice
    assert recent.since_record.values() == {"loss": 3.0}
    assert recent.unread == 0


def test_steps_may_have_losses_of_their_own():
    recent = RecentLosses(arrays)
    for step in ({"loss": 1.0}, {"loss": 2.0}, {"loss": 3.0, "critic": 0.5}, {"loss": 4.0}):
        recent.add(step)
    recent.read(4)
    assert recent.since_record.values() == {"loss": 2.5, "critic": 0.5}
    recent.add({"loss": 1.0, "critic": 1.0})
    recent.add({"loss": float("nan")})
    with pytest.raises(UserError, match="the loss is nan at step 6"):
        recent.read(6)


def test_a_callback_with_a_say_at_every_step_gets_every_loss(tmp_path):
    seen = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    run(
        tmp_path, simple(steps=5), callbacks=[Keep(), keras.callbacks.TerminateOnNaN()], log_every=5
    )
    assert all(type(loss) is float for loss in seen)
    (row,) = [row for row in rows(tmp_path) if row["loss"]]
    assert float(row["loss"]) == pytest.approx(np.mean(seen), rel=1e-6)


def test_keras_own_callbacks(tmp_path):
    """The first validation is the best; every later one halves the rate, and the third ends it."""
    recipe = simple(steps=40, schedule="constant", learning_rate=1e-12, end_learning_rate=1e-15)
    monitor = {"monitor": "val_psnr", "mode": "max"}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=3, **monitor),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0, **monitor),
        keras.callbacks.CSVLogger(str(tmp_path / "history.csv")),
    ]
    result = run(tmp_path, recipe, callbacks=callbacks, validate_every=2, log_every=2)
    assert (result.step, result.finished) == (8, True)
    with open(tmp_path / "history.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]
    # What they did to the rate lasts beyond them.
    run(tmp_path, dataclasses.replace(recipe, steps=10))
    rates = [float(row["learning_rate"]) for row in rows(tmp_path) if row["loss"]]
    np.testing.assert_allclose(rates, [1e-12, 1e-12, 5e-13, 2.5e-13, 1.25e-13], rtol=1e-5)


def test_a_rise_of_the_loss_is_said_once(tmp_path, monkeypatch, caplog):
    factor = tf.Variable(1.0)
    monkeypatch.setitem(
        losses.LOSSES,
        "charbonnier_edge",
        lambda sharp, stages: factor * losses.charbonnier_edge(sharp, stages),
    )
    rise = At(21, lambda: factor.assign(50.0))
    recipe = simple(steps=30, learning_rate=1e-6, end_learning_rate=1e-6)
    run(tmp_path, recipe, callbacks=[rise], log_every=4, validate_every=30, checkpoint_every=30)
    said = [r.message for r in caplog.records if "the loss rose from" in r.message]
    assert len(said) == 1
    assert "by step 23." in said[0]  # three of five


def jumps(losses):
    recent, found = RecentLosses(arrays), []
    for step, loss in enumerate(losses, 1):
        recent.add({"loss": loss})
        if step % 7 == 0:
            found += recent.read(step)
    return found + recent.read(len(losses))


def test_a_jump_of_the_loss_is_found_once():
    """A loss that runs away within a hundred steps and comes back, as in a real training."""
    calm, rise = [0.014] * 100, list(np.geomspace(0.014, 0.22, 100))
    (jump,) = jumps(calm + rise + rise[::-1] + calm)
    assert jump.before == pytest.approx(0.014, rel=0.1)
    assert 0.14 < jump.loss < 0.17
    assert 180 < jump.step < 200
    again = jumps((calm * 3 + [0.22] * 20) * 2)
    assert [jump.step for jump in again] == [303, 623]


def test_a_rate_far_too_high_shows_in_the_first_steps():
    """Of the size that SRN `light` had with Adam at a constant 4e-3, in either type of number."""
    high = [0.02, 1e9, 1.3e11, 1.3e11, 1e10, 7e5, 6e5, 1e5, 2e6, 3e5, 18, 12, 3, 0.2, 0.1]
    (jump,) = jumps(high + [0.02, 0.01] * 30)
    assert (jump.step, jump.before, jump.loss) == (5, 0.02, 1e10)


def test_single_hard_pictures_are_no_jump():
    assert jumps(([0.01] * 9 + [0.2, 0.2]) * 20) == []
    assert jumps([0.01] * 4 + [1.0] * 50) == []  # too few to know what is usual


def test_negative_losses_are_no_jump_until_they_rise():
    assert jumps([-0.3, -0.31, -0.37] * 50) == []
    assert jumps([0.001, 0.05, -0.05, 0.04, -0.04] * 30) == []  # near zero by chance
    (jump,) = jumps([-0.3, -0.31, -0.37] * 50 + [2.6] * 50)
    assert (jump.step, jump.before, jump.loss) == (153, -0.31, 2.6)


def test_a_pair_that_is_found_too_small_is_named(tmp_path):
    known = source()

    class Unsized(type(known)):
        sizes = None
        names, read_crop = known.names, staticmethod(known.read_crop)

        def __init__(self):
            pass

    with pytest.raises(UserError, match=r"^p\d: is 24x24 pixels, smaller than the training crop"):
        run(tmp_path, simple(crop=32), Unsized())


def test_messages_go_to_the_logger(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "restore_tf"):
        stop_at(tmp_path, 1, simple())
    assert "stopped at step 1; the same command resumes from there." in caplog.text
    with caplog.at_level(logging.INFO, "restore_tf"):
        run(
            tmp_path,
            simple(steps=6, learning_rate=1e-12, end_learning_rate=1e-12),
            validate_every=1,
            early_stopping=1,
        )
    assert "stopped early: 1 validations without a new best PSNR." in caplog.text


@pytest.mark.parametrize("content", [b"name,price\ntea,3\n", b"\xff\xfe\x00", b"step\n"])
def test_a_metrics_file_of_somebody_else_is_left_alone(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"metrics.csv: not written by a training"):
        run(tmp_path, simple())
    assert path.read_bytes() == content
    assert {p.name for p in tmp_path.iterdir()} == {"metrics.csv", "experiment.json"}


def test_the_metrics_of_older_versions_are_kept(tmp_path):
    old = "step,loss,learning_rate,steps_per_second,psnr,psnr_blurry\n"
    (tmp_path / "metrics.csv").write_text(old + "2,0.5,1e-3,7,,\n3,,,,21.5,20.25\n4,0.4,1e-3,7,,\n")
    log = RunLog(tmp_path, 3, 6)
    log.record(6, psnr=22.0, psnr_degraded=20.25)
    log.close()
    found = rows(tmp_path)
    assert tuple(found[0]) == COLUMNS
    assert [row["step"] for row in found] == ["2", "3", "6"]
    assert [row["psnr_degraded"] for row in found] == ["", "20.25", "20.25"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{{function_node __wrapped__Mul_device_/job:a}} bad [Op:Mul] name: x", "bad"),
        ("\nValueError: a.png: is truncated.\nTraceback", "a.png: is truncated"),
        ("OOM when allocating [[{{node while/conv}}]]", "OOM when allocating"),
        ("", "InternalError"),
    ],
)
def test_tensorflows_places_are_left_out(message, expected):
    assert first_line(tf.errors.InternalError(None, None, message)) == expected


def test_the_best_weights_are_saved_without_the_optimizers(tmp_path):
    import h5py

    run(tmp_path, simple(steps=2), validate_every=1)
    sizes = []
    with h5py.File(tmp_path / "best.weights.h5") as file:
        file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    model = load_model(tmp_path)
    assert sum(sizes) == model.count_params()
