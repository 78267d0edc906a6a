"""Training through compile and fit: plainly, and as the command does on Keras' other backends."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import assert_equal_weights, rows, source, tiny, weights

from restore_tf.datasets.numpy_pairs import Batches
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.networks import losses
from restore_tf.networks.keras_metrics import PSNR
from restore_tf.training import fitting
from restore_tf.training.options import Options
from restore_tf.weights.run import FIT_STATE


def fit(workdir, recipe=None, **options):
    recipe = recipe or tiny()
    options = {"validate_every": 3, "checkpoint_every": 2, "log_every": 2} | options
    experiment.write(workdir, recipe, {"seed": 0})
    return fitting.fit(recipe, workdir, source(), source(3), Options(**options))


def batch(count=2, side=16):
    random = np.random.default_rng(0)
    return [random.random((count, side, side, 3)).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("strategy", ["one", "mirrored"])
def test_plain_compile_and_fit(strategy):
    """One step of plain descent, against the gradient of the mean over the whole batch."""
    from restore_tf.training import strategies

    strategy = strategies.make_strategy(strategy)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = experiment.build(tiny())
        model.compile(keras.optimizers.SGD(0.1), "multi_scale_squared_error", metrics=[PSNR()])
    blurry, sharp = batch()
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        per_image = losses.multi_scale_squared_error(sharp, model(blurry))
        loss = tf.reduce_mean(per_image)
    before = [v.numpy() for v in variables]
    gradients = tape.gradient(loss, variables)
    data = tf.data.Dataset.from_tensor_slices((blurry, sharp)).batch(2)
    restored = model(blurry)[-1].numpy()
    history = model.fit(data, verbose=0).history
    np.testing.assert_allclose(history["loss"], [loss], rtol=1e-5)
    error = np.mean(
        (np.rint(255 * sharp) - np.rint(255 * np.clip(restored, 0, 1))) ** 2, axis=(1, 2, 3)
    )
    expected = np.mean(10 * np.log10(255**2 / error))
    np.testing.assert_allclose(history["psnr"], [expected], rtol=1e-4)
    for old, gradient, variable in zip(before, gradients, variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), old - 0.1 * gradient, atol=1e-6)


def test_fit_takes_any_loss_function_and_evaluate_works():
    model = experiment.build(tiny())

    def finest(sharp, stages):
        return losses.charbonnier(sharp, stages[-1])

    model.compile("adam", finest, metrics=[PSNR()])
    blurry, sharp = batch()
    logs = model.evaluate(blurry, sharp, verbose=0, return_dict=True)
    expected = np.mean(losses.charbonnier(sharp, model(blurry)[-1]))
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_a_fitted_run_is_a_run_directory(tmp_path):
    result = fit(tmp_path)
    assert (result.step, result.finished) == (6, True)
    assert [row["step"] for row in rows(tmp_path) if row["psnr"]] == ["3", "6"]
    best, latest = weights(tmp_path, "best"), weights(tmp_path, "latest")
    assert [w.shape for w in best] == [w.shape for w in latest]


@pytest.mark.slow
def test_a_resumed_fit_equals_an_uninterrupted_one(tmp_path):
    tf.config.experimental.enable_op_determinism()
    fit(tmp_path / "whole", tiny())
    fit(tmp_path / "parts", tiny(steps=5, schedule_steps=6))
    fit(tmp_path / "parts", tiny(schedule_steps=6))
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_fit_clips_first_the_recurrent_weights_then_all():
    changes = {"steps": 1, "recurrent_clip_norm": 1e-4, "global_clip_norm": 1e-3}
    model = experiment.build(tiny(**changes))
    optimizer = fitting._optimizer(tiny(**changes), model)
    gradients = [np.ones(v.shape, np.float32) for v in model.trainable_variables]
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.optimizers.Adam, "apply", lambda self, grads, _: seen.extend(grads))
        optimizer.apply(gradients, model.trainable_variables)
    recurrent = [i for i, v in enumerate(model.trainable_variables) if "conv_lstm" in v.path]
    for places, limit in [(recurrent, 1e-4), (range(len(gradients)), 1e-3)]:
        norm = np.sqrt(sum(np.sum(gradients[i] ** 2) for i in places))
        for i in places:
            gradients[i] = gradients[i] * min(1, limit / norm)
    for one, expected in zip(seen, gradients, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5)


def test_batches_are_a_function_of_the_step():
    arguments = {"crop": 8, "batch": 3, "seed": 4, "augment": ("flip_rotate", "saturation")}
    whole = Batches(source(), steps=6, **arguments)
    rest = Batches(source(), steps=2, first_sample=4 * 3, **arguments)
    assert (len(whole), len(rest)) == (6, 2)
    for step in range(2):
        for a, b in zip(whole[4 + step], rest[step], strict=True):
            np.testing.assert_array_equal(a, b)


def test_both_pictures_of_a_pair_get_the_same_crop_and_flip():
    from restore_tf.datasets.sources import MemorySource

    pictures = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)
    pairs = MemorySource([str(i) for i in range(5)], [(p, 255 - p) for p in pictures])
    batches = Batches(pairs, crop=8, batch=5, steps=4, seed=0, augment=("flip_rotate",))
    for step in range(4):
        degraded, sharp, _ = batches[step]
        np.testing.assert_allclose(degraded + sharp, 1, atol=1e-6)


def test_every_epoch_shows_every_pair_once():
    from restore_tf.datasets.sources import MemorySource

    pictures = [np.full((8, 8, 3), i, np.uint8) for i in range(5)]
    pairs = MemorySource([str(i) for i in range(5)], [(p, p) for p in pictures])
    batches = Batches(pairs, crop=8, batch=5, steps=3, seed=0)
    orders = [np.rint(255 * batches[step][0][:, 0, 0, 0]).tolist() for step in range(3)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert orders[0] != orders[1] or orders[1] != orders[2]


@pytest.mark.parametrize("field", [{"ema_momentum": 0.9}, {"plateau_patience": 2}])
def test_what_fit_cannot_do_is_said(tmp_path, field):
    with pytest.raises(UserError, match="needs Keras' TensorFlow backend"):
        fit(tmp_path, tiny(**field))


def test_a_damaged_fit_state_is_an_error(tmp_path):
    fit(tmp_path, tiny(steps=2))
    path = tmp_path / "checkpoints" / FIT_STATE
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged, or of another network"):
        fit(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_command_on_another_backend(tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    words = (
        "--model=srn --set=network.width=4 --set=network.res_blocks=1 --set=network.scales=2 "
        "--set=batch=2 --set=crop=32 --steps=4 --checkpoint_every=2 --validate_every=4 "
        "--log_every=2 --validation_pictures=1"
    ).split()
    # TensorFlow must not be needed: importing it is an error there.
    program = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from restore_tf.commands import train, restore\n"
        "code = train.main(['train.py', *sys.argv[1:]])\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words, f"--workdir={tmp_path}"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Done: 4 steps" in done.stdout
    assert all(np.isfinite(w).all() for w in weights(tmp_path, "best"))
    assert all(np.isfinite(w).all() for w in weights(tmp_path, "latest"))
