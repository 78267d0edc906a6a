"""SRN's gate: power means by NumPy and scikit-image, and what they tell of real photos."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from skimage import data
from skimage.transform import downscale_local_mean
from tiny_papers import wake

from restore_tf.datasets.synthetic import Synthetic
from srn_tf import gate
from srn_tf.model import SRN


def by_hand(image):
    found, grey = [], image.mean(axis=-1)
    for scale in range(3):
        small = downscale_local_mean(grey, (2**scale, 2**scale))
        down, right = np.abs(np.diff(small, axis=0)), np.abs(np.diff(small, axis=1))
        steps = np.maximum(np.stack([down[:, :-1], right[:-1]]), 1 / 255).astype(np.float64)
        found += [np.log(np.mean(steps**power)) / power for power in (1, 2, 4, 8)]
    return found


def photo():
    return data.astronaut()[:256, :320] / np.float32(255)


@pytest.mark.parametrize("channels", [3, 1])
def test_power_means_are_those_of_numpy(channels):
    images = np.stack([photo(), 0.3 * photo()[::-1]])[..., :channels]
    expected = [by_hand(image) for image in images]
    np.testing.assert_allclose(gate.log_power_means(images), expected, atol=1e-5)


def test_the_smallest_picture_and_a_flat_one_have_means():
    flat = np.full((1, gate.SMALLEST, gate.SMALLEST, 3), 0.5, np.float32)
    np.testing.assert_allclose(gate.log_power_means(flat), np.full((1, 12), np.log(1 / 255)))


@pytest.mark.parametrize("rows", [8, 40, 104, 256])
def test_strips_give_the_means_of_the_whole(rows):
    images = np.stack([photo(), photo()[::-1] ** 2])[:, :208, :312]
    images[:, :90] *= 0.1  # strips differ
    found = gate.log_power_means_in_strips(
        images.shape, lambda *place: images[(slice(None), *place)], rows
    )
    np.testing.assert_allclose(found, [by_hand(image) for image in images], atol=1e-5)


def test_a_sharp_thing_before_a_blurred_background_looks_sharp():
    """By the sharpest edges at full and at half size; by the mean difference it looks blurred."""

    def ratio(image, place):
        means = np.asarray(gate.log_power_means(image[None]))[0].reshape(3, 4)
        return means[0, place] - means[1, place]

    sharp = photo()
    blurred = ndimage.gaussian_filter(sharp, (2, 2, 0))
    portrait = blurred.copy()
    portrait[64:160, 96:224] = sharp[64:160, 96:224]
    for place, kept in [(3, (0.6, 1.0)), (0, (0.0, 0.4))]:
        none, some, all_of_it = (ratio(one, place) for one in (blurred, portrait, sharp))
        assert kept[0] < (some - none) / (all_of_it - none) < kept[1]


def test_contrasts_by_hand():
    means = np.array(by_hand(photo())).reshape(3, 4)
    steps = np.diff(means, axis=1, prepend=0)
    expected = np.concatenate([steps[0] - steps[1], steps[1] - steps[2], steps[2]])
    found = np.asarray(gate.contrasts(means.reshape(1, 12).astype(np.float32)))[0]
    np.testing.assert_allclose(found * gate.SPREAD + gate.USUAL, expected, atol=1e-5)
    assert np.all(np.abs(found) < 4)


def test_contrasts_are_usual_in_the_pictures_of_the_set_photo():
    pictures = Synthetic("photo", "train", count=60)
    means = [gate.log_power_means(degraded[None] / np.float32(255)) for degraded, _ in pictures]
    found = np.asarray(gate.contrasts(np.concatenate(means)))
    assert np.all(np.abs(found.mean(axis=0)) < 1)
    assert np.all((found.std(axis=0) > 0.3) & (found.std(axis=0) < 2))


def test_each_picture_of_a_batch_has_a_strength():
    opener = gate.Gate()
    images = np.stack([photo(), 0.1 * photo()])
    opener(images)
    # One hidden number: less the mean difference at a quarter of the size, 2.3 lower in the second.
    kernel = np.zeros((12, 16))
    kernel[8, 0] = -gate.SPREAD[8]
    opener.dense1.set_weights([kernel, np.zeros(16)])
    opener.dense2.set_weights([np.full((16, 1), 4.0), np.array([-3.0])])
    hidden = [max(0, gate.USUAL[8] - by_hand(image)[8]) for image in images]
    expected = 1.5 / (1 + np.exp(3.0 - 4 * np.array(hidden)))
    assert expected[0] < 0.15 and expected[1] > 0.75
    np.testing.assert_allclose(opener(images), expected.reshape(2, 1, 1, 1), atol=1e-3)


def test_training_leaves_the_gate_open():
    """Else a gate that shuts early, as all residuals still do harm then, never opens again."""
    gated = SRN(width=4, res_blocks=1, scales=2, global_skip=True, gate=True)
    plain = SRN(width=4, res_blocks=1, scales=2, global_skip=True)
    gated.build()
    plain.build()
    wake(gated)
    numbers = {weight.path.split("/", 1)[1]: weight.numpy() for weight in gated.weights}
    for weight in plain.weights:
        weight.assign(numbers[weight.path.split("/", 1)[1]])
    gated.gate.dense2.bias.assign([-20.0])
    sharp = np.stack([photo()[:64, :64], photo()[64:128, :64]])
    degraded = ndimage.gaussian_filter(sharp, (0, 1, 1, 0))
    found, expected = (gradients(model, degraded, sharp) for model in (gated, plain))
    assert found.keys() == expected.keys()
    for path, gradient in expected.items():
        np.testing.assert_allclose(found[path], gradient, rtol=1e-4, atol=1e-7)


def gradients(model, degraded, sharp):
    model.compile(loss="charbonnier")
    with tf.GradientTape() as tape:
        loss = model.training_loss(degraded, sharp)
    found = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
    paths = [weight.path.split("/", 1)[1] for weight in model.trainable_variables]
    return dict(zip(paths, found, strict=True))


def test_a_new_gate_lets_all_through():
    np.testing.assert_allclose(gate.Gate()(photo()[None]), np.ones((1, 1, 1, 1)), atol=1e-6)


def test_a_gate_is_fitted_to_what_pictures_need():
    """A network that adds 0.2, to sharp pictures and to blurred ones, which lack 0.24."""
    model = SRN(width=4, res_blocks=1, scales=1, global_skip=True, gate=True)
    model.build()
    bias = next(w for w in model.out_block.weights if w.path.endswith("bias") and w.shape == (3,))
    bias.assign([0.2] * 3)
    pictures = [picture / np.float32(255) for picture in (data.astronaut(), data.coffee())]
    places = [(top, left) for top in (0, 128) for left in range(0, 320, 64)]
    sharp = np.stack([p[top:][:128, left:][:, :128] for p in pictures for top, left in places])
    blurred = ndimage.gaussian_filter(sharp, (0, 2, 2, 0))
    batches = [(sharp, sharp), (blurred, blurred + 0.24)]
    model.adapt(batches)
    assert not model.gate.trainable_variables
    for (degraded, _), expected in zip(batches, (0.0, 1.2), strict=True):
        np.testing.assert_allclose(model.gate(degraded), expected, atol=0.05)
    other = np.asarray(model.gate(0.9 * blurred[:, ::-1]))
    np.testing.assert_allclose(other, 1.2, atol=0.1)
    # A second time, for a network that adds too much.
    bias.assign([0.48] * 3)
    model.adapt(batches)
    np.testing.assert_allclose(model.gate(blurred), 0.5, atol=0.05)
