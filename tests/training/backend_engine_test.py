"""The step of any Keras backend, here on TensorFlow; `backends_test` runs it on JAX and PyTorch."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import assert_equal_weights, kill_at, rows, run, simple, stop_at, tiny, weights

from restore_tf.errors import UserError
from restore_tf.experiments import experiment, run_directory
from restore_tf.training.backend_engine import BackendEngine
from restore_tf.training.optimizers import make_optimizer
from restore_tf.weights.run import FIT_STATE

EVERYTHING = tiny(
    ema_momentum=0.9,
    schedule="constant",
    learning_rate=1e-3,
    plateau_patience=1,
    progressive=((0, 16, 2), (3, 24, 4)),
    recurrent_clip_norm=1e-3,
    global_clip_norm=1e-2,
)


def train(workdir, recipe=EVERYTHING, **options):
    return run(workdir, recipe, engine=BackendEngine, **({"validate_every": 2} | options))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run with everything."""
    tf.config.experimental.enable_op_determinism()
    workdir = tmp_path_factory.mktemp("whole")
    assert train(workdir).finished
    return workdir


def test_a_run_on_any_backend_is_a_run_directory(whole):
    assert [row["step"] for row in rows(whole) if row["psnr"]] == ["2", "4", "6"]
    best, latest = weights(whole, "best"), weights(whole, "latest")
    assert [w.shape for w in best] == [w.shape for w in latest]


def test_it_trains_as_tensorflows_own_step(tmp_path, whole):
    run(tmp_path, EVERYTHING, validate_every=2)
    for which in ("latest", "best"):
        # Adam's first steps magnify rounding where a gradient is tiny.
        assert_equal_weights(weights(whole, which), weights(tmp_path, which), atol=2e-5)
    for column, tolerance in [("loss", 1e-5), ("learning_rate", 1e-6), ("psnr", 1e-4)]:
        numbers = [[float(r[column]) for r in rows(d) if r[column]] for d in (whole, tmp_path)]
        np.testing.assert_allclose(*numbers, rtol=tolerance)


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, whole):
    kill_at(tmp_path, 4, EVERYTHING, engine=BackendEngine, validate_every=2)
    assert stop_at(tmp_path, 3, EVERYTHING, engine=BackendEngine, validate_every=2).step == 5
    train(tmp_path)
    files = [np.load(workdir / "checkpoints" / FIT_STATE) for workdir in (whole, tmp_path)]
    assert files[0].files == files[1].files
    optimizer = [name for name in files[0].files if name.startswith("optimizer/")]
    assert all(name.startswith("optimizer/adam/") for name in optimizer)
    for name in files[0].files:
        # Keras on TensorFlow compiles for any size once it has met two, and rounds otherwise then.
        np.testing.assert_allclose(files[0][name], files[1][name], atol=1e-6, err_msg=name)
    assert_equal_weights(weights(whole, "best"), weights(tmp_path, "best"), atol=1e-6)


@pytest.mark.parametrize("step", [1, 3])
def test_a_run_killed_before_its_first_checkpoint_resumes(tmp_path, step):
    recipe, options = simple(), {"validate_every": 1, "checkpoint_every": 4}
    train(tmp_path / "whole", recipe, **options)
    parts = tmp_path / "parts"
    kill_at(parts, step, recipe, engine=BackendEngine, **options)
    assert run_directory.checkpoint_step(parts, tensorflow=False) == 0
    assert (parts / "best.weights.h5").exists() == (step > 1)
    run_directory.check_for_training(parts, tensorflow=False)
    assert train(parts, recipe, **options).finished
    for which in ("latest", "best"):
        assert_equal_weights(weights(tmp_path / "whole", which), weights(parts, which), atol=1e-6)


def test_it_clips_first_the_recurrent_weights_then_all():
    recipe = tiny(recurrent_clip_norm=1e-4, global_clip_norm=1e-3)
    model = experiment.build(recipe)
    optimizer = make_optimizer(recipe, model, clipped=True)
    variables = model.trainable_variables
    gradients = [np.ones(v.shape, np.float32) for v in variables]
    before = [v.numpy() for v in variables]
    optimizer.apply([tf.constant(g) for g in gradients], variables)
    recurrent = [i for i, v in enumerate(variables) if "conv_lstm" in v.path]
    for places, limit in [(recurrent, 1e-4), (range(len(gradients)), 1e-3)]:
        norm = np.sqrt(sum(np.sum(gradients[i] ** 2) for i in places))
        for i in places:
            gradients[i] = gradients[i] * min(1, limit / norm)
    for old, gradient, variable in zip(before, gradients, variables, strict=True):
        # First step of Adam: both moments are the gradient itself after bias correction.
        expected = old - 1e-3 * gradient / (gradient + 1e-8 / np.sqrt(1 - 0.999))
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-7)


def test_what_needs_tensorflow_is_said(tmp_path):
    with pytest.raises(UserError, match="accumulate: needs Keras' TensorFlow backend"):
        train(tmp_path, accumulate=2)


def test_a_damaged_checkpoint_is_an_error(tmp_path, whole):
    path = tmp_path / "checkpoints" / FIT_STATE
    path.parent.mkdir()
    path.write_bytes((whole / "checkpoints" / FIT_STATE).read_bytes()[:500])
    with pytest.raises(UserError, match="damaged, or of another network"):
        train(tmp_path)


def test_checkpoints_of_older_versions_resume(tmp_path):
    """They have neither the factor of the learning rate nor averages."""
    recipe = simple(steps=4, plateau_patience=1)
    train(tmp_path, recipe)
    path = tmp_path / "checkpoints" / FIT_STATE
    with np.load(path) as arrays:
        kept = {
            name: arrays[name]
            for name in arrays.files
            if name not in ("progress/rate_factor", "progress/plateau")
        }
    np.savez(path, **kept)
    assert train(tmp_path, dataclasses.replace(recipe, steps=6)).step == 6


def test_keras_callbacks_last_the_whole_training(tmp_path):
    """They are made once: fit, called anew for every stretch, would reset them."""
    recipe = simple(steps=20, learning_rate=1e-12, end_learning_rate=1e-15)
    result = train(
        tmp_path,
        recipe,
        callbacks=[
            keras.callbacks.EarlyStopping(monitor="val_psnr", mode="max", patience=3),
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_psnr", mode="max", factor=0.5, patience=1, min_delta=0
            ),
        ],
        validate_every=1,
        log_every=1,
    )
    # The first validation is the best; every later one halves the rate, and the third ends it.
    assert result.step == 4
    rates = [float(row["learning_rate"]) for row in rows(tmp_path) if row["loss"]]
    np.testing.assert_allclose(rates, [1e-12, 1e-12, 5e-13, 2.5e-13], rtol=1e-5)
