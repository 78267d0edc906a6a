"""The parts of MAXIM's blocks: weights under the published names, and products.

Every layer creates its weights when it is made, inside `keras.name_scope`s named as in the authors'
Flax code. The path of a variable without the model's name is therefore its name in the published
checkpoints: `stage_0_encoder_block_0/Conv_0/kernel`.

All of the network but the 3x3 and 4x4 convolutions and the token matrices acts on each pixel alone.
A token matrix needs the pixels of one block, or of one grid position, side by side; `Layout` brings
them there by reshapes and one swap of two axes.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from restore_tf.networks import bfloat16
from restore_tf.networks.layers import antialiased_downsample, upsample

EPSILON = 1e-6  # of every layer normalisation; Flax's default, Keras' is 1e-3
LEAKY_SLOPE = 0.2  # authors' code; Keras' default is 0.3

# Of the tanh form of GELU, x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)).
_GELU_1 = 1.5957691216057308
_GELU_3 = 0.044715 * _GELU_1


def gelu(x):
    """GELU in its tanh form, of any shape.

    0.5 (1 + tanh(z)) is sigmoid(2 z), which leaves six passes over the features where TensorFlow's
    own takes nine.

    Args:
      x: of any shape.
    """
    return x * ops.sigmoid(x * (_GELU_3 * ops.square(x) + _GELU_1))


def leaky_relu(x):
    """LeakyReLU of any shape.

    Args:
      x: of any shape.
    """
    return ops.leaky_relu(x, LEAKY_SLOPE)


def normalize(x):
    """Layer normalisation over channels without scale and bias.

    Args:
      x: (batch, h, w, channels).

    Returns:
      Of x's shape and type.
    """
    return bfloat16.normalize(x, EPSILON)


def pointwise(x, kernel, bias=None):
    """A product over channels, pixel by pixel: a Dense layer or a 1x1 convolution.

    Args:
      x: (batch, h, w, in).
      kernel: (in, out) or (1, 1, in, out).
      bias: (out,); None for none.

    Returns:
      (batch, h, w, out).
    """
    kernel = ops.reshape(kernel, (1, 1, *kernel.shape[-2:]))
    y = ops.conv(x, kernel, 1, "valid")
    return y if bias is None else y + bias


def gelu_pointwise(x, kernel, bias):
    """GELU of `pointwise`.

    Args:
      x: (batch, h, w, in).
      kernel: (in, out).
      bias: (out,).

    Returns:
      (batch, h, w, out).
    """
    if bfloat16.is_bfloat16(x):
        return bfloat16.gelu_product(x, kernel, bias)
    return gelu(pointwise(x, kernel, bias))


def product(vector, kernel):
    """Returns a vector times a matrix, such as a bias moved behind a product over channels.

    Args:
      vector: (in,).
      kernel: (in, out).

    Returns:
      (out,).
    """
    return ops.reshape(ops.matmul(ops.reshape(vector, (1, -1)), kernel), (-1,))


class Layout:
    """How the features of one level are cut into tokens: made once, for all blocks of the level.

    Grid: the picture is cut into size x size cells; a token is a cell, row-major, and each position
    inside the cells is mixed by itself. Block: the picture is cut into blocks of size x size
    pixels; a token is a pixel of a block, row-major, and each block is mixed by itself.

    Args:
      size: cells along each side of the grid, and side of a block in pixels.
      height: of the features, a multiple of `size`; may be symbolic.
      width: likewise.
      channels: of the features.
      batch: how many pictures; None where that is not known.
    """

    def __init__(self, size, height, width, channels, batch=None):
        rows, columns = height // size, width // size
        self._picture = _shape(batch or -1, height, width, channels)
        self._tokens = _shape(-1, size * size, columns * channels)
        # Reshaped to one of these, the features need only a swap of the two middle axes.
        self._picture_by_axis = {
            "grid": _shape(-1, size, rows, width * channels),
            "block": _shape(-1, columns, size, channels),
        }
        self._tokens_by_axis = {
            "grid": _shape(-1, rows, size, width * channels),
            "block": _shape(-1, size, columns, channels),
        }

    def tokens(self, x, axis):
        """Brings the pixels that a token matrix mixes side by side.

        Args:
          x: (batch, height, width, channels).
          axis: "grid" or "block".

        Returns:
          (batch * height / size, size * size, width / size * channels): for each row inside the
          cells (of blocks), tokens by columns inside the cells (by blocks) and channels.
        """
        x = ops.swapaxes(ops.reshape(x, self._picture_by_axis[axis]), 1, 2)
        return ops.reshape(x, self._tokens)

    def picture(self, tokens, axis):
        """Undoes `tokens`.

        Args:
          tokens: as `tokens` returns them.
          axis: "grid" or "block".

        Returns:
          (batch, height, width, channels).
        """
        x = ops.swapaxes(ops.reshape(tokens, self._tokens_by_axis[axis]), 1, 2)
        return ops.reshape(x, self._picture)


def _shape(*sides):
    """A shape as `ops.reshape` takes it; one tensor where sides are symbolic, packed once."""
    if all(isinstance(side, int) for side in sides):
        return sides
    return ops.convert_to_tensor(sides, dtype="int32")


class Weights(layers.Layer):
    """A kernel and a bias, which the layer around it may also use by themselves.

    Args:
      shape: of the kernel.
      filters: length of the bias.
      initializer: of the kernel. The authors' code: LeCun normal for convolutions and for what is
        part of a cross gating block, a normal of 0.02 for all else.
      bias: initial value.
    """

    def __init__(self, shape, filters, initializer="lecun_normal", bias="zeros", **kwargs):
        super().__init__(**kwargs)
        if initializer == "normal":
            initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.kernel = self.add_weight(shape=shape, initializer=initializer, name="kernel")
        self.bias = self.add_weight(shape=(filters,), initializer=bias, name="bias")
        self.built = True


class Dense(Weights):
    """A product over channels."""

    def __init__(self, inputs, filters, initializer="normal", **kwargs):
        super().__init__((inputs, filters), filters, initializer, **kwargs)

    def call(self, x):
        """(batch, h, w, inputs) -> (batch, h, w, filters)."""
        return pointwise(x, self.kernel, self.bias)


class Conv(Weights):
    """A convolution, SAME."""

    def __init__(self, inputs, filters, kernel_size=1, strides=1, **kwargs):
        super().__init__((kernel_size, kernel_size, inputs, filters), filters, **kwargs)
        self.strides = strides

    def call(self, x):
        """(batch, h, w, inputs) -> (batch, h / strides, w / strides, filters)."""
        return ops.conv(x, self.kernel, self.strides, "same") + self.bias

    def matrix(self):
        """Kernel (inputs, filters) and bias of a 1x1 convolution."""
        return ops.reshape(self.kernel, self.kernel.shape[2:]), self.bias


class ConvTranspose(Weights):
    """A transposed convolution, 2x2, stride 2; the kernel is laid out as Keras' (2, 2, out, in).

    Output pixel (2 i + a, 2 j + b) is input pixel (i, j) times kernel[a, b]: one product over
    channels for all four, and a swap of axes.
    """

    def __init__(self, inputs, filters, **kwargs):
        super().__init__((2, 2, filters, inputs), filters, _lecun_transposed, **kwargs)

    def then(self, x, kernel, bias):
        """Applies this and then a 1x1 convolution, in one product.

        Args:
          x: (batch, h, w, inputs).
          kernel: (filters, out).
          bias: (out,).

        Returns:
          (batch, 2 h, 2 w, out).
        """
        out = kernel.shape[-1]
        bias = product(self.bias, kernel) + bias
        both = ops.einsum("abfi,fo->iabo", self.kernel, kernel)
        inputs = both.shape[0]
        y = pointwise(x, ops.reshape(both, (inputs, 4 * out)), ops.tile(bias, 4))
        _, height, width, _ = ops.shape(x)
        y = ops.reshape(y, (-1, width, 2, 2 * out))
        return ops.reshape(ops.swapaxes(y, 1, 2), (x.shape[0] or -1, 2 * height, 2 * width, out))


def _lecun_transposed(shape, dtype=None):
    """LeCun normal by the true fan-in, 4 * in, of a kernel (2, 2, out, in)."""
    rows, columns, filters, inputs = shape
    drawn = keras.initializers.LecunNormal()((rows, columns, inputs, filters), dtype=dtype)
    return ops.swapaxes(drawn, 2, 3)


class LayerNorm(layers.Layer):
    """Layer normalisation over channels."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.scale = self.add_weight(shape=(channels,), initializer="ones", name="scale")
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x):
        """(batch, h, w, channels) -> the same shape."""
        return bfloat16.scale_shift(normalize(x), self.scale, self.bias)

    def dense(self, dense):
        """Returns the kernel and bias that compute `dense(self(x))` from `normalize(x)`.

        Args:
          dense: the `Dense` that follows.
        """
        bias = dense.bias + product(self.bias, dense.kernel)
        return ops.reshape(self.scale, (-1, 1)) * dense.kernel, bias


class TokenDense(Weights):
    """A product over tokens: y[t'] = sum over t of x[t] kernel[t, t'], plus bias[t'].

    The same for every channel and for every block, or position inside the grid's cells.

    Args:
      size: see `Layout`.
      axis: "grid" or "block".
      kwargs: of `Weights`.
    """

    def __init__(self, size, axis, **kwargs):
        super().__init__((size * size, size * size), size * size, "normal", **kwargs)
        self.axis = axis

    def call(self, x, layout, offset=0.0):
        """Multiplies tokens by the kernel.

        Args:
          x: (batch, h, w, channels).
          layout: the level's `Layout`.
          offset: added to the result.

        Returns:
          Of x's shape.
        """
        kernel = ops.transpose(self.kernel)
        bias = ops.reshape(self.bias + offset, (-1, 1))
        y = ops.matmul(kernel, layout.tokens(x, self.axis)) + bias
        return layout.picture(y, self.axis)


class Resize(layers.Layer):
    """Bilinear resize from level to level, then a 1x1 convolution ("UpSampleRatio").

    Args:
      inputs: width at the source level.
      filters: width at the target level.
      exponent: the target is 2**exponent times as large; from -2 to 2.
    """

    def __init__(self, inputs, filters, exponent, **kwargs):
        super().__init__(**kwargs)
        self.exponent = exponent
        with keras.name_scope(self.name):
            self.conv = Conv(inputs, filters, name="Conv_0")
        self.built = True

    def then(self, x, kernel, bias=None):
        """Applies this and then a 1x1 convolution, in one convolution.

        The convolution is done at the smaller size: it commutes with the resize.

        Args:
          x: (batch, h, w, inputs).
          kernel: (filters, out).
          bias: (out,); None for none.

        Returns:
          (batch, 2^exponent h, 2^exponent w, out).
        """
        both = ops.matmul(self.conv.matrix()[0], kernel)
        shift = product(self.conv.bias, kernel)
        shift = shift if bias is None else shift + bias
        if self.exponent < 0:
            x = antialiased_downsample(x, 2**-self.exponent)
        x = pointwise(x, both, shift)
        return upsample(x, 2**self.exponent) if self.exponent > 0 else x
