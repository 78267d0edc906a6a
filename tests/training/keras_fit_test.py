"""Plain `compile` and `fit`, as anybody trains a Keras model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import some_batch, tiny

from restore_tf.experiments import experiment
from restore_tf.networks import losses
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
