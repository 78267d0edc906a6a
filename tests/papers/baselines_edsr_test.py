"""EDSR against the published behaviour: parity files, parameter counts, the shuffle, tiles."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from baselines_tf.edsr import EDSR, MEAN, RECIPES, VARIANTS, load_checkpoint
from restore_tf.errors import UserError
from restore_tf.inference.restore import restore
from restore_tf.weights import conversion, pytorch_files
from restore_tf.weights.load import load_model

PARITY = Path(__file__).parents[1] / "parity"
SMALL = {
    2: {"scale": 2, "features": 16, "blocks": 4, "residual_scale": 1.0},
    3: {"scale": 3, "features": 8, "blocks": 2, "residual_scale": 0.1},
    4: {"scale": 4, "features": 16, "blocks": 4, "residual_scale": 0.1},
}


def built(**arguments):
    model = EDSR(**arguments)
    model.build()
    return model


def published(scale):
    model = built(**SMALL[scale])
    load_checkpoint(model, PARITY / f"edsr_small_x{scale}.pth")
    return model, np.load(PARITY / f"edsr_small_x{scale}_io.npz")


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("edsr", 1_369_859),
        ("edsr_x3", 1_554_499),
        ("edsr_x4", 1_517_571),
        ("edsr_full", 40_729_603),
        ("edsr_full_x3", 43_680_003),
        ("edsr_full_x4", 43_089_923),
    ],
)
def test_parameter_counts(variant, parameters):
    assert built(**VARIANTS[variant]).count_params() == parameters


def test_every_variant_has_a_parameter_count():
    assert len(VARIANTS) == 6


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("scale", SMALL)
def test_outputs_equal_the_published_behaviour(scale, compiled):
    model, numbers = published(scale)
    images = tf.constant(numbers["input"])
    features, (restored,) = (
        tf.function(call)(images) if compiled else call(images) for call in (model.features, model)
    )
    for found, expected in [(features, numbers["features"]), (restored, numbers["output"])]:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_a_picture_of_the_mean_without_weights_is_the_mean():
    model = built(**SMALL[3])
    model.tail.kernel.assign(np.zeros(model.tail.kernel.shape))
    images = np.random.default_rng(0).random((1, 4, 5, 3), np.float32)
    np.testing.assert_allclose(model(images)[-1], np.broadcast_to(MEAN, (1, 12, 15, 3)), atol=1e-6)


@pytest.mark.parametrize("scale", SMALL)
def test_tiles_are_exact(scale):
    model, _ = published(scale)
    picture = np.random.default_rng(0).random((50, 61, 3), np.float32)
    whole = restore(model, picture, whole=True)
    assert whole.shape == (50 * scale, 61 * scale, 3)
    np.testing.assert_allclose(restore(model, picture, tile=34), whole, rtol=0, atol=1e-6)


def test_conversion_to_a_run_directory(tmp_path):
    words = [f"network.{name}={value}" for name, value in SMALL[4].items()]
    output = tmp_path / "run"
    conversion.convert("edsr", "super_resolution", PARITY / "edsr_small_x4.pth", output, words)
    model, numbers = load_model(output), np.load(PARITY / "edsr_small_x4_io.npz")
    restored = model.restore_padded(numbers["input"])
    np.testing.assert_allclose(restored, numbers["output"], rtol=0, atol=1e-5)


def tensors(**changes):
    return {**pytorch_files.read_state_dict(PARITY / "edsr_small_x3.pth"), **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sub_mean.bias": np.zeros(3, np.float32)}, "sub_mean shifts by"),
        ({"add_mean.weight": np.full((3, 3, 1, 1), 0.5, np.float32)}, "add_mean is more than"),
        ({"body.9.weight": np.zeros(3, np.float32)}, "holds body.9.weight"),
        ({"tail.0.0.weight": np.zeros((36, 8, 3, 3), np.float32)}, "tail.0.0.weight has shape"),
    ],
)
def test_a_file_of_another_network_changes_nothing(changes, words, monkeypatch):
    model = built(**SMALL[3])
    before = model.get_weights()
    monkeypatch.setattr("baselines_tf.edsr.read_state_dict", lambda path: tensors(**changes))
    with pytest.raises(UserError, match=words):
        load_checkpoint(model, "file.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_files_without_the_mean_are_taken(monkeypatch):
    plain = {name: array for name, array in tensors().items() if "mean" not in name}
    monkeypatch.setattr("baselines_tf.edsr.read_state_dict", lambda path: plain)
    model, numbers = built(**SMALL[3]), np.load(PARITY / "edsr_small_x3_io.npz")
    load_checkpoint(model, "file.pth")
    np.testing.assert_allclose(model(numbers["input"])[-1], numbers["output"], rtol=0, atol=1e-5)


def test_recipes_take_pairs_of_their_scale():
    assert RECIPES["quick"]("edsr_x3").config == "bicubic3"
    assert RECIPES["quick"]("edsr_full_x4").network["scale"] == 4
    assert RECIPES["div2k"]("edsr_full").network["residual_scale"] == 0.1


def test_wrong_arguments():
    with pytest.raises(ValueError, match="expected one of 2, 3, 4"):
        EDSR(scale=5)
