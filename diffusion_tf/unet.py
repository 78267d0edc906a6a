"""The U-Net of predictor and denoiser: no norm and no attention, so that its reach is finite.

A U-Net of diffusion models without self-attention, positional encoding and group norm, after Whang
et al. 2022: trained on crops, it restores pictures of any size, and tiles with a margin are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import layers, ops

from restore_tf.networks.layers import Block
from restore_tf.networks.reach import Reach, reach

_FREQUENCIES = 1.0, 1e4  # of the noise embedding, first and last


class NoiseEmbedding(Block):
    """Embeds the noise level a: sines and cosines of log(a / (1 - a)) / 4, then two layers.

    Args:
      width: of the U-Net; the embedding has four times as many values.
    """

    def __init__(self, width, **kwargs):
        # 16 bits would round the level itself; its layers cast what they take.
        super().__init__(autocast=False, **kwargs)
        first, last = (math.log(frequency) for frequency in _FREQUENCIES)
        count = width // 2
        self.frequencies = [
            math.exp(first + (last - first) * k / max(1, count - 1)) for k in range(count)
        ]
        self.dense1 = layers.Dense(4 * width, activation="silu", name="dense1")
        self.dense2 = layers.Dense(4 * width, name="dense2")

    def call(self, level):
        """(batch,) float32 levels in (0, 1) -> (batch, 4 width)."""
        ratio = 0.25 * ops.log(level / (1.0 - level))[:, None]
        angles = ratio * ops.array(self.frequencies, dtype="float32")
        return self.dense2(self.dense1(ops.concatenate([ops.sin(angles), ops.cos(angles)], -1)))


class ResidualBlock(Block):
    """Two 3x3 convolutions of SiLU, modulated in between by the noise embedding, plus the input.

    Args:
      width: output channels.
      enters: input channels; where they differ from `width`, a 1x1 convolution adapts the input.
      embedded: whether there is a noise embedding.
    """

    def __init__(self, width, enters, embedded, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = _conv(width, name="conv1")
        self.modulation = layers.Dense(2 * width, name="modulation") if embedded else None
        self.conv2 = _conv(width, kernel_initializer="zeros", name="conv2")
        self.shortcut = None if enters == width else layers.Conv2D(width, 1, name="shortcut")

    def call(self, x, embedding=None):
        """Convolves features.

        Args:
          x: (batch, h, w, enters).
          embedding: of the noise level, (batch, values); None without one.

        Returns:
          (batch, h, w, width).
        """
        features = self.conv1(ops.silu(x))
        if self.modulation is not None:
            scale, shift = ops.split(self.modulation(embedding)[:, None, None], 2, axis=-1)
            features = features * (1 + scale) + shift
        return self.conv2(ops.silu(features)) + (self.shortcut(x) if self.shortcut else x)


class UNet(Block):
    """Encoder, two blocks in the middle, and a decoder that concatenates every skip in turn.

    Args:
      enters: channels of its input.
      leaves: channels of its output, which starts at zero.
      width: channels of the first level.
      multipliers: of `width`, one per level; each level has half the side of the one before.
      blocks: residual blocks per level on the way down; one more on the way up.
      embedded: whether it takes a noise level.
    """

    def __init__(self, enters, leaves, width, multipliers, blocks, embedded=False, **kwargs):
        super().__init__(autocast=False, **kwargs)  # for the noise level, see `NoiseEmbedding`
        self.embedding = NoiseEmbedding(width, name="embedding") if embedded else None
        self.first = _conv(width, name="first")
        widths = [width * multiplier for multiplier in multipliers]
        self.down, skips, channels = [], [width], width
        for level, wide in enumerate(widths):
            row = [
                ResidualBlock(wide, channels if k == 0 else wide, embedded, name=f"down{level}_{k}")
                for k in range(blocks)
            ]
            skips += [wide] * blocks
            channels = wide
            if level < len(widths) - 1:
                row.append(_conv(wide, strides=2, name=f"halve{level}"))
                skips.append(wide)
            self.down.append(row)
        self.middle = [
            ResidualBlock(channels, channels, embedded, name=f"middle{k}") for k in (0, 1)
        ]
        self.up = []
        for level, wide in reversed(list(enumerate(widths))):
            row = []
            for k in range(blocks + 1):
                enters_block = channels + skips.pop()
                row.append(ResidualBlock(wide, enters_block, embedded, name=f"up{level}_{k}"))
                channels = wide
            if level:
                row.append(layers.UpSampling2D(2, interpolation="nearest", name=f"double{level}"))
                row.append(_conv(wide, name=f"after_double{level}"))
            self.up.append(row)
        # The last layer stays float32 under mixed precision.
        self.last = _conv(leaves, kernel_initializer="zeros", dtype="float32", name="last")

    def call(self, x, level=None):
        """Computes the output.

        Args:
          x: (batch, h, w, enters); sides are multiples of 2^(levels - 1).
          level: (batch,) float32; None without an embedding.

        Returns:
          (batch, h, w, leaves) float32.
        """
        embedding = self.embedding(level) if self.embedding else None
        x = self.first(x)
        skips = [x]
        for layer in (layer for row in self.down for layer in row):
            x = layer(x, embedding) if isinstance(layer, ResidualBlock) else layer(x)
            skips.append(x)
        for block in self.middle:
            x = block(x, embedding)
        for layer in (layer for row in self.up for layer in row):
            if isinstance(layer, ResidualBlock):
                x = layer(ops.concatenate([x, skips.pop()], axis=-1), embedding)
            else:
                x = layer(x)
        return self.last(ops.silu(x))

    def reach(self) -> Reach:
        """Returns how far an output pixel sees, derived from the layers of the longest way."""
        path = [self.first]
        for layer in [
            *(layer for row in self.down for layer in row),
            *self.middle,
            *(layer for row in self.up for layer in row),
        ]:
            convs = isinstance(layer, ResidualBlock)
            path += [layer.conv1, layer.conv2] if convs else [layer]
        return reach([*path, self.last])


def _conv(filters, **kwargs):
    return layers.Conv2D(filters, 3, padding="same", **kwargs)


def arguments(width: int, multipliers: Sequence[int], blocks: int) -> dict:
    """Returns the arguments of a `UNet`'s size, as in recipes and `experiment.json`.

    Args:
      width: channels of the first level.
      multipliers: of `width`, one per level.
      blocks: residual blocks per level.
    """
    return {"width": width, "multipliers": list(multipliers), "blocks": blocks}
