"""Operations that make bfloat16 fast on CPUs with instructions for it.

There a convolution or a product takes a fifth of float32's time, an elementwise operation as long
as in float32 or longer. So there are as few elementwise operations as possible:

- oneDNN takes an activation and a residual sum into a convolution only where it has a bias.
  `biased` gives every convolution without one a bias that changes nothing.
- Means over a picture, and what normalises over channels, are products (`global_mean`,
  `normalize`).
- A product with its bias and GELU is one operation (`gelu_product`).

In other number formats the first changes nothing, and the others use the plain operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import ml_dtypes
import numpy as np
from keras import layers, ops

# bfloat16 has float32's exponents: this is far from its smallest number (1.2e-38), and lost in the
# rounding of every sum with a number above 1e-27. It is not 0, which optimizers would leave out.
_BIAS = 1e-30

CONVOLUTIONS = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D)


def is_bfloat16(x) -> bool:
    """Returns whether a tensor is in bfloat16.

    Args:
      x: a tensor or variable.
    """
    return keras.backend.standardize_dtype(x.dtype) == "bfloat16"


@contextlib.contextmanager
def biased(model: keras.Model) -> Iterator[None]:
    """Within this context, traced graphs have a bias of 1e-30 in each convolution that has none.

    Only layers that compute in bfloat16 are concerned. The layers' weights do not change.

    Args:
      model: a built network for inference or export.
    """
    # Keras lists a layer as often as it is used.
    found = {id(layer): layer for layer in model._flatten_layers()}
    bare = [layer for layer in found.values() if _takes_bias(layer)]
    for layer in bare:
        filters = layer.kernel.shape[-1]
        if isinstance(layer, layers.Conv2DTranspose):
            filters = layer.filters
        elif isinstance(layer, layers.DepthwiseConv2D):
            filters *= layer.kernel.shape[-2]
        layer.use_bias, layer.bias = True, np.full(filters, _BIAS, ml_dtypes.bfloat16)
    try:
        yield
    finally:
        for layer in bare:
            layer.use_bias, layer.bias = False, None


def _takes_bias(layer):
    return (
        isinstance(layer, CONVOLUTIONS)
        and layer.built
        and not layer.use_bias
        and layer.compute_dtype == "bfloat16"
    )


def global_mean(x):
    """The mean over height and width.

    Args:
      x: (batch, h, w, channels).

    Returns:
      (batch, 1, 1, channels) of x's type; rows are summed up in float32.
    """
    if not is_bfloat16(x):
        return ops.mean(x, axis=(1, 2), keepdims=True)
    batch, height, width, channels = ops.shape(x)
    rows = ops.reshape(x, (batch * height, width, channels))
    sums = ops.matmul(ops.ones((batch * height, 1, width), dtype=x.dtype), rows)
    sums = ops.reshape(ops.cast(sums, "float32"), (batch, height, 1, channels))
    means = ops.mean(sums, axis=1, keepdims=True) / ops.cast(width, "float32")
    return ops.cast(means, x.dtype)


def normalize(x, epsilon: float):
    """Layer normalisation over channels without scale and bias.

    Args:
      x: (batch, h, w, channels).
      epsilon: what is added to the variance.

    Returns:
      (batch, h, w, channels) of x's type; means are taken in float32.
    """
    dtype, channels = x.dtype, x.shape[-1]
    if not is_bfloat16(x):
        x = ops.cast(x, "float32")
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return ops.cast(x * ops.rsqrt(variance + epsilon), dtype)
    # Of up to 256 channels, a power of two of them, 1 - 1 / channels has no rounding in 8 bits.
    x = ops.conv(x, _matrix(np.eye(channels) - 1 / channels, dtype))
    variance = ops.conv(x * x, _matrix(np.full((channels, 1), 1 / channels), dtype))
    return x * ops.rsqrt(variance + epsilon)


def scale_shift(x, scale, shift):
    """x * scale + shift, channel by channel.

    Args:
      x: (batch, h, w, channels).
      scale: (channels,), of x's type.
      shift: (channels,), of x's type.

    Returns:
      Of x's shape and type.
    """
    if not is_bfloat16(x):
        return x * scale + shift
    return ops.conv(x, ops.diag(scale)[None, None]) + shift


def gelu_product(x, kernel, bias):
    """GELU, in its tanh form, of a product over channels.

    Args:
      x: (batch, h, w, in), bfloat16.
      kernel: (in, out).
      bias: (out,).

    Returns:
      (batch, h, w, out).
    """
    batch, height, width, channels = ops.shape(x)
    flat = ops.matmul(ops.reshape(x, (-1, channels)), kernel)
    flat = ops.gelu(_bias_add(flat, bias), approximate=True)
    return ops.reshape(flat, (batch, height, width, kernel.shape[-1]))


def _bias_add(x, bias):
    if keras.backend.backend() != "tensorflow":
        return x + bias
    import tensorflow as tf

    return tf.nn.bias_add(x, bias)  # a GELU is taken into the product behind this op alone


def _matrix(values, dtype):
    return ops.cast(ops.convert_to_tensor(values[None, None], "float32"), dtype)
