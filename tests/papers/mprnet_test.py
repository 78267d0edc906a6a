"""MPRNet against the published behaviour: parity files, parameter counts, hand calculations."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mprnet_tf.attention import ChannelAttention, sliding_mean
from mprnet_tf.blocks import Down, Up
from mprnet_tf.convert import load_checkpoint, load_state_dict, name_map
from mprnet_tf.model import TASKS, MPRNet
from restore_tf.errors import UserError
from restore_tf.networks import layers, losses
from restore_tf.weights.pytorch_files import read_state_dict

PARITY = Path(__file__).parents[1] / "parity"
SMALL = {"n_feat": 12, "scale_unetfeats": 4, "scale_orsnetfeats": 8, "num_cab": 3}
SMALLER = {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 2}
SMALLEST = {**SMALLER, "num_cab": 1}  # TensorFlow takes a second to trace each block
# {checkpoint: (files of numbers, arguments)}; see their origin in tests/parity/README.md.
CASES = {
    "mprnet_small": (["mprnet_small_io"], SMALL),
    "mprnet_small_dataparallel": (["mprnet_small_dataparallel_io"], SMALLER),
    "mprnet_local_small": (
        ["mprnet_local_small_io", "mprnet_local_small_wide_io"],
        {**SMALL, "local_attention": 32},
    ),
}


def built(**kwargs):
    model = MPRNet(**kwargs)
    model.build()
    return model


def small(**kwargs):
    return built(**SMALL, **kwargs)


@pytest.mark.parametrize(
    ("task", "parameters"),
    [("deblurring", 20_127_073), ("denoising", 15_741_025), ("deraining", 3_637_249)],
)
def test_parameter_counts(task, parameters):
    assert built(**TASKS[task]).count_params() == parameters


def published(checkpoint):
    """The network with a checkpoint's weights, and its files of numbers."""
    files, arguments = CASES[checkpoint]
    model = built(**arguments)
    load_checkpoint(model, PARITY / f"{checkpoint}.pth")
    return model, [np.load(PARITY / f"{file}.npz") for file in files]


def assert_stages_equal(call, numbers):
    stages = call(numbers["input"][None])
    assert len(stages) == 3
    for index, stage in enumerate(stages, 1):
        expected = numbers[f"stage{index}"]
        np.testing.assert_allclose(stage[0], expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("checkpoint", CASES)
def test_outputs_equal_the_published_behaviour(checkpoint):
    model, files = published(checkpoint)
    for numbers in files:
        assert_stages_equal(model, numbers)


@pytest.mark.parametrize(
    "checkpoint", ["mprnet_small", pytest.param("mprnet_local_small", marks=pytest.mark.slow)]
)
def test_outputs_equal_the_published_behaviour_in_one_graph_for_all_sizes(checkpoint):
    model, files = published(checkpoint)
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for numbers in files:
        assert_stages_equal(compiled, numbers)


def test_global_attention_is_another_result():
    """The parity of local attention would mean little if global attention gave the same."""
    model = small()
    load_checkpoint(model, PARITY / "mprnet_local_small.pth")
    numbers = np.load(PARITY / "mprnet_local_small_io.npz")
    expected = numbers["stage3"]
    difference = np.abs(model(numbers["input"][None])[-1][0] - expected).max()
    assert difference > 1e-3 * np.ptp(expected)


@pytest.mark.parametrize("stages", [1, 2])
def test_early_exits_run_from_the_same_weights(stages, tmp_path):
    whole, part = built(**SMALLEST), built(**SMALLEST, stages=stages)
    assert part.count_params() < whole.count_params()
    whole.save_weights(tmp_path / "a.weights.h5")
    part.load_weights(tmp_path / "a.weights.h5")
    image = np.random.default_rng(0).random((1, 24, 32, 3), np.float32)
    outputs = part(image)
    assert len(outputs) == stages
    for expected, output in zip(whole(image), outputs, strict=False):
        np.testing.assert_allclose(output, expected, atol=1e-6)


def test_one_prelu_serves_the_network():
    model = small()
    alphas = [v for v in model.weights if v.name == "alpha"]
    assert len(alphas) == 1
    assert alphas[0].shape == (1, 1, 1)
    assert float(alphas[0].numpy().item()) == 0.25


def test_alpha_is_a_number_for_inference_and_never_an_old_one():
    model = built(**SMALLEST)
    model.for_inference()  # as load_model says; validation in training must not compile anew
    image = np.random.default_rng(0).random((1, 16, 24, 3), np.float32)
    for alpha in (0.25, -0.5, 1.5):  # below 0 and above 1 too: PReLU has no bounds
        model.prelu.alpha.assign(np.full((1, 1, 1), alpha))
        np.testing.assert_allclose(model.restore_padded(image), model(image)[-1], atol=1e-6)
        with model.with_folded_weights():  # as `restore_padded` traces it
            graph = tf.function(model.restore_batch).get_concrete_function(tf.constant(image)).graph
        operations = [node.type for node in graph.get_operations()]
        applied = sum("CA.conv_du.0.weight" in name for name in name_map(model))  # in each CAB
        assert operations.count("LeakyRelu") == applied
        assert "Neg" not in operations
    assert model.prelu.slope is None  # training has the weight


def test_initialisation_is_pytorchs():
    kernel = small().merge2.kernel.numpy()
    limit = 1 / np.sqrt(9 * 2 * SMALL["n_feat"])  # PyTorch: kaiming_uniform_(a=sqrt(5))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_upsample2_equals_tensorflow():
    images = np.random.default_rng(1).random((2, 5, 3, 4), np.float32)
    expected = tf.image.resize(images, (10, 6), "bilinear")
    np.testing.assert_allclose(layers.upsample2(images), expected, atol=1e-6)


def test_up_and_down_equal_the_papers_order():
    images = np.random.default_rng(1).random((2, 6, 8, 4), np.float32)
    up, down = Up(3), Down(5)
    resized = tf.image.resize(images, (12, 16), "bilinear")
    result = up(images)
    np.testing.assert_allclose(result, tf.nn.conv2d(resized, up.conv.kernel, 1, "SAME"), atol=1e-5)
    halved = tf.image.resize(images, (3, 4), "bilinear")
    result = down(images)
    np.testing.assert_allclose(result, tf.nn.conv2d(halved, down.conv.kernel, 1, "SAME"), atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 40])
def test_running_sum_equals_numpy(size, axis):
    shape = [2, 3, 4, 5]
    shape[axis] = size
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    signature = [tf.TensorSpec((None, None, None, 5))]
    any_size = tf.function(lambda x: layers.running_sum(x, axis), input_signature=signature)
    expected = np.cumsum(x, axis=axis, dtype=np.float64)
    np.testing.assert_allclose(layers.running_sum(tf.constant(x), axis), expected, atol=1e-5)
    np.testing.assert_allclose(any_size(x), expected, atol=1e-5)


@pytest.mark.parametrize("window", [(3, 4), (4, 3), (9, 2), (2, 50), (50, 50), (1, 1)])
def test_sliding_mean_by_brute_force(window):
    x = np.random.default_rng(2).normal(size=(2, 7, 9, 8)).astype(np.float32)
    layer = ChannelAttention(8, 2, window)
    result = layer(x)
    height, width = min(window[0], 7), min(window[1], 9)
    means = np.array(
        [
            [x[:, i : i + height, j : j + width].mean(axis=(1, 2)) for j in range(10 - width)]
            for i in range(8 - height)
        ]
    ).transpose(2, 0, 1, 3)
    hidden = np.maximum(means @ layer.squeeze.kernel.numpy()[0, 0], 0)
    gate = 1 / (1 + np.exp(-hidden @ layer.excite.kernel.numpy()[0, 0]))
    top, left = (height - 1) // 2, (width - 1) // 2
    bottom, right = height - 1 - top, width - 1 - left
    gate = np.pad(gate, ((0, 0), (top, bottom), (left, right), (0, 0)), mode="edge")
    np.testing.assert_allclose(result, x * gate, atol=1e-5)


def test_sliding_means_are_summed_in_float32():
    """In 16 bits a running sum over 500 pixels of about 1 keeps no more than whole numbers."""
    x = (1 + 0.1 * np.random.default_rng(4).normal(size=(1, 4, 500, 4))).astype(np.float32)
    means = sliding_mean(tf.cast(x, "bfloat16"), (4, 20))
    expected = sliding_mean(tf.constant(x), (4, 20))
    assert means.dtype == "bfloat16"
    np.testing.assert_allclose(tf.cast(means, "float32"), expected, rtol=2**-7)


def test_windows_of_the_paper():
    """TLC's numbers for training crops of 256, as its text gives them."""
    model = small(local_attention=256)

    def windows(block):
        return [cabs[0].attention.window for cabs in block.levels]

    assert windows(model.encoder1) == [(192, 192), (96, 96), (48, 48)]
    assert windows(model.decoder1) == [(192, 384), (96, 192), (48, 96)]
    assert windows(model.encoder2) == [(192, 384), (96, 192), (48, 96)]
    assert windows(model.decoder2) == [(384, 384), (192, 192), (96, 96)]
    assert model.decoder1.skips[1].attention.window == (96, 192)
    assert model.shallow1.cab.attention.window == (192, 192)
    assert model.shallow2.cab.attention.window == (192, 384)
    assert model.shallow3.cab.attention.window == (384, 384)
    assert model.orsnet.orbs[2].cabs[0].attention.window == (384, 384)


def test_wrong_arguments_and_sizes_are_named():
    with pytest.raises(ValueError, match="stages=4; expected 1, 2 or 3"):
        MPRNet(stages=4)
    with pytest.raises(ValueError, match="multiples of 8, got 20x32"):
        small()(np.zeros((1, 20, 32, 3), np.float32))


def test_losses_equal_the_published_ones():
    numbers = np.load(PARITY / "mprnet_losses_io.npz")
    sharp, restored = numbers["sharp"], numbers["restored"]
    for name, values in [
        ("charbonnier", losses.charbonnier(sharp, restored)),
        ("edge", losses.edge(sharp, restored)),
        ("total", losses.charbonnier_edge(sharp, [restored])),
    ]:
        assert values.shape == (2,)
        assert float(np.mean(values)) == pytest.approx(float(numbers[name]), rel=1e-5)


def test_losses_sum_over_stages_and_clip():
    sharp = np.ones((1, 4, 4, 3), np.float32)
    over = np.full_like(sharp, 1.5)
    assert float(losses.charbonnier_clipped(sharp, [over])[0]) == pytest.approx(1e-3)
    once = float(losses.charbonnier_edge(sharp, [over])[0])
    assert float(losses.charbonnier_edge(sharp, [over, over])[0]) == pytest.approx(2 * once)


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_every_weight_has_a_checkpoint_name(stages):
    model = small(stages=stages)
    assert {id(v) for v in name_map(model).values()} == {id(v) for v in model.weights}


def change(tensors, **changes):
    tensors = dict(tensors)
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    return tensors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tail__weight": None}, "lacks tail.weight"),
        ({"extra__weight": np.zeros(3)}, "holds extra.weight, which it has no place for"),
        ({"tail__weight": np.zeros((3, 9, 3, 3))}, r"tail.weight has shape \(3, 9, 3, 3\)"),
        ({"shallow_feat1__1__body__1__weight": np.array([0.3])}, "its PReLUs differ"),
    ],
)
def test_wrong_state_dicts_change_nothing(changes, message):
    model = small()
    before = [w.numpy() for w in model.weights]
    tensors = change(read_state_dict(PARITY / "mprnet_small.pth"), **changes)
    with pytest.raises(UserError, match=message):
        load_state_dict(model, tensors, "a.pth")
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_a_checkpoint_of_another_task_is_named():
    model = built(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=8, num_cab=3)
    with pytest.raises(UserError, match="choose the --task"):
        load_checkpoint(model, PARITY / "mprnet_small.pth")
