"""MAXIM's gated MLPs over the grid and over blocks (figures 2c and 3), named as in the paper.

"Features" are (batch, h, w, channels); a block of width C takes and returns C channels unless it
says otherwise. `size` is the side of the blocks in pixels and the number of grid cells along each
side: the paper uses the same number for both. `layout` is the `Layout` of the level that the block
is at. Halves are taken along the channels.

Layer normalisations are folded into the products that follow, and a product whose outcome is cut in
two is two products: both are the same numbers with less to read and write.
"""

from __future__ import annotations

import keras
from keras import ops

from maxim_tf.parts import (
    Conv,
    ConvTranspose,
    Dense,
    LayerNorm,
    TokenDense,
    gelu_pointwise,
    normalize,
    pointwise,
)
from restore_tf.networks.layers import Block

GATE_OFFSET = 1.0  # v + 1: an untrained gating unit, whose v is near 0, lets u through


def halves(x, kernel, bias):
    """Returns GELU of a product over channels, as the first and second half of its channels.

    Args:
      x: (batch, h, w, in).
      kernel: (in, 2 out).
      bias: (2 out,).

    Returns:
      Two tensors (batch, h, w, out).
    """
    pairs = zip(ops.split(kernel, 2, axis=-1), ops.split(bias, 2), strict=True)
    return [gelu_pointwise(x, *pair) for pair in pairs]


def joined(first, second, dense):
    """Returns `dense` of two features side by side, without concatenating them.

    Args:
      first: (batch, h, w, channels).
      second: of the same shape.
      dense: a `Dense` of twice as many inputs.

    Returns:
      (batch, h, w, filters).
    """
    kernels = ops.split(dense.kernel, 2)
    return pointwise(first, kernels[0], dense.bias) + pointwise(second, kernels[1])


class GatingUnit(Block):
    """Spatial gating: u * (TokenDense(LN(v)) + 1)."""

    def __init__(self, channels, size, axis, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.norm = LayerNorm(channels, name="intermediate_layernorm")
            self.tokens = TokenDense(size, axis, name="Dense_0")

    def call(self, u, v, layout):
        """Returns u gated by v.

        Args:
          u: (batch, h, w, channels).
          v: of the same shape.
          layout: the level's `Layout`.

        Returns:
          Of the same shape.
        """
        return u * self.tokens(self.norm(v), layout=layout, offset=GATE_OFFSET)


class GMLP(Block):
    """Gated MLP over the grid or over blocks, one of the two in a `MAB` (figure 3).

    Args:
      channels: width.
      size: see the module's head.
      axis: "grid" or "block".
    """

    def __init__(self, channels, size, axis, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.norm = LayerNorm(channels, name="LayerNorm")
            self.expand = Dense(channels, 2 * channels, name="in_project")
            unit = f"{axis.capitalize()}GatingUnit"
            self.gate = GatingUnit(channels, size, axis, name=unit)
            self.project = Dense(channels, channels, name="out_project")

    def call(self, x, layout):
        """Features -> features, (batch, h, w, channels) both.

        Args:
          x: the features.
          layout: the level's `Layout`.
        """
        u, v = halves(normalize(x), *self.norm.dense(self.expand))
        return x + self.project(self.gate(u, v, layout=layout))


class MAB(Block):
    """Multi-axis gated MLP block (figure 3): half the channels over the grid, half over blocks.

    The grid's half mixes pixels far apart, the blocks' half those close together.
    """

    def __init__(self, channels, size, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.norm = LayerNorm(channels, name="LayerNorm_in")
            self.expand = Dense(channels, 2 * channels, name="in_project")
            self.grid = GMLP(channels, size, "grid", name="GridGmlpLayer")
            self.block = GMLP(channels, size, "block", name="BlockGmlpLayer")
            self.project = Dense(2 * channels, channels, name="out_project")

    def call(self, x, layout):
        """Features -> features, (batch, h, w, channels) both.

        Args:
          x: the features.
          layout: the level's `Layout`.
        """
        u, v = halves(normalize(x), *self.norm.dense(self.expand))
        return x + joined(self.grid(u, layout=layout), self.block(v, layout=layout), self.project)


class Gate(Block):
    """The gate of a cross gating block: half the channels over the grid, half over blocks."""

    def __init__(self, channels, size, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.norm = LayerNorm(channels, name="LayerNorm_in")
            self.expand = Dense(channels, 2 * channels, "lecun_normal", name="in_project")
            self.grid = TokenDense(size, "grid", bias="ones", name="Dense_0")
            self.block = TokenDense(size, "block", bias="ones", name="Dense_1")
            self.project = Dense(2 * channels, channels, "lecun_normal", name="out_project")

    def call(self, x, layout):
        """Features -> features, (batch, h, w, channels) both.

        Args:
          x: the features.
          layout: the level's `Layout`.
        """
        u, v = halves(normalize(x), *self.norm.dense(self.expand))
        return joined(self.grid(u, layout=layout), self.block(v, layout=layout), self.project)


class CrossGatingBlock(Block):
    """Cross gating block (figure 2c): two features gate each other.

    Args:
      channels: width of what comes out.
      size: see the module's head.
      x_channels: of x; None for `channels`.
      y_channels: of y, needed with `up`.
      up: whether y comes at half the size and is brought up by a transposed convolution.
    """

    def __init__(self, channels, size, x_channels=None, y_channels=None, up=False, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.up = None
            if up:
                self.up = ConvTranspose(y_channels, channels, name="ConvTranspose_0")
            self.conv_x = Conv(x_channels or channels, channels, name="Conv_0")
            self.conv_y = Conv(channels, channels, name="Conv_1")
            self.norm_x = LayerNorm(channels, name="LayerNorm_x")
            self.norm_y = LayerNorm(channels, name="LayerNorm_y")
            self.in_x = Dense(channels, channels, "lecun_normal", name="in_project_x")
            self.in_y = Dense(channels, channels, "lecun_normal", name="in_project_y")
            self.gate_x = Gate(channels, size, name="SplitHeadMultiAxisGating_x")
            self.gate_y = Gate(channels, size, name="SplitHeadMultiAxisGating_y")
            self.out_x = Dense(channels, channels, "lecun_normal", name="out_project_x")
            self.out_y = Dense(channels, channels, "lecun_normal", name="out_project_y")

    def call(self, x, y, layout):
        """Lets two features gate each other; the first result contains the second.

        The caller applies `conv_x`, since x may be several features side by side.

        Args:
          x: (batch, h, w, channels), after `conv_x`.
          y: (batch, h, w, channels); with `up`, (batch, h / 2, w / 2, y_channels).
          layout: the level's `Layout`.

        Returns:
          Two features (batch, h, w, channels).
        """
        x0, y0 = x, self.conv_y(y) if self.up is None else self.up.then(y, *self.conv_y.matrix())
        x1 = gelu_pointwise(normalize(x0), *self.norm_x.dense(self.in_x))
        y1 = gelu_pointwise(normalize(y0), *self.norm_y.dense(self.in_y))
        y2 = self.out_y(y1 * self.gate_x(x1, layout=layout)) + y0
        x2 = self.out_x(x1 * self.gate_y(y1, layout=layout)) + y2 + x0
        return x2, y2
