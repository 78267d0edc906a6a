"""Muon on kernels against NumPy's singular value decomposition; Adam on all else."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tiny_training import light

from restore_tf.training.optimizers import ScheduledMuon, make_optimizer

RATE = 1e-2


@pytest.fixture
def network():
    made = [layers.Conv2D(16, 3, name="first"), layers.Conv2D(24, 3, name="middle")]
    return keras.Sequential([keras.Input((8, 8, 3)), *made])


def stepped(network, clipped, gradients):
    """What one step at RATE subtracts from each weight, in RATEs."""
    recipe = light(optimizer="muon", learning_rate=RATE, schedule="constant")
    optimizer = make_optimizer(recipe, network, clipped=clipped)
    before = [weight.numpy() for weight in network.trainable_variables]
    optimizer.apply([tf.constant(one) for one in gradients], network.trainable_variables)
    pairs = zip(before, network.trainable_variables, strict=True)
    return [(old - weight.numpy()) / RATE for old, weight in pairs]


def drawn(network, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(0, 0.1, v.shape).astype(np.float32) for v in network.trainable_variables]


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_an_inner_kernel_takes_an_orthogonal_step(network, clipped, policy):
    """As large as Adam's: 0.2 a weight, in the mean square (arXiv 2502.16982)."""
    gradients = drawn(network)
    keras.config.set_dtype_policy(policy)
    try:
        kernel = stepped(network, clipped, gradients)[2].reshape(9 * 16, 24)
    finally:
        keras.config.set_dtype_policy("float32")
    left, _, right = np.linalg.svd(gradients[2].reshape(9 * 16, 24), full_matrices=False)
    turned = left.T @ kernel @ right.T / (0.2 * np.sqrt(9 * 16))
    # Its five iterations end around 1, not at it.
    assert np.all((np.diag(turned) > 0.6) & (np.diag(turned) < 1.25))
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=0.05)
    assert np.sqrt(np.mean(kernel**2)) == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("shape", [(3, 3, 16, 24), (5, 5, 32, 32), (1, 1, 16, 40)])
@pytest.mark.parametrize("rank", [1, 5, 16])
def test_a_step_is_keras(shape, rank):
    """Of kernels of low rank too, whose squares have eigenvalues that round below 0."""
    random = np.random.default_rng(rank)
    rows = int(np.prod(shape[:3]))
    matrix = random.normal(size=(rows, rank)) @ random.normal(size=(rank, shape[3]))
    matrix = (matrix * 1e-4).astype(np.float32)
    ours = ScheduledMuon(0.1, 0.0).zeropower_via_newtonschulz5(matrix.reshape(shape), 5)
    theirs = keras.optimizers.Muon().zeropower_via_newtonschulz5(tf.constant(matrix), 5)
    np.testing.assert_allclose(np.reshape(ours, (rows, -1)), theirs, atol=2e-4)


def test_momentum_adds_up(network):
    """Nesterov's: after gradients g and h it is 0.95 (0.95 g + h) + h, up to its length."""
    recipe = light(optimizer="muon", learning_rate=RATE, schedule="constant")
    optimizer = make_optimizer(recipe, network)
    variables = network.trainable_variables
    first, second = drawn(network, 1), drawn(network, 2)
    optimizer.apply([tf.constant(one) for one in first], variables)
    before = variables[2].numpy()
    optimizer.apply([tf.constant(one) for one in second], variables)
    step = (before - variables[2].numpy()).reshape(9 * 16, 24)
    mixed = 0.95 * (0.95 * first[2] + second[2]) + second[2]
    left, _, right = np.linalg.svd(mixed.reshape(9 * 16, 24), full_matrices=False)
    turned = left.T @ step @ right.T / (RATE * 0.2 * np.sqrt(9 * 16))
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=0.05)


@pytest.mark.parametrize("clipped", [False, True])
def test_first_kernels_and_biases_are_adams(network, clipped):
    gradients = drawn(network)
    steps = stepped(network, clipped, gradients)
    for place in (0, 1, 3):
        # Adam's first step, after bias correction.
        expected = gradients[place] / (np.abs(gradients[place]) + 1e-8 / np.sqrt(1 - 0.999))
        np.testing.assert_allclose(steps[place], expected, atol=1e-4)
