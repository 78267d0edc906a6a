"""What is done in bfloat16 only: the same numbers as plainly written, and weights as they were."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow.core.protobuf import saved_model_pb2

from mprnet_tf.model import MPRNet
from restore_tf.export import saved_model
from restore_tf.networks import bfloat16, restorer
from restore_tf.networks.dtype_policy import computing_in
from restore_tf.networks.restorer import Restorer

SMALL = {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 1}
ROUNDING = 2.0**-8  # of a bfloat16, relative


class Bare(Restorer):
    """Convolutions of each kind, without biases."""

    size_multiple = 2

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        bare = {"padding": "same", "use_bias": False}
        self.convolutions = [
            layers.Conv2D(4, 3, strides=2, **bare),
            layers.DepthwiseConv2D(3, depth_multiplier=2, **bare),
            layers.Conv2DTranspose(3, 4, strides=2, **bare),
        ]

    def call(self, images, training=False):
        x = images
        for convolution in self.convolutions:
            x = convolution(x)
        return [ops.cast(x, "float32") + images]


KINDS = [(Bare, {}), pytest.param(MPRNet, SMALL, marks=pytest.mark.slow)]


def made(kind, policy, **arguments):
    keras.utils.set_random_seed(3)
    with computing_in(policy):
        model = kind(**arguments)
        model.build()
    return model


@pytest.fixture
def images():
    return np.random.default_rng(0).random((2, 32, 48, 3), np.float32)


def constants(model, training=False):
    """The biases of 1e-30 in the graph of one call."""
    function = tf.function(lambda x: model(x, training=training)[-1])
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    return biases(function.get_concrete_function(spec).graph.as_graph_def().node)


def biases(nodes):
    """How many of the constants among nodes are 1e-30 throughout."""
    values = [tf.make_ndarray(node.attr["value"].tensor) for node in nodes if node.op == "Const"]
    values = [value.astype(np.float64) for value in values if value.dtype.kind in "fV"]
    return sum(bool(value.size) and bool(np.all(np.abs(value - 1e-30) < 1e-32)) for value in values)


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_float32_has_no_biases_and_the_same_bits(kind, arguments, images, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(restorer, "biased", contextlib.nullcontext)
        expected = made(kind, "float32", **arguments).for_inference().restore_padded(images)
    model = made(kind, "float32", **arguments).for_inference()
    with model.with_folded_weights():
        assert constants(model) == 0
    np.testing.assert_array_equal(model.restore_padded(images), expected)


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_biases_in_bfloat16_change_nothing_and_leave_again(kind, arguments, images):
    images = np.tile(images, (3, 1, 1, 1))  # too many for attention within convolutions
    model = made(kind, "mixed_bfloat16", **arguments)
    paths = [variable.path for variable in model.weights]
    weights = model.get_weights()
    without = np.asarray(model(images)[-1])
    found = {id(layer): layer for layer in model._flatten_layers()}.values()
    bare = [one for one in found if isinstance(one, bfloat16.CONVOLUTIONS)]
    wanted = sum(one.compute_dtype == "bfloat16" for one in bare)
    with model.with_folded_weights():
        assert constants(model) >= wanted
        with_biases = np.asarray(model(images)[-1])  # op by op: nothing is fused
        assert [variable.path for variable in model.weights] == paths
    np.testing.assert_allclose(with_biases, without, atol=1e-6)  # the PReLU's alpha in 16 bits
    assert all(not one.use_bias and one.bias is None for one in bare)
    assert constants(model, training=True) == 0
    for now, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)


def test_saved_models_have_the_biases(tmp_path, images):
    model = made(Bare, "mixed_bfloat16")
    saved_model.write(model, tmp_path / "1")
    content = saved_model_pb2.SavedModel()
    content.ParseFromString((tmp_path / "1" / "saved_model.pb").read_bytes())
    functions = content.meta_graphs[0].graph_def.library.function
    assert sum(biases(function.node_def) for function in functions) == len(model.convolutions)
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"]
    restored = served(images=tf.constant(images))["restored"].numpy()
    np.testing.assert_allclose(restored, model(images)[-1], atol=1e-6)
    assert all(not layer.use_bias for layer in model.convolutions)


@pytest.mark.parametrize("count", [2, pytest.param(1, id="attention within convolutions")])
def test_bfloat16_restores_within_its_rounding(images, count):
    images = images[:count]
    single = made(MPRNet, "float32", **SMALL)
    half = made(MPRNet, "mixed_bfloat16", **SMALL)
    half.set_weights(single.get_weights())
    expected = np.asarray(single(images)[-1])
    restored = half.for_inference().restore_padded(images)
    residual = np.std(expected - images)
    assert np.sqrt(np.mean((restored - expected) ** 2)) < 4 * ROUNDING * residual
    assert residual > 0.05  # else there was nothing to compare


@pytest.mark.parametrize(
    ("batch", "side", "biased"),
    [(1, 3, False), (1, 3, True), (4, 3, True), (1, 1, True), (2, 5, 0)],
)
def test_attention_within_a_convolution(batch, side, biased):
    random = np.random.default_rng(5)
    shapes = (batch, 9, 14, 6), (batch, 9, 14, 4), (side, side, 4, 6), (6,)
    x, y, kernel, bias = (tf.cast(random.normal(0.3, 1, shape), tf.bfloat16) for shape in shapes)
    bias = bias if biased else None
    with bfloat16.biased(made(Bare, "mixed_bfloat16")):
        assert bfloat16.takes_attention(y)
        found = bfloat16.attended(x, y, kernel, bias, gate=lambda means: means / 2)
    convolved = tf.nn.conv2d(tf.cast(y, tf.float64), tf.cast(kernel, tf.float64), 1, "SAME")
    convolved = convolved.numpy() + (0 if bias is None else tf.cast(bias, tf.float64).numpy())
    means = convolved.mean(axis=(1, 2), keepdims=True)
    expected = tf.cast(x, tf.float64).numpy() + convolved * means / 2
    assert found.dtype == tf.bfloat16 and found.shape == x.shape
    np.testing.assert_allclose(
        tf.cast(found, tf.float64), expected, atol=4 * ROUNDING * np.abs(expected).max()
    )


def test_attention_is_within_convolutions_in_graphs_for_inference_of_few_images():
    network = made(Bare, "mixed_bfloat16")
    four, five = (tf.zeros((batch, 2, 2, 3), tf.bfloat16) for batch in (4, 5))
    assert not bfloat16.takes_attention(four)
    with bfloat16.biased(network):
        assert bfloat16.takes_attention(four)
        assert not bfloat16.takes_attention(five)
        assert not bfloat16.takes_attention(tf.cast(four, tf.float32))
        assert not bfloat16.takes_attention(keras.Input((2, 2, 3), dtype="bfloat16"))


def test_mean_over_a_picture_in_bfloat16():
    x = np.random.default_rng(1).normal(1, 1, (2, 100, 300, 5))
    x = tf.cast(x, tf.bfloat16)
    exact = x.numpy().astype(np.float64).mean(axis=(1, 2), keepdims=True)
    found = bfloat16.global_mean(x)
    assert found.dtype == tf.bfloat16
    np.testing.assert_allclose(found.numpy().astype(np.float64), exact, rtol=ROUNDING)


def test_normalisation_in_bfloat16():
    x = tf.cast(np.random.default_rng(2).normal(3, 2, (1, 8, 8, 64)), tf.bfloat16)
    given = x.numpy().astype(np.float64)
    given = given - given.mean(axis=-1, keepdims=True)
    exact = given / np.sqrt((given**2).mean(axis=-1, keepdims=True) + 1e-6)
    found = bfloat16.normalize(x, 1e-6).numpy().astype(np.float64)
    np.testing.assert_allclose(found, exact, rtol=3 * ROUNDING, atol=1e-2)


def test_gelu_of_a_product_in_bfloat16():
    random = np.random.default_rng(4)
    x, kernel, bias = (
        tf.cast(random.normal(size=shape), tf.bfloat16) for shape in [(2, 4, 6, 8), (8, 5), (5,)]
    )
    z = x.numpy().astype(float) @ kernel.numpy().astype(float) + bias.numpy().astype(float)
    exact = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    for product in (bfloat16.gelu_product, tf.function(bfloat16.gelu_product)):
        found = product(x, kernel, bias).numpy().astype(float)
        np.testing.assert_allclose(found, exact, rtol=2 * ROUNDING, atol=0.03)


def test_scale_and_shift_in_bfloat16():
    random = np.random.default_rng(5)
    x, scale, shift = (
        tf.cast(random.normal(size=shape), tf.bfloat16) for shape in [(2, 4, 6, 8), (8,), (8,)]
    )
    exact = x.numpy().astype(float) * scale.numpy().astype(float) + shift.numpy().astype(float)
    found = bfloat16.scale_shift(x, scale, shift).numpy().astype(float)
    np.testing.assert_allclose(found, exact, rtol=2 * ROUNDING, atol=0.02)


def weight_casts(model):
    """How many weights the one compiled network casts in every run."""
    (compiled,) = model.__dict__["_compiled"].values()
    casts = [op for op in compiled.graph.get_operations() if op.type == "Cast"]
    return sum(op.inputs[0].op.type == "ReadVariableOp" for op in casts)


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_weights_are_cast_once_where_they_no_longer_change(kind, arguments, images):
    model = made(kind, "mixed_bfloat16", **arguments)
    before = [weight.numpy() for weight in model.weights]
    with_variables = model.restore_padded(images)
    assert weight_casts(model) >= 3
    model.__dict__["_compiled"].clear()
    model.for_inference()
    # Biases of 1e-30 and folded weights may round elsewhere; casting itself changes nothing.
    np.testing.assert_allclose(model.restore_padded(images), with_variables, atol=0.02)
    assert weight_casts(model) == 0
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
        assert weight.dtype == "float32"


@pytest.mark.parametrize("by_file", [False, True])
def test_weights_that_are_replaced_are_those_that_restore(images, tmp_path, by_file):
    model, other = (made(Bare, "mixed_bfloat16").for_inference() for _ in range(2))
    other.set_weights([2 * weight for weight in model.get_weights()])
    before = model.restore_padded(images)
    if by_file:
        other.save_weights(tmp_path / "other.weights.h5")
        model.load_weights(tmp_path / "other.weights.h5")
    else:
        model.set_weights(other.get_weights())
    np.testing.assert_array_equal(model.restore_padded(images), other.restore_padded(images))
    assert np.abs(model.restore_padded(images) - before).max() > 0.1


def test_casting_once_changes_no_bit(images, monkeypatch):
    model = made(Bare, "mixed_bfloat16").for_inference()
    found = model.restore_padded(images)
    model.__dict__["_compiled"].clear()
    monkeypatch.setattr(restorer, "cast_once", lambda model: contextlib.nullcontext())
    np.testing.assert_array_equal(found, model.restore_padded(images))
