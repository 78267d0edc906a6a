"""The generator of a student project, "GAN for Image Deblur", with its training repaired.

Not of the papers. The project calls it ESRGAN; it has neither dense connections nor scaled
residuals. README.md beside it says what was repaired.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from restore_tf.networks.layers import Block
from restore_tf.networks.reach import reach
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import FiniteReach

SLOPE = 0.2  # of the leaky ReLUs


def _convolution(filters, name, **kwargs):
    return layers.Conv2D(filters, 3, padding="same", name=name, **kwargs)


class SeedBlock(Block):
    """Three 3x3 convolutions with two leaky ReLUs between them, plus the input.

    Args:
      filters: channels in and out.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [_convolution(filters, f"conv{n}") for n in (1, 2, 3)]

    def call(self, x):
        """(batch, height, width, filters) -> the same shape."""
        first, second, third = self.convolutions
        inner = ops.leaky_relu(first(x), SLOPE)
        return x + third(ops.leaky_relu(second(inner), SLOPE))


@keras.saving.register_keras_serializable(package="deblurgan_tf")
class SeedGAN(Restorer):
    """3x3 convolutions at full size throughout, no skip from the input, no output activation.

    Args:
      width: channels.
      blocks: residual blocks.
    """

    channels = 3

    def __init__(self, width=64, blocks=23, name="deblurgan_seed", **kwargs):
        super().__init__(name=name, **kwargs)
        self._config = {"width": width, "blocks": blocks}
        self.first = _convolution(width, "first")
        self.blocks = [SeedBlock(width, name=f"block{n}") for n in range(1, blocks + 1)]
        self.final = _convolution(3, "final", dtype="float32")

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes: growth of the peak at 512x512, 834 at full width."""
        return 900.0 * max(self._config["width"], 16) / 64

    def call(self, images, training=False, seeds=None):
        """Restores images of any size.

        Args:
          images: (batch, height, width, 3) in [0, 1].
          training: changes nothing.
          seeds: not used.

        Returns:
          A list of one tensor of the same shape.
        """
        self.check_size(images)
        x = self.first(images)
        for block in self.blocks:
            x = block(x)
        return [self.final(x)]

    def tiler(self):
        """Convolutions alone: tiles that see far enough give the numbers of the whole."""
        inner = [layer for block in self.blocks for layer in block.convolutions]
        return FiniteReach(self, reach([self.first, *inner, self.final]))

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}
