"""MAXIM against the published behaviour: parity files, parameter counts, hand calculations.

The converter of the published weights is in maxim_convert_test.py.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from maxim_tf import convert, flax, gating, parts, recipes
from maxim_tf import model as maxim
from maxim_tf.model import MAXIM, VARIANTS
from restore_tf.networks import layers, losses

PARITY = Path(__file__).parents[1] / "parity"
# See the parity files' origin in tests/parity/README.md.
SMALL = {
    "features": 4,
    "num_stages": 2,
    "num_groups": 1,
    "num_bottleneck_blocks": 2,
    "block_size_hr": 4,
    "block_size_lr": 2,
}
BLOCKS16 = {"features": 4, "num_stages": 1, "num_groups": 2, "num_bottleneck_blocks": 1}
SCALES = ("scale3", "scale2", "scale1")  # 1/4, 1/2, 1


def loaded(name="maxim_small", **arguments):
    model = MAXIM(**(SMALL if name == "maxim_small" else BLOCKS16), **arguments)
    convert.load_checkpoint(model, PARITY / f"{name}.npz")
    return model


def numbers(name="maxim_small"):
    return np.load(PARITY / f"{name}_io.npz")


def outputs_of(expected, stages, wide=""):
    """The expected outputs as MAXIM lists them."""
    return [expected[f"stage{s + 1}_{scale}{wide}"] for s in range(stages) for scale in SCALES]


def error(results, expected):
    """The largest difference, in parts of the range of each expected picture."""
    assert len(results) == len(expected)
    pairs = zip(results, expected, strict=True)
    return max(float(np.abs(result - e).max() / np.ptp(e)) for result, e in pairs)


@pytest.fixture(scope="module")
def small():
    return loaded()


@pytest.mark.parametrize("wide", ["", "_wide"])
def test_outputs_equal_the_published_behaviour(small, wide):
    assert small.size_multiple == 16
    expected = numbers()
    assert error(small(expected[f"input{wide}"]), outputs_of(expected, 2, wide)) < 1e-5


@pytest.mark.slow
def test_outputs_equal_the_published_behaviour_in_one_graph_for_all_sizes():
    """With the paper's block sizes."""
    model, expected = loaded("maxim_blocks16_small"), numbers("maxim_blocks16_small")
    assert model.size_multiple == 64
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for wide in ("", "_wide"):
        results = compiled(expected[f"input{wide}"])
        assert error(results, outputs_of(expected, 1, wide)) < 1e-5


def probes(model, monkeypatch, images):
    """{Flax path: what that module gives} for the modules that exist as such here."""
    found = {}

    def keep(name, layer, pick=lambda outputs: outputs):
        call = layer.call

        def recorded(*args, **kwargs):
            outputs = call(*args, **kwargs)
            found[name] = pick(outputs)
            return outputs

        monkeypatch.setattr(layer, "call", recorded)

    first, second = model.parts
    [[mab, rcab]] = first.encoders[0].groups
    keep("stage_0_encoder_block_0/SplitHeadMultiAxisGmlpLayer_0/GridGmlpLayer", mab.grid)
    keep("stage_0_encoder_block_0/SplitHeadMultiAxisGmlpLayer_0/BlockGmlpLayer", mab.block)
    keep("stage_0_encoder_block_0/SplitHeadMultiAxisGmlpLayer_0", mab)
    keep("stage_0_encoder_block_0/channel_attention_block_10", rcab)
    keep("stage_0_encoder_block_0#0", first.downs[0])
    keep("stage_0_encoder_block_0#1", first.encoders[0])
    keep("stage_0_global_block_0", first.bottleneck[0])
    keep("stage_0_cross_gating_block_2#0", first.skip_gates[2], lambda pair: pair[0])
    keep("stage_0_decoder_block_2", first.decoders[2])
    keep("stage_0_supervised_attention_module_0#0", first.sams[0], lambda pair: pair[0])
    keep("stage_1_input_fuse_sam_0#0", second.fusions[0], lambda pair: pair[0])
    crossed = second.encoders[0].cross_gating
    keep("stage_1_encoder_block_0/cross_gating_block#0", crossed, lambda pair: pair[0])
    keep("stage_1_encoder_block_0/cross_gating_block#1", crossed, lambda pair: pair[1])
    model(images)
    return found


def test_the_parts_equal_the_published_ones(small, monkeypatch):
    expected = numbers()
    found = probes(small, monkeypatch, expected["input"][:1])
    assert len(found) == 13
    for name, result in found.items():
        assert error([result], [expected[f"probe:{name}"]]) < 1e-5, name


@pytest.mark.parametrize(
    ("number", "source", "level"), [(0, "stage_0_encoder_block_0#1", 2), (8, None, 0)]
)
def test_resizes_equal_the_published_ones(small, monkeypatch, number, source, level):
    """Shrunk to a quarter and, from the same level, a 1x1 convolution alone."""
    expected = numbers()
    x = expected[f"probe:{source}"] if source else None
    resizes = [r for s in small.parts[0].skips for r in s.resizes]
    resize = next(r for r in resizes if r.name == f"UpSampleRatio_{number}")
    identity = np.eye(resize.conv.kernel.shape[-1], dtype=np.float32)
    if x is None:  # of features at a quarter of the size, which no probe holds: by TensorFlow
        x = np.random.default_rng(0).normal(size=(1, 8, 8, 16)).astype(np.float32)
        kernel = resize.conv.kernel
        want = tf.nn.conv2d(tf.image.resize(x, (32, 32)), kernel, 1, "SAME") + resize.conv.bias
    else:
        want = expected[f"probe:UpSampleRatio_{number}"]
    assert error([resize.then(x, identity)], [np.asarray(want)]) < 1e-5


# An early exit holds no more than a network of so many stages: 1 stage is S-1 or M-1, 2 are S-2. A
# third stage is as large as the second, so M-3 is M-2 with that once more: 66,991,707.
@pytest.mark.parametrize(
    ("variant", "arrays", "one_scale", "parameters"),
    [
        ("maxim_s1", 766, 6_108_515, [6_139_561]),
        pytest.param(
            *("maxim_s3", 2_754, 20_599_145, [6_139_561, 14_176_178, 22_212_795]),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "maxim_m2", 1_760, 40_839_110, [19_464_265, 43_227_986], marks=pytest.mark.slow
        ),
    ],
)
def test_parameter_counts(variant, arrays, one_scale, parameters):
    model = MAXIM(**VARIANTS[variant])
    assert (model.count_params(), len(model.weights)) == (parameters[-1], arrays)
    assert model.size_multiple == 64
    for stages, expected in enumerate(parameters[:-1], 1):
        assert MAXIM(**VARIANTS[variant], stages=stages).count_params() == expected
    single = MAXIM(**VARIANTS[variant], num_supervision_scales=1)
    assert single.count_params() == one_scale


def test_one_scale_gives_one_picture_a_stage():
    outputs = MAXIM(**SMALL, num_supervision_scales=1)(np.zeros((1, 32, 48, 3), np.float32))
    assert [output.shape for output in outputs] == [(1, 32, 48, 3)] * 2


def test_the_early_exit_is_the_networks_first_stage(small, tmp_path):
    """Read from the published file, and from the whole network's own weights."""
    images, expected = numbers()["input"], outputs_of(numbers(), 1)
    early = loaded(stages=1)
    assert error(early(images), expected) < 1e-5
    small.save_weights(tmp_path / "a.weights.h5")
    again = MAXIM(**SMALL, stages=1)
    again.load_weights(tmp_path / "a.weights.h5")
    assert error(again(images), expected) < 1e-5
    # Of the supervised attention modules, the picture's convolution alone is held.
    modules = {name.split("/")[1] for name in convert.name_map(early) if "attention_module" in name}
    assert modules == {"Conv_1"}
    assert not [name for name in convert.name_map(early) if name.startswith("stage_1")]


def erf_gelu(x):
    return keras.ops.gelu(x, approximate=False)


def twice_twice(images, factor):
    images = layers.upsample(images, 2)
    return layers.upsample(images, 2) if factor == 4 else images


def bilinear(images, factor):
    return tf.image.resize(images, [side // factor for side in images.shape[1:3]])


def unflipped(kernel):
    return np.ascontiguousarray(kernel.swapaxes(2, 3))


def top_left(images, i):
    return images[:, :: 2**i, :: 2**i]


# Last: what each mistake costs in the small network's answer, in parts of its range, as measured
# with another implementation, or None. Which of the answers that was is not known, hence "about".
MISTAKES = {
    "transposed convolutions not flipped": (flax, "from_flax_transposed", unflipped, 0.41),
    "epsilon of Keras": (parts, "EPSILON", 1e-3, None),
    "epsilon of PyTorch": (parts, "EPSILON", 1e-5, 1.7e-2),
    "inputs of the top left pixel": (maxim, "subsample", top_left, 0.18),
    "no antialiasing": (parts, "antialiased_downsample", bilinear, 0.13),
    "slope of Keras": (parts, "LEAKY_SLOPE", 0.3, 6.1e-2),
    "GELU by erf": (parts, "gelu", erf_gelu, 1.6e-3),
    "four times as twice twice": (parts, "upsample", twice_twice, None),
    "no + 1 in the gating unit": (gating, "GATE_OFFSET", 0.0, None),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_parity_catches_known_mistakes(mistake, small, monkeypatch):
    module, name, wrong, cost = MISTAKES[mistake]
    for user in module if isinstance(module, tuple) else (module,):
        monkeypatch.setattr(user, name, wrong)
    expected = numbers()
    model = loaded() if module is flax else small
    found = error(model(expected["input"])[-1:], [expected["stage2_scale1"]])
    assert found > 100 * 1e-5
    if cost:  # about as much as it costs elsewhere: the mistake was made, not another one
        assert cost / 2 < found < 2 * cost


def test_transposed_convolutions_are_keras_own():
    layer, after = parts.ConvTranspose(5, 3, name="up"), parts.Conv(3, 2, name="after")
    layer.bias.assign([0.1, 0.2, 0.3])
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 5)).astype(np.float32)
    own = keras.layers.Conv2DTranspose(3, 2, strides=2, padding="same")
    own.build(x.shape)
    own.set_weights([layer.kernel.numpy(), layer.bias.numpy()])
    kernel, bias = after.matrix()
    np.testing.assert_allclose(layer.then(x, kernel, bias), after(own(x)), atol=1e-5)


def test_tokens_by_their_definition():
    """Blocks and grids as the paper draws them, one pixel at a time."""
    size, x = 2, np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
    for axis in ("grid", "block"):
        layer = parts.TokenDense(size, axis, name="tokens")
        layer.bias.assign([1, 2, 3, 4])
        kernel, result = layer.kernel.numpy(), np.zeros_like(x)
        cell = (2, 3) if axis == "grid" else (size, size)  # height and width of what is cut
        for n, r, c in np.ndindex(2, 4, 6):
            # A pixel's token, and the pixels of the same block, or grid position, in token order.
            if axis == "grid":
                token = r // cell[0] * size + c // cell[1]
                mates = [(r % cell[0] + 2 * i, c % cell[1] + 3 * j) for i in (0, 1) for j in (0, 1)]
            else:
                token = r % size * size + c % size
                mates = [(r // 2 * 2 + i, c // 2 * 2 + j) for i in (0, 1) for j in (0, 1)]
            tokens = np.array([x[n, i, j] for i, j in mates])
            result[n, r, c] = kernel[:, token] @ tokens + layer.bias.numpy()[token]
        layout = parts.Layout(size, 4, 6, 3)
        np.testing.assert_allclose(layer(x, layout=layout), result, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_resizes_equal_tensorflows(factor):
    images = np.random.default_rng(1).random((2, 8, 12, 3), np.float32)
    larger = tf.image.resize(images, (8 * factor, 12 * factor))
    np.testing.assert_allclose(layers.upsample(images, factor), larger, atol=1e-6)
    for height in (factor, 8):  # one row alone, too: it lacks taps on both sides
        small = tf.image.resize(
            images[:, :height], (height // factor, 12 // factor), antialias=True
        )
        found = layers.antialiased_downsample(images[:, :height], factor)
        np.testing.assert_allclose(found, small, atol=1e-6)


def test_gelu_is_the_tanh_form():
    x = np.linspace(-12, 12, 4801, dtype=np.float32).reshape(1, 1, -1, 1)
    np.testing.assert_allclose(parts.gelu(x), tf.nn.gelu(x, approximate=True), atol=1e-6)


def test_normalisation_survives_a_large_mean():
    """The variance of a large number's last digits, which E[x^2] - E[x]^2 would lose."""
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 32)).astype(np.float32) + 1000
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(parts.normalize(x), exact, atol=1e-3)


def test_initial_values_are_the_authors():
    """Token matrices and most Dense: normal, 0.02; convolutions and cross gating: LeCun normal."""
    names = convert.name_map(MAXIM(num_stages=1))
    mab = "stage_0_encoder_block_2/SplitHeadMultiAxisGmlpLayer_0"
    gate = "stage_0_cross_gating_block_2/SplitHeadMultiAxisGating_x"
    for name, deviation in [
        (f"{mab}/GridGmlpLayer/GridGatingUnit/Dense_0/kernel", 0.02),
        (f"{mab}/in_project/kernel", 0.02),
        (f"{gate}/Dense_0/kernel", 0.02),
        (f"{gate}/in_project/kernel", 128**-0.5),
        ("stage_0_encoder_block_1/Conv_1/kernel", (16 * 64) ** -0.5),
        ("stage_0_decoder_block_1/ConvTranspose_0/kernel", (4 * 128) ** -0.5),
    ]:
        assert np.std(names[name]) == pytest.approx(deviation, rel=0.05), name
    assert np.all(names[f"{gate}/Dense_0/bias"] == np.float32(1))
    assert not np.any(names[f"{mab}/GridGmlpLayer/GridGatingUnit/Dense_0/bias"])


def test_wrong_arguments_and_sizes_are_named(small):
    with pytest.raises(ValueError, match="stages=3; expected 1 to 2, the stages trained"):
        MAXIM(**SMALL, stages=3)
    with pytest.raises(ValueError, match="num_supervision_scales=4; expected 1 to 3"):
        MAXIM(num_supervision_scales=4)
    with pytest.raises(ValueError, match="multiples of 16, got 24x32"):
        small(np.zeros((1, 24, 32, 3), np.float32))


def test_the_loss_by_numpy():
    generator = np.random.default_rng(0)
    sharp = generator.random((2, 16, 24, 3), np.float32)
    stages, expected = [], 0
    for factor in (4, 2, 1, 4, 2, 1):
        shape = (2, 16 // factor, 24 // factor, 3)
        target = np.asarray(tf.image.resize(sharp, shape[1:3], antialias=True))
        stages.append(generator.random(shape, np.float32))
        difference = stages[-1] - target
        transform = np.fft.fft2(difference, axes=(1, 2))
        frequency = (np.abs(transform.real) + np.abs(transform.imag)).mean((1, 2, 3))
        expected = expected + np.sqrt(difference**2 + 1e-6).mean((1, 2, 3)) + 0.1 * frequency
    found = losses.charbonnier_frequency(sharp, stages)
    assert found.shape == (2,)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_recipes_are_of_the_published_networks(recipe):
    made = recipes.RECIPES[recipe]("maxim")
    published = {"gopro", "reds", "realblur_r", "realblur_j", "sidd"}
    expected = 1 if recipe == "quick" else 3 if recipe in published else 2
    assert made.network["num_stages"] == expected
    assert recipes.RECIPES[recipe]("maxim_m1").model == "maxim_m1"
    assert set(convert.TASKS.values()) == set(recipes.RECIPES) - {"quick"}
