"""DeblurGAN's networks against the published behaviour: parity files and parameter counts."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from deblurgan_tf import convert
from deblurgan_tf.model import DeblurGAN, DeblurGANv2
from deblurgan_tf.seed import SeedGAN
from restore_tf.errors import UserError
from restore_tf.inference.restore import restore
from restore_tf.weights.pytorch_files import read_state_dict

PARITY = Path(__file__).parents[1] / "parity"
PYRAMID = {"stem": 4, "channels": (2, 3, 4, 8, 12, 20), "pyramid": 16, "heads": 8}
RESNET = {"width": 8, "blocks": 3}
CASES = {"fpn": (DeblurGANv2, PYRAMID), "resnet": (DeblurGAN, RESNET)}


def built(kind, **arguments):
    model = kind(**arguments)
    model.build()
    return model


def small(name):
    """The parity file's network, with its weights."""
    kind, arguments = CASES[name]
    model = built(kind, **arguments)
    convert.load_checkpoint(model, PARITY / f"deblurgan_{name}_small.pth")
    return model


def numbers(name):
    return np.load(PARITY / f"deblurgan_{name}_small_io.npz")


@pytest.mark.parametrize("name", CASES)
def test_restored_pictures_equal_the_published_behaviour(name):
    model, io = small(name), numbers(name)
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    (restored,) = compiled(io["input"])
    tolerance = 1e-5 * np.ptp(io["output"])
    np.testing.assert_allclose(restored, io["output"], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    # DeblurGAN-v2 stores 1,206,080 more, in parts of MobileNetV2 that nothing uses.
    [(DeblurGANv2, 2_106_627), (DeblurGAN, 11_378_179), (SeedGAN, 2_551_555)],
)
def test_parameter_counts(kind, parameters):
    assert built(kind).count_params() == parameters


def test_what_the_published_pyramid_stores_and_never_uses():
    """320 channels by an inverted residual block from 160 times 6, and 1,280 by 1x1."""
    block, last = (160 * 960 + 960 * 9 + 960 * 160), (960 * 320, 320 * 1280)
    norms = 2 * (2 * 960 + 160) + 2 * (2 * 960 + 320) + 2 * 1280
    unused = block + (160 * 960 + 960 * 9 + last[0]) + last[1] + norms
    assert 2_106_627 + unused == 3_312_707


@pytest.mark.parametrize("name", CASES)
def test_a_picture_does_not_depend_on_its_batch(name):
    model, images = small(name), numbers(name)["input"]
    other = np.concatenate([1 - images[:1], images[:1]])
    np.testing.assert_allclose(model(other)[-1][1], model(images[:1])[-1][0], atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_restored_pictures_stay_in_their_range(name):
    model = small(name)
    model.final.bias.assign([9.0, -9.0, 0.0])
    restored = np.asarray(model(numbers(name)["input"])[-1])
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert np.mean(restored[..., 0] == 1) > 0.1  # half of the range is added
    assert np.mean(restored[..., 1] == 0) > 0.1


def test_dropout_follows_the_samples_seeds():
    model = built(DeblurGAN, **RESNET, dropout=0.5)
    model.final.kernel.assign(np.random.default_rng(1).normal(0, 0.1, model.final.kernel.shape))
    images = numbers("resnet")["input"]
    seeds = np.array([[0, 5], [0, 6]], np.int32)
    first, again = (model(images, training=True, seeds=seeds)[-1] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    alone = model(images[1:], training=True, seeds=seeds[1:])[-1]
    np.testing.assert_allclose(alone[0], first[1], atol=1e-5)
    assert np.abs(first - model(images)[-1]).max() > 1e-2
    kept = np.asarray(model._dropout(seeds, 0)(tf.ones((2, 64, 64, 8))))
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert abs(kept.mean() - 1) < 5 / np.sqrt(kept.size)  # its standard error, times 5


def test_the_seeds_tiles_give_the_whole():
    model = built(SeedGAN, width=4, blocks=2)
    image = np.random.default_rng(0).random((90, 50, 3)).astype(np.float32)
    tiled, whole = restore(model, image, tile=32), restore(model, image, whole=True)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


# Published files.


def tensors(name):
    return read_state_dict(PARITY / f"deblurgan_{name}_small.pth")


def test_without_dropout_the_second_convolution_has_another_name():
    kept = {n.replace(".conv_block.6.", ".conv_block.5."): t for n, t in tensors("resnet").items()}
    model = built(DeblurGAN, **RESNET)
    convert.load_state_dict(model, kept, "here")
    np.testing.assert_array_equal(
        model.blocks[0].conv2.kernel, small("resnet").blocks[0].conv2.kernel
    )


def test_one_convolution_a_block_is_another_network():
    """The published code's head lost the second one; no weights were released for it."""
    kept = {n: t for n, t in tensors("resnet").items() if ".conv_block.6." not in n}
    with pytest.raises(UserError, match=r"lacks model\.10\.conv_block\.6\.weight"):
        convert.load_state_dict(built(DeblurGAN, **RESNET), kept, "here")


def test_copies_of_the_backbone_must_be_equal():
    found = tensors("fpn")
    model = built(DeblurGANv2, **PYRAMID)
    before = model.get_weights()
    found["module.fpn.enc3.1.conv.0.weight"] = found["module.fpn.enc3.1.conv.0.weight"] + 1
    with pytest.raises(UserError, match=r"enc3\.1\.conv\.0\.weight and .*features\.8.* differ"):
        convert.load_state_dict(model, found, "here")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_seed_project_published_nothing():
    with pytest.raises(UserError, match="deblurgan_seed: there are no published weights"):
        convert.load_checkpoint(built(SeedGAN, width=4, blocks=1), PARITY / "mprnet_small.pth")


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """Keras' MobileNetV2 with drawn weights, and its file."""
    source = keras.applications.MobileNetV2((None, None, 3), include_top=False, weights=None)
    random = np.random.default_rng(0)
    for weight in source.weights:
        if weight.name in ("gamma", "beta"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    path = tmp_path_factory.mktemp("keras") / "mobilenet_v2_no_top.h5"
    source.save(path)  # the older form, which Keras' own files have
    return source, path


def test_keras_own_backbone_gives_keras_features(imagenet):
    source, path = imagenet
    model = built(DeblurGANv2, backbone="keras")
    convert.load_checkpoint(model, path)
    ends = ["expanded_conv_project_BN", "block_2_add", "block_5_add", "block_9_add", "block_14_add"]
    outputs = [source.get_layer(name).output for name in ends]
    image = np.random.default_rng(1).uniform(-1, 1, (1, 64, 96, 3)).astype(np.float32)
    # In training mode Keras' batch norms take the statistics of a batch: here, of one picture.
    expected = keras.Model(source.input, outputs)(image, training=True)
    found = model.backbone(image)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.ptp(theirs))


def test_keras_backbone_needs_its_own_padding(imagenet):
    with pytest.raises(UserError, match="--model deblurgan_imagenet takes"):
        convert.load_checkpoint(built(DeblurGANv2), imagenet[1])


def test_a_foreign_file_is_no_backbone(tmp_path):
    path = tmp_path / "a.weights.h5"
    built(SeedGAN, width=4, blocks=1).save_weights(path)
    with pytest.raises(UserError, match="not Keras' weights of MobileNetV2"):
        convert.load_checkpoint(built(DeblurGANv2, backbone="keras"), path)
