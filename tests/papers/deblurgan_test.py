"""DeblurGAN's networks against the published behaviour: parity files and parameter counts."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from deblurgan_tf import convert, discriminators
from deblurgan_tf.adversarial import KINDS, Means
from deblurgan_tf.discriminators import PatchDiscriminator
from deblurgan_tf.model import DeblurGAN, DeblurGANv2, dropout
from deblurgan_tf.seed import SeedGAN
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.inference.restore import restore
from restore_tf.networks import pretrained
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
    kept = np.asarray(dropout(tf.ones((2, 64, 64, 8)), 0.5, seeds, 0))
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


def test_a_pytorch_file_may_be_called_h5(tmp_path):
    """As the authors' fpn_mobilenet.h5 is."""
    path = tmp_path / "fpn_mobilenet.h5"
    path.write_bytes((PARITY / "deblurgan_fpn_small.pth").read_bytes())
    model = built(DeblurGANv2, **PYRAMID)
    convert.load_checkpoint(model, path)
    kernel = tensors("fpn")["module.final.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.final.kernel, kernel)


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
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(UserError, match="not Keras' weights of MobileNetV2"):
        convert.load_checkpoint(built(DeblurGANv2, backbone="keras"), path)


# Discriminators and adversarial losses.


@pytest.mark.parametrize(("strided", "width"), [(3, 6), (5, 4)])
def test_discriminators_equal_the_published_behaviour(strided, width):
    model = PatchDiscriminator(width, strided)
    model.build()
    found = tensors(f"patch{strided}")
    places = sorted({int(name.split(".")[1]) for name in found if name.endswith(".weight")})
    for place, layer in zip(places, [*model.convolutions, model.logits], strict=True):
        layer.conv.kernel.assign(found[f"model.{place}.weight"].transpose(2, 3, 1, 0))
        layer.conv.bias.assign(found[f"model.{place}.bias"])
    expected = numbers("patch")[f"logits{strided}"]
    logits = model(numbers("patch")["input"])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize(
    ("which", "parameters", "side"),
    [
        ("double", {"patch": 2_764_737, "full": 11_154_369}, {"patch": 35, "full": 11}),
        ("seed", {"seed": 2_762_945}, {"seed": 16}),
    ],
)
def test_sizes_of_the_discriminators(which, parameters, side):
    found = discriminators.make(which, 64)
    assert {name: model.count_params() for name, model in found.items()} == parameters
    shapes = {n: model(keras.KerasTensor((1, 256, 256, 3))).shape for n, model in found.items()}
    assert shapes == {name: (1, size, size, 1) for name, size in side.items()}


def test_weights_follow_the_seed():
    def drawn():
        keras.utils.set_random_seed(3)
        (model,) = discriminators.make("patch", 4).values()
        return model.get_weights()

    first, again = drawn(), drawn()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = np.concatenate([kernel.ravel() for kernel in first[::2]])
    assert abs(kernels.std() - 0.02) < 0.0005


def test_a_discriminator_cannot_be_exported(tmp_path):
    (model,) = discriminators.make("patch", 4).values()
    with pytest.raises(UserError, match="patch is a discriminator, which restores nothing"):
        model.export(tmp_path / "1")
    assert not any(tmp_path.iterdir())


LOSSES = np.load(PARITY / "gan_sobel_losses_io.npz")


def means(real, fake):
    return Means(np.mean(real), np.mean(fake))


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_losses_equal_the_published_ones(kind):
    logits = LOSSES["real"], LOSSES["fake"]
    for side in ("critic", "generator"):
        values = getattr(KINDS[kind], side)(*logits, means(*logits))
        assert values.shape == (2,)
        expected = LOSSES[f"{kind}_{side[0].replace('c', 'd')}"]
        np.testing.assert_allclose(np.mean(values), expected, rtol=1e-6)


@pytest.mark.parametrize(("side", "margin"), [("critic", 1.0), ("generator", -1.0)])
def test_gradients_run_through_the_means_of_the_whole_batch(side, margin):
    """Image by image, as replicas and micro-batches see them, against the formula at once."""
    real, fake = tf.constant(LOSSES["real"]), tf.constant(LOSSES["fake"])
    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        first = tf.reduce_mean((real - tf.reduce_mean(fake) - margin) ** 2)
        total = (first + tf.reduce_mean((fake - tf.reduce_mean(real) + margin) ** 2)) / 2
    expected = tape.gradient(total, [real, fake])
    for image in range(2):
        logits = real[image : image + 1], fake[image : image + 1]
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = getattr(KINDS["ragan_ls"], side)(*logits, means(real, fake))
            share = tf.reduce_sum(value) / 2
        for found, whole in zip(tape.gradient(share, logits), expected, strict=True):
            np.testing.assert_allclose(found[0], whole[image], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.wieght=1", r"no such field; there are kind, weight.* \(did you mean weight\?\)"),
        (
            "training.kind=wgan_gp",
            "training.kind: takes one of ragan_ls, lsgan, bce, not 'wgan_gp'",
        ),
        ("training.weight=-1", "training.weight: takes a number from 0, not -1"),
        ("training.width=0", "training.width: takes a whole number from 1, not 0"),
        ("training.warmup=1.5", "training.warmup: takes a whole number from 0, not 1.5"),
        ("training.discriminators=three", "training.discriminators: takes one of double"),
    ],
)
def test_what_a_recipe_says_of_its_adversary_is_checked(assignment, message):
    recipe = experiment.load_recipe("deblurgan_resnet", "quick")
    with pytest.raises(UserError, match=message):
        experiment.construct(experiment.override(recipe, [assignment]))


@pytest.mark.parametrize(("installed", "metric"), [(True, "lpips"), (False, "last")])
def test_the_best_weights_are_not_chosen_by_psnr(monkeypatch, installed, metric):
    monkeypatch.setattr(pretrained, "is_installed", lambda: installed)
    for name in ("gopro", "quick"):
        assert experiment.load_recipe("deblurgan", name).best_metric == metric
