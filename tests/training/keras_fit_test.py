"""Plain `compile` and `fit`, as anybody trains a Keras model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import some_batch, tiny, toy

from restore_tf.experiments import experiment
from restore_tf.networks import losses, noise
from restore_tf.networks.keras_metrics import PSNR
from restore_tf.training import strategies


@pytest.mark.parametrize("strategy", ["one", "mirrored"])
def test_plain_compile_and_fit(strategy):
    """One step of plain descent, against the gradient of the mean over the whole batch."""
    strategy = strategies.make_strategy(strategy)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = experiment.build(tiny())
        model.compile(keras.optimizers.SGD(0.1), "multi_scale_squared_error", metrics=[PSNR()])
    degraded, sharp, _ = some_batch()
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        per_image = losses.multi_scale_squared_error(sharp, model(degraded))
        loss = tf.reduce_mean(per_image)
    before = [v.numpy() for v in variables]
    gradients = tape.gradient(loss, variables)
    data = tf.data.Dataset.from_tensor_slices((degraded, sharp)).batch(2)
    restored = model(degraded)[-1].numpy()
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
    degraded, sharp, _ = some_batch()
    logs = model.evaluate(degraded, sharp, verbose=0, return_dict=True)
    expected = np.mean(losses.charbonnier(sharp, model(degraded)[-1]))
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["one", "mirrored"])
def test_fit_minimises_the_papers_own_loss(strategy):
    """The toy sampler's: noise of each sample's seed, at each sample's level."""
    strategy = strategies.make_strategy(strategy)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = experiment.build(toy("sampler"))
        model.compile(keras.optimizers.SGD(0.1), "charbonnier_edge")
    kernel, bias = (v.numpy() for v in model.trainable_variables)
    degraded, sharp, _ = some_batch()
    seeds = np.array([[3, 10], [3, 11]], np.int32)
    level = np.asarray(noise.uniform_per_image(seeds))[:, None, None, None]
    noisy = degraded + level * np.asarray(noise.normal(degraded.shape, seeds, draw=1))
    error = sharp - (noisy + 0.1 * (noisy @ kernel[0, 0] + bias))
    data = tf.data.Dataset.from_tensor_slices((degraded, sharp, seeds)).batch(2)
    history = model.fit(data, verbose=0).history
    np.testing.assert_allclose(history["loss"], [np.mean(error**2)], rtol=1e-5)
    # The mean of error^2 over the batch: its gradient by the bias is -2 * 0.1 * error, averaged.
    slope = -0.2 * error.mean(axis=(0, 1, 2)) / 3
    np.testing.assert_allclose(model.trainable_variables[1], bias - 0.1 * slope, atol=1e-7)


def test_a_loss_that_draws_needs_seeds():
    model = experiment.build(toy("sampler"))
    model.compile("adam", "charbonnier_edge")
    degraded, sharp, _ = some_batch()
    with pytest.raises(ValueError, match="draws noise: fit it on batches of .degraded, sharp"):
        model.fit(degraded, sharp, verbose=0)


def test_seeds_and_weights_of_samples_are_told_apart():
    model = experiment.build(tiny())
    model.compile("adam", "multi_scale_squared_error", metrics=[PSNR()])
    degraded, sharp, seeds = some_batch()
    per_image = losses.multi_scale_squared_error(sharp, model(degraded)).numpy()
    for third, expected in [(seeds, per_image.mean()), (np.array([2.0, 0.0]), per_image[0])]:
        logs = model.evaluate(degraded, sharp, sample_weight=third, verbose=0, return_dict=True)
        assert logs["loss"] == pytest.approx(expected, rel=1e-5)
