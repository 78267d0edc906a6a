"""The blocks of SRN-DeblurNet (section 3.2 and figure 3 of the paper; see `model`)."""

from __future__ import annotations

import keras
from keras import layers, ops

from restore_tf.networks.layers import Block

KERNEL_SIZE = 5  # section 3.2: "all convolution layers have kernel size 5"
FORGET_BIAS = 1.0  # authors' code; keeps the state by default early in training


def _convolution(
    filters, name, strides=1, activation="relu", initializer="glorot_uniform", dtype=None
):
    return layers.Conv2D(
        filters,
        KERNEL_SIZE,
        strides=strides,
        padding="same",
        activation=activation,
        kernel_initializer=initializer,  # Xavier, section 4
        dtype=dtype,
        name=name,
    )


def _upconvolution(
    filters, name, strides=2, activation="relu", initializer="glorot_uniform", dtype=None
):
    return layers.Conv2DTranspose(
        filters,
        2 * strides,  # 4 in the authors' code; the paper says "deconvolution" without a size
        strides=strides,
        padding="same",
        activation=activation,
        kernel_initializer=initializer,
        dtype=dtype,
        name=name,
    )


class ResBlock(Block):
    """Residual block: conv + ReLU, conv, plus the input. No normalisation, no last ReLU."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = _convolution(filters, "conv1")
        self.conv2 = _convolution(filters, "conv2", activation=None)

    def call(self, x):
        """(batch, h, w, filters) -> the same shape."""
        return x + self.conv2(self.conv1(x))

    def path(self):
        """Returns its layers in the order of the longest way through it."""
        return [self.conv1, self.conv2]


def paths(blocks):
    """Returns the layers on the longest way through blocks one after another.

    Args:
      blocks: each with a `path`.
    """
    return [layer for block in blocks for layer in block.path()]


def _res_blocks(filters, count):
    return [ResBlock(filters, name=f"res_block{i + 1}") for i in range(count)]


class EBlock(Block):
    """Encoder block (section 3.2): a convolution, then ResBlocks of the same width.

    The paper's InBlock is the same thing with stride 1.
    """

    def __init__(self, filters, res_blocks, strides=2, **kwargs):
        super().__init__(**kwargs)
        self.conv = _convolution(filters, "conv", strides=strides)
        self.res_blocks = _res_blocks(filters, res_blocks)

    def call(self, x):
        """(batch, h, w, any) -> (batch, h / strides, w / strides, filters)."""
        x = self.conv(x)
        for block in self.res_blocks:
            x = block(x)
        return x

    def path(self):
        """As `ResBlock.path`."""
        return [self.conv, *paths(self.res_blocks)]


class DBlock(Block):
    """Decoder block (section 3.2): ResBlocks, then a transposed convolution to twice the size.

    Args:
      filters: width of the ResBlocks and of the input.
      upsampled_filters: width of the output.
      res_blocks: how many ResBlocks.
    """

    def __init__(self, filters, upsampled_filters, res_blocks, **kwargs):
        super().__init__(**kwargs)
        self.res_blocks = _res_blocks(filters, res_blocks)
        self.upconv = _upconvolution(upsampled_filters, "upconv")

    def call(self, x):
        """(batch, h, w, filters) -> (batch, 2 h, 2 w, upsampled_filters)."""
        for block in self.res_blocks:
            x = block(x)
        return self.upconv(x)

    def path(self):
        """As `ResBlock.path`."""
        return [*paths(self.res_blocks), self.upconv]


class OutBlock(Block):
    """Output block (section 3.2): ResBlocks, then a linear convolution to the image's channels.

    Args:
      filters: width of the ResBlocks and of the input.
      channels: image channels.
      res_blocks: how many ResBlocks.
      initializer: of the last convolution's kernel.
      strides: above 1 the last convolution is a transposed one, and the image so many times as
        large as the features.
    """

    def __init__(
        self, filters, channels, res_blocks, initializer="glorot_uniform", strides=1, **kwargs
    ):
        super().__init__(**kwargs)
        self.res_blocks = _res_blocks(filters, res_blocks)
        # The image is made in float32, under mixed precision too.
        last = {"activation": None, "initializer": initializer, "dtype": "float32"}
        if strides == 1:
            self.conv = _convolution(channels, "conv", **last)
        else:
            self.conv = _upconvolution(channels, "conv", strides, **last)

    def call(self, x):
        """(batch, h, w, filters) -> (batch, strides h, strides w, channels)."""
        for block in self.res_blocks:
            x = block(x)
        return self.conv(x)

    def path(self):
        """As `ResBlock.path`."""
        return [*paths(self.res_blocks), self.conv]


class ConvLSTMCell(Block):
    """Convolutional LSTM cell (section 3.2), the memory that scales pass on.

    One linear 3x3 convolution over concat(features, h) gives the gates i, j, f, o, in this order:

        c' = c * sigmoid(f + forget bias) + sigmoid(i) * tanh(j)
        h' = tanh(c') * sigmoid(o)
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(
            4 * filters,
            3,
            padding="same",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=1e-3),  # authors' code
            name="conv",
        )

    def call(self, features, state):
        """Updates the state by one scale's features.

        Args:
          features: (batch, h, w, filters).
          state: (c, h), each (batch, h, w, filters).

        Returns:
          h' and the new state (c', h'), of the same shapes.
        """
        c, h = state
        gates = self.conv(ops.concatenate([features, h], axis=-1))
        i, j, f, o = ops.split(gates, 4, axis=-1)
        c = c * ops.sigmoid(f + FORGET_BIAS) + ops.sigmoid(i) * ops.tanh(j)
        h = ops.tanh(c) * ops.sigmoid(o)
        return h, (c, h)
