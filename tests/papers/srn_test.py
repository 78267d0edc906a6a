"""SRN against the published behaviour: parity files, parameter counts, hand calculations."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export.plan import cost
from restore_tf.networks import layers
from srn_tf.convert import load_checkpoint, name_map
from srn_tf.model import SRN, VARIANTS, ConvLSTMCell

PARITY = Path(__file__).parents[1] / "parity"
SCALES = ("scale3", "scale2", "scale1")  # the paper counts fine to coarse


def built(**kwargs):
    model = SRN(**kwargs)
    model.build()
    return model


def published(variant):
    """A narrow published model with the weights of its parity file, and that file's numbers."""
    model = built(**VARIANTS[f"srn_{variant}"], width=4)
    load_checkpoint(model, PARITY / f"srn_{variant}_small")
    return model, np.load(PARITY / f"srn_{variant}_small_io.npz")


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        # The three published models; see srn_tf/README.md.
        ("srn_lstm", 8_056_609),
        ("srn_gray", 6_876_449),
        ("srn_color", 6_881_251),
        # lstm plus 4 more input planes and 2 more output planes of 5x5 kernels, and 2 biases.
        ("srn", 8_056_609 + 4 * 25 * 32 + 2 * 25 * 32 + 2),
    ],
)
def test_parameter_counts(variant, parameters):
    assert built(**VARIANTS[variant]).count_params() == parameters


def test_the_quick_network_is_light():
    assert experiment.build(experiment.load_recipe("srn", "quick")).count_params() == 371_227


def test_every_variant_has_a_parameter_count():
    assert set(VARIANTS) == {"srn", "srn_lstm", "srn_gray", "srn_color"}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("variant", ["lstm", "gray", "color"])
def test_outputs_equal_the_published_behaviour(variant, compiled):
    model, numbers = published(variant)
    call = tf.function(model) if compiled else model
    stages = call(tf.constant(numbers["input"]))
    assert len(stages) == len(SCALES)
    for name, stage in zip(SCALES, stages, strict=True):
        expected = numbers[name]
        tolerance = 1e-5 * np.ptp(expected)
        np.testing.assert_allclose(stage, expected, rtol=0, atol=tolerance)


def test_one_compiled_graph_takes_every_size():
    model = built(channels=1, width=4, res_blocks=1)
    call = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 1))])
    for height, width in [(16, 16), (32, 48), (64, 16)]:
        images = np.random.default_rng(0).random((2, height, width, 1), np.float32)
        for eager, graph in zip(model(images), call(images), strict=True):
            np.testing.assert_allclose(eager, graph, atol=1e-5)


def test_legacy_resize_by_hand():
    image = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)  # [[0, 1], [2, 3]]
    expected = [[0, 0.5, 1, 1], [1, 1.5, 2, 2], [2, 2.5, 3, 3], [2, 2.5, 3, 3]]
    np.testing.assert_array_equal(layers.legacy_upsample2(image)[0, :, :, 0], expected)
    np.testing.assert_array_equal(
        layers.legacy_downsample(np.array(expected, np.float32)[None, :, :, None], 2)[0, :, :, 0],
        [[0, 1], [2, 3]],
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 6)])
def test_legacy_resize_equals_tensorflow_1(size):
    images = np.random.default_rng(1).random((2, *size, 3), np.float32)
    expected = tf.compat.v1.image.resize_bilinear(
        images, (2 * size[0], 2 * size[1]), align_corners=False, half_pixel_centers=False
    )
    np.testing.assert_allclose(layers.legacy_upsample2(images), expected, atol=1e-6)


def test_convlstm_cell_by_hand():
    cell = ConvLSTMCell(1)
    features = np.array([0.3], np.float32).reshape(1, 1, 1, 1)
    c, h = (np.array([v], np.float32).reshape(1, 1, 1, 1) for v in (0.5, -0.2))
    cell(features, (c, h))
    kernel = np.zeros((3, 3, 2, 4), np.float32)
    kernel[1, 1] = [[1.0, 2.0, -1.0, 0.5], [0.5, -1.0, 1.0, 2.0]]  # rows: features, h; i j f o
    cell.conv.set_weights([kernel, np.zeros(4, np.float32)])
    output, (new_c, new_h) = cell(features, (c, h))

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    i, j, f, o = (0.3 * a - 0.2 * b for a, b in zip(*kernel[1, 1], strict=True))
    expected_c = 0.5 * sigmoid(f + 1.0) + sigmoid(i) * np.tanh(j)
    expected_h = np.tanh(expected_c) * sigmoid(o)
    np.testing.assert_allclose(np.ravel(new_c), [expected_c], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(new_h), [expected_h], rtol=1e-6)
    np.testing.assert_array_equal(output, new_h)


def test_initialisation_is_the_papers():
    model = built(width=8)
    kernel = model.in_block.res_blocks[0].conv1.kernel.numpy()
    limit = np.sqrt(6 / (25 * 8 + 25 * 8))  # Glorot and Bengio 2010, equation 16
    assert 0.9 * limit < np.abs(kernel).max() <= limit
    lstm = model.conv_lstm.conv.kernel.numpy()
    assert np.abs(lstm).max() <= 2e-3  # truncated at two standard deviations of 1e-3
    # A normal distribution truncated at 2 sigma has standard deviation 0.8796 sigma; Keras, like
    # TensorFlow, does not correct for it.
    assert lstm.std() == pytest.approx(0.8796e-3, rel=0.03)
    assert all(np.all(v.numpy() == 0) for v in model.weights if v.name == "bias")


def test_no_gradient_flows_through_the_previous_output():
    model = built(channels=1, recurrent=False, width=4, res_blocks=1)
    image = tf.random.uniform((1, 32, 32, 1), seed=1)
    with tf.GradientTape(persistent=True) as tape:
        coarse, _, fine = model(image)
        coarse_sum, fine_sum = tf.reduce_sum(coarse), tf.reduce_sum(fine)
    with tf.GradientTape() as single:
        previous = layers.legacy_upsample2(model(image)[1])
        alone = tf.reduce_sum(model.restore_scale(image, tf.stop_gradient(previous))[0])
    kernel = model.out_block.conv.kernel.value
    assert np.any(tape.gradient(coarse_sum, kernel))
    np.testing.assert_allclose(
        tape.gradient(fine_sum, kernel), single.gradient(alone, kernel), rtol=1e-4
    )


def test_gradient_flows_through_the_state():
    model = built(channels=1, width=4, res_blocks=1, scales=2)
    image = tf.random.uniform((1, 16, 16, 1), seed=1)
    state = tuple(tf.random.uniform((1, 4, 4, 16), seed=2 + i) for i in range(2))
    with tf.GradientTape() as tape:
        tape.watch(state)
        restored = model.restore_scale(image, image, state)[0]
    assert all(np.any(g) for g in tape.gradient(restored, state))


def test_global_skip_starts_as_the_identity():
    images = np.random.default_rng(0).random((2, 32, 16, 3), np.float32)
    for stage, factor in zip(built(width=4, global_skip=True)(images), (4, 2, 1), strict=True):
        np.testing.assert_array_equal(stage, images[:, ::factor, ::factor])


@pytest.mark.parametrize("scales", [1, 2, 4])
def test_scales_are_an_argument(scales):
    model = built(width=4, res_blocks=1, scales=scales)
    side = model.size_multiple
    assert side == 4 * 2 ** (scales - 1)
    stages = model(np.zeros((1, 2 * side, side, 3), np.float32))
    assert [stage.shape[1] for stage in stages] == [2 * side >> s for s in range(scales)][::-1]


@pytest.mark.parametrize("stride", [2, 4])
def test_stride_brings_features_to_a_part_of_the_size(stride):
    model = built(width=4, res_blocks=1, scales=2, stride=stride, global_skip=True)
    side = model.size_multiple
    assert side == 4 * stride * 2
    images = np.random.default_rng(0).random((2, side, 2 * side, 3), np.float32)
    for stage, factor in zip(model(images), (2, 1), strict=True):
        np.testing.assert_array_equal(stage, images[:, ::factor, ::factor])
    _, (c, _) = model.restore_scale(images, images)
    assert c.shape == (2, side // (4 * stride), 2 * side // (4 * stride), 16)


def test_a_shut_gate_returns_the_picture_and_a_new_one_changes_nothing():
    arguments = {"width": 4, "res_blocks": 1, "scales": 2, "global_skip": True}
    plain, gated = built(**arguments), built(**arguments, gate=True)
    for variable in plain.weights:
        variable.assign(np.random.default_rng(1).normal(0, 0.2, variable.shape))
    same = {variable.path: variable for variable in plain.weights}
    for variable in gated.weights:
        if variable.path in same:
            variable.assign(same[variable.path])
    images = np.random.default_rng(0).random((1, 16, 32, 3), np.float32)
    residual = plain(images)[-1] - images
    assert np.abs(residual).max() > 0.01
    for bias, strength in [(None, 1.0), (50.0, 1.5), (-50.0, 0.0)]:
        if bias is not None:
            gated.gate.dense2.bias.assign([bias])
        expected = images + strength * residual
        found = gated(images)[-1]
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-5 if strength else 1e-6)


def test_a_gate_without_a_residual_is_refused():
    with pytest.raises(ValueError, match="expected global_skip=True"):
        SRN(gate=True)


def test_strides_there_are_none_of_are_named():
    with pytest.raises(ValueError, match="stride=3; expected 1, 2 or 4"):
        SRN(stride=3)


def test_the_light_recipes_keep_within_their_multiplications():
    """By hand, but for the gate: 5x5 convolutions, a 3x3 ConvLSTM, 4x4 upconvolutions, 3 scales."""
    w = 32
    blocks = 2 * 25 * w * w  # a ResBlock at any level: width and area grow and shrink alike
    down = (25 * w * 2 * w) / 4  # into the second level and the third
    up = (16 * 4 * w * 2 * w / 16) + (16 * 2 * w * w / 4)
    body = 6 * blocks + 2 * down + up
    first, lstm = 25 * 6 * w, 9 * (8 * w) * (16 * w) / 16
    light = (first + body + lstm + 25 * w * 3) * 1.3125
    tiny = (first + body + 16 * w * 3) / 4 * 1.3125  # no ConvLSTM; the last layer 4x4
    for recipe, expected, most, parameters in [
        ("light", light, 565e3, 3_759_044),
        ("tiny", tiny, 130e3, 2_578_020),
    ]:
        model = experiment.build(experiment.load_recipe("srn", recipe))
        assert model.count_params() == parameters
        assert cost.count(model).multiplications == pytest.approx(expected, rel=0.01)
        assert expected < most


def test_wrong_sizes_are_named():
    model = built(width=4, res_blocks=1)
    with pytest.raises(ValueError, match="multiples of 16, got 20x32"):
        model(np.zeros((1, 20, 32, 3), np.float32))
    with pytest.raises(ValueError, match=r"\(batch, height, width, 3\)"):
        model(np.zeros((1, 32, 32, 1), np.float32))


def test_config_round_trip():
    model = built(channels=1, width=4, res_blocks=2, scales=2, global_skip=True, recurrent=False)
    twin = SRN.from_config(model.get_config())
    twin.build()
    assert twin.get_config() == model.get_config()
    assert [w.shape for w in twin.weights] == [w.shape for w in model.weights]


def test_every_weight_has_a_checkpoint_name():
    model = built(width=4)
    assert {id(v) for v in name_map(model).values()} == {id(v) for v in model.weights}


def test_checkpoint_with_optimizer_state(tmp_path):
    model, numbers = published("gray")
    values = {name: variable.numpy() for name, variable in name_map(model).items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            for slot in ("", "/Adam", "/Adam_1"):
                tf.compat.v1.get_variable(f"{name}{slot}", initializer=value)
        tf.compat.v1.get_variable("beta1_power", initializer=0.9)
        tf.compat.v1.get_variable("Variable", initializer=523000)
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "deblur.model"))
    other = built(**VARIANTS["srn_gray"], width=4)
    load_checkpoint(other, prefix)
    np.testing.assert_array_equal(other(numbers["input"])[-1], model(numbers["input"])[-1])


@pytest.mark.parametrize(
    ("variant", "checkpoint", "message"),
    [
        ("srn_color", "gray", "has shape"),
        ("srn_lstm", "gray", "lacks g_net/convLSTM"),
        ("srn_gray", "lstm", "holds g_net/convLSTM/LSTM_conv/biases"),
        ("srn_gray", "absent", "not a readable TensorFlow checkpoint"),
    ],
)
def test_wrong_checkpoints_change_nothing(variant, checkpoint, message):
    model = built(**VARIANTS[variant], width=4)
    before = [w.numpy() for w in model.weights]
    with pytest.raises(UserError, match=message):
        load_checkpoint(model, PARITY / f"srn_{checkpoint}_small")
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_truncated_checkpoint(tmp_path):
    for name in ("srn_gray_small.index", "srn_gray_small.data-00000-of-00001"):
        data = (PARITY / name).read_bytes()
        (tmp_path / name).write_bytes(data if name.endswith("index") else data[: len(data) // 2])
    with pytest.raises(UserError, match="damaged checkpoint"):
        load_checkpoint(built(**VARIANTS["srn_gray"], width=4), tmp_path / "srn_gray_small")
