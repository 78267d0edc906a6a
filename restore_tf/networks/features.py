"""Features of networks trained on ImageNet: AlexNet, VGG16 and MobileNetV3Small.

Pictures are (batch, height, width, 3 or 1) in [0, 1], sRGB as stored. All is computed in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from restore_tf.errors import UserError
from restore_tf.networks import pretrained
from restore_tf.networks.dtype_policy import computing_in
from restore_tf.system.log import logger

# ImageNet's, as torchvision and LPIPS have them.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

VGG16_BLOCKS = (2, 2, 3, 3, 3)  # convolutions between the poolings
VGG16_LAYERS = tuple(
    f"relu{block}_{place}"
    for block, count in enumerate(VGG16_BLOCKS, 1)
    for place in range(1, count + 1)
)

_MOBILENET_SIDE = 32  # pixels; it takes no smaller pictures


def normalised(images):
    """Returns images with ImageNet's mean and standard deviation taken out.

    Args:
      images: (batch, height, width, 3 or 1) in [0, 1]; gray ones are repeated in three channels.

    Returns:
      (batch, height, width, 3) float32.
    """
    return ops.divide(ops.subtract(_three_channels(images), MEAN), DEVIATION)


def _three_channels(images):
    images = ops.cast(images, "float32")
    return ops.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def _at_least(side, images):
    """Pads small pictures, such as a coarse scale's, with gray: what zeros are to the network."""
    padding = [(0, max(0, side - (known or side))) for known in images.shape[1:3]]
    return ops.pad(images, ((0, 0), *padding, (0, 0)), constant_values=0.5)


def alexnet(images, convolutions) -> Iterator:
    """Yields the five ReLU outputs of AlexNet (Krizhevsky 2014), as torchvision builds it.

    Args:
      images: `normalised`, at least 31 pixels high and wide.
      convolutions: (kernel, bias) of each, see `pretrained.load`.
    """
    x = ops.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for number, (kernel, bias) in enumerate(convolutions):
        if number in (1, 2):
            x = ops.max_pool(x, 3, 2)
        stride, padding = (4, "valid") if number == 0 else (1, "same")
        x = ops.relu(ops.add(ops.conv(x, kernel, stride, padding), bias))
        yield x


def vgg16(images, convolutions) -> Iterator:
    """Yields the ReLU outputs of VGG16 (Simonyan and Zisserman 2015), in `VGG16_LAYERS`' order.

    Args:
      images: `normalised`.
      convolutions: (kernel, bias) of each, see `pretrained.load`; of the first ones, too.
    """
    x, left = images, list(convolutions)
    for block, count in enumerate(VGG16_BLOCKS):
        if block and left:
            x = ops.max_pool(x, 2, 2)
        for kernel, bias in left[:count]:
            x = ops.relu(ops.add(ops.conv(x, kernel, 1, "same"), bias))
            yield x
        left = left[count:]


def extractor(name: str) -> Callable:
    """Returns the function of a batch of pictures that returns one layer's output.

    Its weights are frozen: numbers of the graph, part of no model and of no checkpoint.

    Args:
      name: "vgg16:LAYER" with one of `VGG16_LAYERS`, "vgg16" for relu2_2 (as Johnson et al. 2016
        take it for super-resolution), or "mobilenet_v3_small" for the last of its feature maps,
        576 channels at 1/32 of the size (pictures under 32 pixels are padded with gray).

    Raises:
      UserError: no such features, or their weights are not on this machine.
    """
    net, _, layer = name.partition(":")
    if net == "vgg16" and (layer or "relu2_2") in VGG16_LAYERS:
        return _vgg16_layer(layer or "relu2_2")
    if name == "mobilenet_v3_small":
        return _mobilenet(pretrained.mobilenet_file())
    layers = ", ".join(VGG16_LAYERS)
    raise UserError(
        f"no features are called {name}; there are mobilenet_v3_small and vgg16, the latter with a "
        f"layer or without: vgg16:relu2_2; it has {layers}."
    )


def _vgg16_layer(layer):
    count = VGG16_LAYERS.index(layer) + 1
    convolutions = pretrained.load("vgg").convolutions[:count]

    def features(images):
        *_, last = vgg16(normalised(images), convolutions)
        return last

    return features


@functools.cache
def _mobilenet(path):
    """The trunk of MobileNetV3Small (Howard et al. 2019) with a file's weights."""
    with computing_in("float32"):
        # Its own rescaling layer would need TensorFlow on every backend.
        model = keras.applications.MobileNetV3Small(
            include_top=False, weights=None, include_preprocessing=False
        )
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise many kinds for damaged or foreign files
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{path}: no weights of MobileNetV3Small without its top ({reason})."
        ) from None
    logger.info("perceptual features: MobileNetV3Small, %s.", path)
    # As numbers: variables would belong to one strategy, and to the model that uses them.
    weights, statistics = (
        [variable.numpy() for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )

    def features(images):
        pictures = 2.0 * _at_least(_MOBILENET_SIDE, _three_channels(images)) - 1.0
        return model.stateless_call(weights, statistics, pictures, training=False)[0]

    return features
