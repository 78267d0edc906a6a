"""Losses that a recipe names: their numbers, and the sums it may make of them."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import run, simple, tiny
from tiny_training import toys as toys

from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.networks import losses
from restore_tf.networks.layers import antialiased_downsample

PARITY = Path(__file__).parents[1] / "parity"
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def numbers():
    return np.load(PARITY / "gan_sobel_losses_io.npz")


def pair(side=12, seed=0):
    random = np.random.default_rng(seed)
    return (random.random((2, side, side, 3)).astype(np.float32) for _ in range(2))


def test_sobel_and_squared_error_equal_the_reference(numbers):
    sharp, restored = numbers["sharp"], numbers["restored"]
    for name in ("sobel", "mse"):
        values = losses.get(name)(sharp, [restored])
        assert values.shape == (2,)
        assert float(np.mean(values)) == pytest.approx(float(numbers[name]), rel=1e-5)
        mean, deviation = (values.astype(np.float32) for values in IMAGENET)
        values = losses.get(name)((sharp - mean) / deviation, [(restored - mean) / deviation])
        expected = float(numbers[f"{name}_imagenet"])
        assert float(np.mean(values)) == pytest.approx(expected, rel=1e-5)


def test_psnr_by_hand():
    """A tenth off everywhere is 20 dB, a hundredth 40; equal pictures stop at the floor's 45."""
    sharp = np.full((3, 8, 8, 3), 0.5, np.float32)
    restored = sharp + np.array([0.1, 0.01, 0], np.float32)[:, None, None, None]
    expected = [-20 + 0.013, -40 + 1.139, 10 * np.log10(3e-5)]  # 1e-2, 1e-4 and 0, and 3e-5 more
    np.testing.assert_allclose(losses.get("psnr")(sharp, [restored]), expected, atol=2e-3)


def test_psnr_has_a_gradient_where_both_are_equal():
    restored = tf.Variable(np.full((1, 8, 8, 3), 0.5, np.float32))
    with tf.GradientTape() as tape:
        loss = losses.get("psnr")(np.full((1, 8, 8, 3), 0.5, np.float32), [restored])
    np.testing.assert_array_equal(tape.gradient(loss, restored), 0.0)


def test_sobel_of_a_step_by_hand():
    """A step of height 1 between two columns: the magnitude is 4 beside it, 3 at the corners."""
    step = np.zeros((1, 4, 4, 1), np.float32)
    step[:, :, 2:] = 1
    flat = np.zeros_like(step)
    # Zeros outside: columns 1 and 2 see the step, the last column the edge of the picture; gy at
    # the first and last rows is the sum of the row beside it, [0, 1, 3, 3].
    across = np.array([[0, 3, 3, -3], [0, 4, 4, -4], [0, 4, 4, -4], [0, 3, 3, -3]])
    down = np.array([[0, 1, 3, 3], [0] * 4, [0] * 4, [0, -1, -3, -3]])
    expected = np.mean(across**2 + down**2)
    assert float(losses.get("sobel")(flat, [step])[0]) == pytest.approx(expected, rel=1e-4)


def test_sobel_has_a_gradient_where_both_are_flat():
    restored = tf.Variable(np.full((1, 8, 8, 3), 0.5, np.float32))
    with tf.GradientTape() as tape:
        loss = losses.get("sobel")(np.full((1, 8, 8, 3), 0.25, np.float32), [restored])
    assert np.isfinite(tape.gradient(loss, restored)).all()


def test_absolute_error_by_hand():
    sharp = np.zeros((1, 2, 2, 1), np.float32)
    restored = np.array([[0.5, -0.5], [1.0, 0.0]], np.float32)[None, ..., None]
    assert float(losses.get("l1")(sharp, [restored])[0]) == pytest.approx(0.5)


def test_a_sum_is_its_parts():
    sharp, restored = pair()
    names = ("mse", "l1", "charbonnier", "edge", "sobel", "frequency", "charbonnier_edge")
    parts = {name: losses.get(name)(sharp, [restored]).numpy() for name in names}
    found = losses.get(" charbonnier+ 0.05*edge +1e+1 * mse+2.5e-1*sobel")(sharp, [restored])
    expected = parts["charbonnier"] + 0.05 * parts["edge"] + 10 * parts["mse"]
    np.testing.assert_allclose(found, expected + 0.25 * parts["sobel"], rtol=1e-6)
    assert found.shape == (2,)
    found = losses.get("2*charbonnier_edge + frequency + l1")(sharp, [restored])
    expected = 2 * parts["charbonnier_edge"] + parts["frequency"] + parts["l1"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_sum_of_the_papers_is_theirs():
    sharp, restored = pair()
    for text, name, stages in [
        ("charbonnier + 0.05*edge", "charbonnier_edge", [restored, sharp]),
        ("charbonnier + 0.1*frequency", "charbonnier_frequency", [restored[:, :6, :6], restored]),
    ]:
        expected = losses.LOSSES[name](sharp, stages)
        np.testing.assert_allclose(losses.get(text)(sharp, stages), expected, rtol=1e-6)


def test_a_smaller_stage_gets_the_sharp_picture_at_its_scale():
    sharp, restored = pair(16)
    stages = [antialiased_downsample(sharp, 4), restored, antialiased_downsample(sharp, 2)]
    alone = losses.get("mse")(sharp, [restored])
    np.testing.assert_allclose(losses.get("mse")(sharp, stages), alone, rtol=1e-6)
    # As the network brings its own input there: SRN drops every second pixel.
    model = experiment.construct(tiny())
    model.compile("sgd", "mse")
    stages = [sharp[:, ::2, ::2], restored]
    np.testing.assert_allclose(model.stages_loss(sharp, stages), alone, rtol=1e-6)


def test_multi_scale_charbonnier_by_hand():
    sharp = np.zeros((1, 4, 4, 1), np.float32)
    stages = [np.full((1, 2, 2, 1), 0.3, np.float32), np.full((1, 4, 4, 1), 0.4, np.float32)]
    expected = np.sqrt(0.3**2 + 1e-6) + np.sqrt(0.4**2 + 1e-6)
    found = losses.get("multi_scale_charbonnier")(sharp, stages)
    assert float(found[0]) == pytest.approx(expected, rel=1e-6)


def test_losses_are_float32_whatever_the_layers_compute_in():
    sharp, restored = pair()
    whole = losses.get("mse + sobel + edge + frequency")
    half = whole(tf.cast(sharp, tf.bfloat16), [tf.cast(restored, tf.bfloat16)])
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, whole(sharp, [restored]), rtol=0.02)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("charbonier", r"loss charbonier: no such loss; there are mse, l1, .*mean charbonnier\?"),
        ("mse + 0.1*egde", r"loss egde: no such loss; .*did you mean edge\?"),
        ("mse +", r"loss mse \+: expected a name or a sum such as"),
        ("mse edge", "loss mse edge: expected a name or a sum"),
        ("mse - edge", "expected a name or a sum"),
        ("", "expected a name or a sum"),
        ("0*mse", r"loss 0\*mse: a weight is a number above 0, not 0"),
        ("1.2.3*mse", r"a weight is a number above 0, not 1\.2\.3"),
        ("1e999*mse", "a weight is a number above 0"),
        ("-1*mse", "expected a name or a sum"),
    ],
)
def test_what_is_no_loss_is_one_line(text, said):
    with pytest.raises(UserError, match=said) as caught:
        losses.get(text)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_sum_trains(tmp_path, precision):
    loss = "charbonnier + 0.05*edge + 0.1*sobel + 0.01*frequency"
    result = run(tmp_path, simple(loss=loss, steps=3), precision=precision)
    assert (result.step, result.finished) == (3, True)
    assert keras.config.dtype_policy().name == "float32"
