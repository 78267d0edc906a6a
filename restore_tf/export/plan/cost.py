"""What a network costs per pixel of the picture, counted on its own Keras layers."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import keras

_SIDE = 64  # of the picture that is counted on; a multiple of every network's


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one forward pass, per pixel of the picture.

    Attributes:
      multiplications: multiply-adds of all convolutions.
      values: numbers that the convolutions give out.
      taps: places that the kernels look at, all channels of a place being one; of convolutions
        larger than 1x1. XNNPACK keeps a pointer of 8 bytes for each.
      tensorflow_bytes: memory that TensorFlow takes.
    """

    multiplications: float
    values: float
    taps: float
    tensorflow_bytes: float

    def repeated(self, factor: float) -> Cost:
        """The cost of so much more work of the same kind, in one graph."""
        return dataclasses.replace(
            self,
            multiplications=factor * self.multiplications,
            values=factor * self.values,
            taps=factor * self.taps,
        )


def count(model) -> Cost:
    """Counts a network's convolutions, transposed ones too.

    The network is called on a picture of zeros while its convolutions give out zeros and compute
    nothing. What works on a picture's mean alone, the gates of channel attention, is counted as if
    every 64x64 pixels had one; it does not weigh.

    Args:
      model: a `Restorer`; a gray one is counted for one of a picture's three colours.
    """
    found = []
    model.build()
    with _convolutions_as(found.append):
        model(keras.ops.zeros((1, _SIDE, _SIDE, model.channels)), training=False)
    sums = (sum(each) / _SIDE**2 for each in zip(*found, strict=True))
    return Cost(*sums, model.bytes_per_pixel)


@contextlib.contextmanager
def _convolutions_as(tell) -> Iterator[None]:
    """Has convolutions `tell` (multiply-adds, values, taps) and give out zeros meanwhile."""
    kinds = {keras.layers.Conv2D: False, keras.layers.Conv2DTranspose: True}
    before = {kind: kind.call for kind in kinds}

    def counted(transposed):
        def call(layer, inputs):
            shape = layer.compute_output_shape(inputs.shape)
            pixels = math.prod((inputs.shape if transposed else shape)[:3])
            taps = pixels * math.prod(layer.kernel_size)
            weights = math.prod(layer.kernel.shape[2:])
            tell((taps * weights, math.prod(shape), taps if max(layer.kernel_size) > 1 else 0))
            return keras.ops.zeros(shape, layer.compute_dtype)

        return call

    try:
        for kind, transposed in kinds.items():
            kind.call = counted(transposed)
        yield
    finally:
        for kind, call in before.items():
            kind.call = call
