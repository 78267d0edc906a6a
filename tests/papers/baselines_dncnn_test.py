"""DnCNN against the published behaviour: parity files, parameter counts, merged normalisation."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import restore_tf
from baselines_tf.dncnn import RECIPES, VARIANTS, DnCNN, identify, load_checkpoint, name_map
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import prepared, saved_model
from restore_tf.export.tflite import convert
from restore_tf.export.tflite.contents import contents
from restore_tf.inference.restore import restore
from restore_tf.weights import conversion
from restore_tf.weights.pytorch_files import read_state_dict

PARITY = Path(__file__).parents[1] / "parity"
SMALL = {"channels": 1, "depth": 8, "width": 16, "bias": "all"}
COLOR = {"channels": 3, "depth": 6, "width": 8, "bias": "all"}
# {weights: constructor arguments, numbers}
CASES = {
    "dncnn_small": (SMALL, "dncnn_small_io"),
    "dncnn_small_merged": ({**SMALL, "batch_norm": False}, "dncnn_small_io"),
    "dncnn_color_small": (COLOR, "dncnn_color_small_io"),
}


def built(**arguments):
    model = DnCNN(**arguments)
    model.build()
    return model


def published(name):
    arguments, numbers = CASES[name]
    model = built(**arguments)
    load_checkpoint(model, PARITY / f"{name}.pth")
    return model, np.load(PARITY / f"{numbers}.npz")


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (VARIANTS["dncnn"], 556_097),
        (VARIANTS["dncnn_color"], 558_403),
        ({**VARIANTS["dncnn"], "depth": 20}, 667_073),
        ({**VARIANTS["dncnn_color"], "depth": 20}, 669_379),
        # KAIR's, with a bias in every convolution.
        ({"channels": 1, "bias": "all"}, 557_057),
        ({"channels": 3, "bias": "all"}, 559_363),
        ({"channels": 1, "bias": "all", "depth": 20}, 668_225),
        ({"channels": 3, "bias": "all", "depth": 20}, 670_531),
        # Merged.
        ({"channels": 1, "batch_norm": False}, 555_137),
        ({"channels": 3, "batch_norm": False}, 557_443),
        ({"channels": 1, "batch_norm": False, "depth": 20}, 665_921),
        ({"channels": 3, "batch_norm": False, "depth": 20}, 668_227),
        # The student project's first and last.
        ({"channels": 3, "bias": "none", "residual": False}, 558_336),
        (VARIANTS["dncnn_sr"], 564_556),
    ],
)
def test_parameter_counts(arguments, parameters):
    # Statistics of the normalisation are not counted.
    weights = built(**arguments).trainable_variables
    assert sum(int(np.prod(weight.shape)) for weight in weights) == parameters


def test_every_variant_has_a_parameter_count():
    assert set(VARIANTS) == {"dncnn", "dncnn_color", "dncnn_sr"}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_the_published_behaviour(name, compiled):
    model, numbers = published(name)
    call = tf.function(model) if compiled else model
    (restored,) = call(tf.constant(numbers["input"]))
    expected = numbers["output"]
    np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    noise = numbers["noise"]
    found = numbers["input"] - restored
    np.testing.assert_allclose(found, noise, rtol=0, atol=1e-5 * np.ptp(expected))


def test_merging_gives_the_published_merged_weights():
    model, _ = published("dncnn_small")
    merged = read_state_dict(PARITY / "dncnn_small_merged.pth")
    for number, layer in enumerate(model.between, 1):
        kernel, bias = layer.merged()
        expected = np.transpose(merged[f"model.{2 * number}.weight"], (2, 3, 1, 0))
        np.testing.assert_allclose(kernel, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(bias, merged[f"model.{2 * number}.bias"], rtol=1e-5, atol=1e-6)


def test_restoring_is_merged_and_training_is_not():
    model, numbers = published("dncnn_small")
    images = numbers["input"]
    # As Keras' own layers compute it, one after the other.
    x = model.first(images)
    for layer in model.between:
        x = keras.ops.relu(layer.norm(layer.conv(x), training=False))
    expected = images - model.last(x)
    np.testing.assert_allclose(model(images)[-1], expected, rtol=0, atol=1e-5)
    means = [layer.norm.moving_mean.numpy() for layer in model.between]
    trained = model(images, training=True)[-1]
    assert np.abs(trained - expected).max() > 0.01  # normalised by this batch
    for layer, before in zip(model.between, means, strict=True):
        assert np.abs(layer.norm.moving_mean - before).max() > 1e-6


def test_running_averages_by_hand():
    model = built(depth=3, width=2, bias="all")
    layer = model.between[0]
    images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    x = np.asarray(layer.conv(model.first(images)))
    model(images, training=True)
    # A tenth of the batch's, and nine tenths of what it begins with: 0 and 1.
    np.testing.assert_allclose(layer.norm.moving_mean, 0.1 * x.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(layer.norm.moving_variance, 0.9 + 0.1 * x.var((0, 1, 2)), atol=1e-6)


def test_saved_models_hold_no_normalisation(tmp_path):
    model, numbers = published("dncnn_color_small")
    saved_model.write(model, tmp_path / "1")
    assert not [name for name in saved_model.operations(tmp_path / "1") if "Norm" in name]
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    images = np.clip(numbers["input"], 0, 1)
    restored = served(images=tf.constant(images))["restored"]
    np.testing.assert_allclose(restored, model(images)[-1], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_tflite_files_hold_merged_kernels_alone(tmp_path):
    model, _ = published("dncnn_color_small")
    prepared.write_saved_model(model, (32, 32), tmp_path / "saved_model")
    path = tmp_path / "float32.tflite"
    convert.convert(str(tmp_path), "float32", str(path))
    assert set(contents(path).operations) == {"CONV_2D", "SUB"}


def test_tiles_are_exact():
    model, _ = published("dncnn_color_small")
    picture = np.random.default_rng(0).random((70, 90, 3), np.float32)
    whole = restore(model, picture, whole=True)
    np.testing.assert_allclose(restore(model, picture, tile=40), whole, rtol=0, atol=1e-6)


def test_enlarging_begins_at_the_bilinear_picture():
    model = built(**{**VARIANTS["dncnn_sr"], "depth": 3, "width": 4})
    model.last.kernel.assign(np.zeros(model.last.kernel.shape))
    images = np.random.default_rng(0).random((2, 6, 5, 3), np.float32)
    expected = tf.image.resize(images, (12, 10), "bilinear")
    np.testing.assert_allclose(model(images)[-1], expected, rtol=0, atol=1e-6)
    # The shuffle: a bias of pixel (i, j) of a channel arrives there, and nowhere else.
    model.last.bias.assign(np.eye(12)[(1 * 2 + 0) * 3 + 2])
    shift = expected - model(images)[-1]
    assert np.allclose(shift[:, 1::2, 0::2, 2], 1, atol=1e-6)
    assert np.isclose(np.sum(shift), 2 * 6 * 5, atol=1e-3)


def test_the_shipped_weights_by_name():
    model = restore_tf.load_model("dncnn_gray_25")
    assert identify(model) == "KAIR's dncnn_25: the checksum of all weights agrees"
    numbers = np.load(PARITY / "dncnn_sigma25_kair_io.npz")
    expected = numbers["output"]
    restored = model.restore_padded(numbers["input"])
    np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    degraded, rest = (np.mean((numbers[k] - numbers["clean"]) ** 2) for k in ("input", "output"))
    assert rest < degraded / 10  # noise of sigma 25 is 20.2 dB; the paper promises 9 dB more


def test_other_weights_are_not_taken_for_published_ones():
    assert identify(built(depth=3, width=4)).startswith("not one of the published")


@pytest.mark.parametrize(
    ("name", "changes", "advice"),
    [
        ("dncnn_small_merged", {}, "network.batch_norm=False"),
        ("dncnn_small", {"batch_norm": False}, "network.batch_norm=True"),
        ("dncnn_small", {"depth": 7}, "network.depth"),
        ("dncnn_small", {"bias": "ends"}, "network.bias"),
        ("dncnn_small", {"width": 8}, "shape"),
    ],
)
def test_a_file_of_another_network_changes_nothing(name, changes, advice):
    model = built(**{**SMALL, **changes})
    before = model.get_weights()
    with pytest.raises(UserError, match=advice):
        load_checkpoint(model, PARITY / f"{name}.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_conversion_to_a_run_directory(tmp_path):
    words = [f"network.{name}={value}" for name, value in SMALL.items()]
    output = tmp_path / "run"
    conversion.convert("dncnn", "denoising", PARITY / "dncnn_small.pth", output, words)
    _, run = experiment.read(output)
    assert "Kai Zhang" in run.origin
    model, numbers = restore_tf.load_model(output), np.load(PARITY / "dncnn_small_io.npz")
    restored = model.restore_padded(numbers["input"])
    np.testing.assert_allclose(restored, numbers["output"], rtol=0, atol=2e-5)


def test_recipes_take_the_noise_they_are_named_for():
    configs = {name: recipe("dncnn").config for name, recipe in RECIPES.items()}
    assert configs == {
        "sigma25": "noise25",
        "sigma15": "noise15",
        "sigma50": "noise50",
        "blind": "noise_blind",
        "seed": "blur",
        "quick": "noise25",
    }
    assert all(recipe("dncnn").recipe == name for name, recipe in RECIPES.items())
    assert RECIPES["blind"]("dncnn_color").network["depth"] == 20
    assert RECIPES["quick"]("dncnn_sr").config == "bicubic2"


def test_every_variable_has_a_name_in_the_files():
    model = experiment.build(dataclasses.replace(RECIPES["quick"]("dncnn"), network=SMALL))
    assert len(name_map(model)) == len(model.variables)


@pytest.mark.parametrize("wrong", [{"bias": "most"}, {"scale": 3}, {"depth": 2}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="expected"):
        DnCNN(**wrong)
