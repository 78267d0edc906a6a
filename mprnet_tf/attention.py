"""MPRNet's channel attention blocks (figure 3b), and the layers that all blocks share.

See `blocks` for their conventions: no bias, one PReLU, the sliding mean's `window`.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from restore_tf.networks.bfloat16 import attended, global_mean, takes_attention
from restore_tf.networks.layers import Block, running_sum

# PyTorch's default for convolutions, which the authors trained from: uniform in +-1/sqrt(fan_in).
_INITIALIZER = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")


def convolution(filters, name, kernel_size=3, dtype=None):
    """Returns a convolution as all of MPRNet's are: SAME, stride 1, linear, without bias.

    Args:
      filters: output channels.
      name: of the layer.
      kernel_size: side of the kernel in pixels.
      dtype: it computes in; None for the dtype policy's.
    """
    return layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        kernel_initializer=_INITIALIZER.clone(),
        dtype=dtype,
        name=name,
    )


class SharedPReLU(layers.PReLU):
    """The PReLU of the whole network: one scalar alpha, 0.25 at the start.

    Attributes:
      slope: alpha as a number, or None for the weight. With a number it is a leaky ReLU, one pass
        over the features where the PReLU takes five, and one that 8-bit kernels have.
    """

    def __init__(self, **kwargs):
        alpha = keras.initializers.Constant(0.25)
        super().__init__(alpha_initializer=alpha, shared_axes=[1, 2, 3], **kwargs)
        self.slope = None

    def call(self, x):
        """(batch, h, w, filters) -> the same shape."""
        return super().call(x) if self.slope is None else ops.leaky_relu(x, self.slope)


def halved(window):
    """Returns the window one level down.

    Args:
      window: (height, width) in pixels, or None.
    """
    return window and (window[0] // 2, window[1] // 2)


class ChannelAttention(Block):
    """Channel attention (figure 3b): scales each channel by a gate computed from its mean.

    Args:
      filters: width of the input.
      reduction: the squeezed width is filters // reduction.
      window: see the module's head.
    """

    def __init__(self, filters, reduction, window=None, **kwargs):
        super().__init__(**kwargs)
        self.window = window
        self.squeeze = convolution(filters // reduction, "squeeze", 1)
        self.excite = convolution(filters, "excite", 1)

    def call(self, x):
        """(batch, h, w, filters) -> the same shape."""
        if self.window is None:
            means = global_mean(x)
        else:
            means = sliding_mean(x, self.window)
        gate = self.gate(means)
        if self.window is not None:
            gate = _centred(gate, ops.shape(x))
        return x * gate

    def gate(self, means):
        """Returns the gates that a picture's channels are scaled by.

        Args:
          means: of the channels, (batch, any, any, filters).

        Returns:
          Of the same shape, between 0 and 1.
        """
        return ops.sigmoid(self.excite(ops.relu(self.squeeze(means))))


def sliding_mean(x, window):
    """Returns the means over all windows that lie inside x; a window is cut to x's size.

    Args:
      x: (batch, h, w, channels).
      window: (height, width) in pixels.

    Returns:
      (batch, h - height + 1, w - width + 1, channels) of x's type.
    """
    dtype, x = x.dtype, ops.cast(x, "float32")  # sums over a picture's side overwhelm 16 bits
    for axis, length in zip((1, 2), window, strict=True):
        length = _minimum(length, ops.shape(x)[axis])
        if axis == 1:
            first, entering, leaving = x[:, :length], x[:, length:], x[:, :-length]
        else:
            first, entering, leaving = x[:, :, :length], x[:, :, length:], x[:, :, :-length]
        first = ops.sum(first, axis=axis, keepdims=True)
        later = first + running_sum(entering - leaving, axis)
        x = ops.concatenate([first, later], axis=axis) / ops.cast(length, "float32")
    return ops.cast(x, dtype)


def _minimum(length, size):
    return min(length, size) if isinstance(size, int) else ops.minimum(length, size)


def _centred(gate, shape):
    """Brings a map of windows to the size of what they slid over, by edge replication."""
    for axis in (1, 2):
        positions = ops.shape(gate)[axis]
        start = (shape[axis] - positions) // 2
        indices = ops.arange(shape[axis], dtype="int32") - start
        gate = ops.take(gate, ops.clip(indices, 0, positions - 1), axis=axis)
    return gate


class CAB(Block):
    """Channel attention block (figure 3b): conv, PReLU, conv, channel attention, plus the input."""

    def __init__(self, filters, reduction, prelu, window=None, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = convolution(filters, "conv1")
        self.prelu = prelu
        self.conv2 = convolution(filters, "conv2")
        self.attention = ChannelAttention(filters, reduction, window, name="attention")

    def call(self, x):
        """(batch, h, w, filters) -> the same shape."""
        y = self.prelu(self.conv1(x))
        if self.attention.window is None and takes_attention(y):
            return attended(x, y, self.conv2.kernel, None, self.attention.gate)
        return x + self.attention(self.conv2(y))
