"""U-Net against the published behaviour: parity files, parameter counts, upsampling, tiles."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from seed_unet import SeedUNet

from baselines_tf.unet import VARIANTS, UNet, load_checkpoint, name_map
from restore_tf.errors import UserError
from restore_tf.inference.restore import restore

PARITY = Path(__file__).parents[1] / "parity"


def built(kind=UNet, **arguments):
    model = kind(**arguments)
    model.build()
    return model


def published(kind=UNet):
    model = built(kind, width=4)
    load_checkpoint(model, PARITY / "unet_seed_small.pth")
    return model


def test_parameter_count():
    # Statistics of the normalisation are not counted.
    weights = built(**VARIANTS["unet"]).trainable_variables
    assert sum(int(np.prod(weight.shape)) for weight in weights) == 13_395_459
    assert set(VARIANTS) == {"unet"}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", ["", "_odd"])
def test_outputs_equal_the_published_behaviour(size, compiled):
    model, numbers = published(SeedUNet), np.load(PARITY / "unet_seed_small_io.npz")
    call = tf.function(model) if compiled else model
    (restored,) = call(tf.constant(numbers[f"input{size}"]))
    expected = numbers[f"output{size}"]
    np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_upsampling_has_half_pixel_centres():
    model = built(width=4)
    skip, x = np.zeros((2, 6, 10, 1), np.float32), np.random.default_rng(0).random((2, 3, 5, 4))
    joined = model.join(skip, x.astype(np.float32))
    expected = tf.image.resize(x, (6, 10), "bilinear")
    np.testing.assert_allclose(joined[..., 1:], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(joined[..., :1], skip)


def test_tiles_are_exact():
    model = published()
    picture = np.random.default_rng(0).random((330, 350, 3), np.float32)
    whole = restore(model, picture, whole=True)
    tiled = restore(model, picture, tile=304)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))


def test_tiles_see_all_that_reaches_a_pixel():
    model = built(width=4)
    for weight in model.weights:  # positive, so that nothing cancels and no ReLU is dead
        weight.assign(np.abs(weight.numpy()))
    margin = model.tiler().margin
    row = margin + 32 + 12  # of every 16, this one depends on the farthest
    # Brighter at the top, so that pooling takes the farther one of two rows.
    rows = np.linspace(1, 0, margin + 48, dtype=np.float32)[None, :, None, None]
    images = tf.Variable(np.broadcast_to(rows, (1, margin + 48, 16, 3)))
    with tf.GradientTape() as tape:
        seen = tf.reduce_sum(model(images)[-1][:, row])
    gradient = np.asarray(tape.gradient(seen, images))
    farthest = row - np.nonzero(gradient.any((0, 2, 3)))[0].min()
    assert margin - 16 < farthest <= margin


def test_training_normalises_by_the_batch():
    model = published()
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    restored = np.asarray(model(images)[-1])
    mean = model.downs[3].conv2.norm.moving_mean.numpy()
    assert np.abs(model(images, training=True)[-1] - restored).max() > 0.01
    assert np.abs(model.downs[3].conv2.norm.moving_mean - mean).max() > 1e-6


def test_a_global_skip_begins_as_the_identity():
    images = np.random.default_rng(0).random((1, 16, 32, 3), np.float32)
    np.testing.assert_array_equal(built(width=4, global_skip=True)(images)[-1], images)


def test_every_variable_has_a_name_in_the_files():
    model = built(width=4)
    assert len(name_map(model)) == len(model.variables)


def test_a_file_of_another_network_changes_nothing():
    model = built(width=8)
    before = model.get_weights()
    with pytest.raises(UserError, match="network.width"):
        load_checkpoint(model, PARITY / "unet_seed_small.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_sizes_are_multiples_of_16():
    with pytest.raises(ValueError, match="multiples of 16"):
        built(width=4)(np.zeros((1, 24, 16, 3), np.float32))
