"""The plain networks: parameter counts, what they see, their output's range, recipes, tiles."""

import numpy as np
import pytest
import tensorflow as tf

from baselines_tf.plain import RECIPES, VARIANTS, Plain
from restore_tf.inference.restore import restore


def built(**arguments):
    model = Plain(**arguments)
    model.build()
    return model


# Counted by hand: 9 * in * out + out of every layer. The fields are the student project's.
@pytest.mark.parametrize(
    ("variant", "parameters", "field"), [("plain", 741_379, 13), ("plain_small", 151_171, 9)]
)
def test_parameters_and_receptive_field(variant, parameters, field):
    model = built(**VARIANTS[variant])
    assert model.count_params() == parameters
    assert 2 * model.tiler().margin + 1 == field


def test_every_variant_has_a_parameter_count():
    assert set(VARIANTS) == {"plain", "plain_small"}


def test_a_transposed_convolution_of_stride_1_is_a_convolution_with_the_kernel_turned():
    """What `plain_small`'s second half rests on; the student project's padding is 1."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 6, 7, 4)).astype(np.float32)
    kernel = random.normal(size=(3, 3, 2, 4)).astype(np.float32)  # of the transposed one: out, in
    transposed = tf.nn.conv2d_transpose(x, kernel, (1, 6, 7, 2), 1, "SAME")
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    np.testing.assert_allclose(tf.nn.conv2d(x, turned, 1, "SAME"), transposed, atol=1e-5)


def test_numbers_by_hand():
    """One hidden layer of one filter: sums over 3x3 with zeros around, a ReLU, a sigmoid."""
    model = built(filters=(1,))
    hidden, last = model.convolutions
    hidden.set_weights([np.ones((3, 3, 3, 1)), np.array([-26.0])])
    last.set_weights([np.ones((3, 3, 1, 3)), np.array([0.0, -1.0, 1.0])])
    (restored,) = model(np.ones((1, 4, 4, 3), np.float32))
    # Inside 27 values of 1 minus 26 are 1; at the border 18 or 12 minus 26 are cut to 0.
    expected = 1 / (1 + np.exp(-np.array([4.0, 3.0, 5.0])))
    np.testing.assert_allclose(restored[0, 1, 1], expected, rtol=1e-6)
    np.testing.assert_allclose(restored[0, 0, 0], 1 / (1 + np.exp(-np.array([1, 0, 2]))), rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_a_sigmoid_bounds_the_output(variant):
    model = built(**{**VARIANTS[variant], "filters": (4, 4)})
    for weight in model.trainable_variables:
        weight.assign(5 * weight)
    images = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    restored = np.asarray(model(20 * images)[-1])
    assert (restored.min() >= 0 and restored.max() <= 1) == (variant == "plain")


def test_tiles_are_exact():
    model = built(filters=(4, 8, 4))
    picture = np.random.default_rng(0).random((70, 90, 3), np.float32)
    whole = restore(model, picture, whole=True)
    np.testing.assert_allclose(restore(model, picture, tile=40), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_quick_begins_as_the_identity(variant):
    model = built(**RECIPES["quick"](variant).network)
    images = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(model(images)[-1], images)


def test_the_projects_rates():
    rates = {model: RECIPES["seed"](model).learning_rate for model in VARIANTS}
    assert rates == {"plain": 1e-3, "plain_small": 1e-4}


@pytest.mark.parametrize("wrong", [{"filters": ()}, {"global_skip": True}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="expected"):
        Plain(**wrong)
