"""Operations that make bfloat16 fast on CPUs with instructions for it.

There a convolution or a product takes a fifth of float32's time, an elementwise operation as long
as in float32 or longer. So there are as few elementwise operations as possible:

- oneDNN takes an activation and a residual sum into a convolution only where it has a bias.
  `biased` gives every convolution without one a bias that changes nothing.
- Means over a picture, and what normalises over channels, are products (`global_mean`,
  `normalize`).
- A product with its bias and GELU is one operation (`gelu_product`).
- Channel attention behind a convolution is part of it (`attended`): the gate is in the kernel.

In other number formats the first changes nothing, and the others use the plain operations.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
from collections.abc import Callable, Iterator

import keras
import ml_dtypes
import numpy as np
from keras import layers, ops

from restore_tf.system.processor import has_bfloat16

# bfloat16 has float32's exponents: this is far from its smallest number (1.2e-38), and lost in the
# rounding of every sum with a number above 1e-27. It is not 0, which optimizers would leave out.
_BIAS = 1e-30

# Of a batch, each with a kernel of its own; MPRNet's first stage makes four of a picture.
_MOST_IMAGES = 4

_FOR_INFERENCE = contextvars.ContextVar("for_inference", default=False)

CONVOLUTIONS = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D)


def is_bfloat16(x) -> bool:
    """Returns whether a tensor is in bfloat16.

    Args:
      x: a tensor or variable.
    """
    return keras.backend.standardize_dtype(x.dtype) == "bfloat16"


@contextlib.contextmanager
def biased(model: keras.Model) -> Iterator[None]:
    """Within this context, traced graphs are those for inference in bfloat16.

    Each convolution that has no bias has one of 1e-30, and `takes_attention` may say yes. Only
    layers that compute in bfloat16 are concerned. The layers' weights do not change.

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
    token = _FOR_INFERENCE.set(True)
    try:
        yield
    finally:
        _FOR_INFERENCE.reset(token)
        for layer in bare:
            layer.use_bias, layer.bias = False, None


@contextlib.contextmanager
def cast_once(model: keras.Model) -> Iterator[None]:
    """Within this context, traced graphs take weights in bfloat16 that are cast now.

    Otherwise every run casts every weight wherever it is used, a twentieth of SRN's time. The
    copies need half the weights' memory. Only layers that compute in bfloat16 are concerned.

    Args:
      model: a built network whose weights no longer change.
    """
    scope = keras.StatelessScope()
    layers_found = {id(layer): layer for layer in model._flatten_layers()}
    for layer in layers_found.values():
        if layer.compute_dtype == "bfloat16" and layer.autocast:
            for variable in layer._trainable_variables:
                scope.add_update((variable, ops.cast(variable.value, "bfloat16")))
    with scope:
        yield


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
    return ops.cast(_mean(x), x.dtype)


def _mean(x):
    """`global_mean` of bfloat16 in float32: each row's sum is a product."""
    if not has_bfloat16():
        # Emulated products cut their sums off where they should round, so that means came out
        # 0.3 % too small (TensorFlow 2.21).
        return ops.mean(ops.cast(x, "float32"), axis=(1, 2), keepdims=True)
    batch, height, width, channels = ops.shape(x)
    rows = ops.reshape(x, (batch * height, width, channels))
    sums = ops.matmul(ops.ones((batch * height, 1, width), dtype=x.dtype), rows)
    sums = ops.reshape(ops.cast(sums, "float32"), (batch, height, 1, channels))
    return ops.mean(sums, axis=1, keepdims=True) / ops.cast(width, "float32")


def takes_attention(y) -> bool:
    """Returns whether `attended` may stand for plain operations: in graphs for inference.

    A kernel serves one image, so the batch must be known and small.

    Args:
      y: (batch, h, w, channels), of any type.
    """
    few = y.shape[0] is not None and y.shape[0] <= _MOST_IMAGES
    return _FOR_INFERENCE.get() and is_bfloat16(y) and few


def attended(x, y, kernel, bias, gate: Callable):
    """x plus a convolution of y that channel attention scales: x + c * gate(mean(c)).

    A convolution's mean is a linear function of sums over its input, so the gate is known before
    the convolution. It goes into the kernel, where it costs nothing, and the sum is taken into the
    convolution too, where plain operations read and write the features three times more.

    Args:
      x: (batch, h, w, out).
      y: (batch, h, w, in), to be convolved with zeros around it.
      kernel: (k, k, in, out), k odd.
      bias: (out,); None for none.
      gate: function from means (batch, 1, 1, out) to gates of the same shape.

    Returns:
      Of x's shape.
    """
    kernel = ops.cast(kernel, y.dtype)
    bias = bias if bias is None else ops.cast(bias, y.dtype)
    gates = gate(_convolution_mean(y, kernel, bias))
    if bias is None:
        bias = ops.full(kernel.shape[-1:], _BIAS, dtype=y.dtype)
    parts = []
    for one, of_x, of_y in zip(_images(gates), _images(x), _images(y), strict=True):
        c = ops.conv(of_y, kernel * one, 1, "same")
        parts.append(_bias_add(c, bias * ops.reshape(one, (-1,))) + of_x)
    return parts[0] if len(parts) == 1 else ops.concatenate(parts)


def _images(x):
    """A batch's images, each a batch of one."""
    return ops.split(x, x.shape[0]) if x.shape[0] > 1 else [x]


def _convolution_mean(y, kernel, bias):
    """The mean of a convolution, SAME, over the picture: (batch, 1, 1, out) of y's type.

    Under kernel[a, b] lies all of y but the rows and columns that leave the picture when it is
    moved by (a, b) from the middle.
    """
    _, height, width, _ = ops.shape(y)
    reach = kernel.shape[0] // 2
    area = ops.cast(height * width, "float32")
    whole = _mean(y) * area
    sums = []
    for row, column in itertools.product(range(-reach, reach + 1), repeat=2):
        rows, columns = _leaving(row), _leaving(column)
        under = whole
        if row:
            under = under - _sum(y[:, rows])
        if column:
            under = under - _sum(y[:, :, columns])
        if row and column:
            under = under + _sum(y[:, rows, columns])
        sums.append(under)
    matrix = ops.cast(ops.reshape(kernel, (-1, kernel.shape[-1])), "float32")
    mean = ops.matmul(ops.concatenate(sums, axis=-1) / area, matrix)
    return ops.cast(mean if bias is None else mean + ops.cast(bias, "float32"), y.dtype)


def _leaving(move):
    """The rows or columns that a move takes out of the picture."""
    return slice(None, move) if move > 0 else slice(move, None)


def _sum(y):
    return ops.sum(ops.cast(y, "float32"), axis=(1, 2), keepdims=True)


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
