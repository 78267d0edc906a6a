"""The blocks of MAXIM, named as in the paper (Tu et al., CVPR 2022, arXiv 2201.02973).

"Features" are (batch, h, w, channels); a block of width C takes and returns C channels unless it
says otherwise. `size` and `layout` are those of `gating`, which has the blocks that mix pixels over
the grid and over blocks.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from maxim_tf.gating import MAB, CrossGatingBlock
from maxim_tf.parts import Conv, Dense, LayerNorm, gelu_pointwise, leaky_relu, normalize, pointwise
from restore_tf.networks.bfloat16 import attended, global_mean, takes_attention
from restore_tf.networks.layers import Block

_REDUCTION = 4  # of the channel attentions, everywhere


class ChannelAttention(Block):
    """Scales each channel by a gate computed from the channels' means (squeeze and excitation)."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.squeeze = Conv(channels, channels // _REDUCTION, name="Conv_0")
            self.excite = Conv(channels // _REDUCTION, channels, name="Conv_1")

    def call(self, x):
        """Features -> features, (batch, h, w, channels) both."""
        return x * self.gate(global_mean(x))

    def gate(self, means):
        """Returns the gates that a picture's channels are scaled by.

        Args:
          means: of the channels, (batch, 1, 1, channels).

        Returns:
          Of the same shape, between 0 and 1.
        """
        return ops.sigmoid(self.excite(ops.relu(self.squeeze(means))))

    def residual(self, x, y, convolution):
        """Returns x + this of a convolution of y, all (batch, h, w, channels).

        Args:
          x: the block's input.
          y: what is convolved.
          convolution: a `Conv` or `Dense`.
        """
        if takes_attention(y):
            kernel = convolution.kernel
            kernel = ops.reshape(kernel, (1, 1, *kernel.shape)[-4:])
            return attended(x, y, kernel, convolution.bias, self.gate)
        return x + self(convolution(y))


class RCAB(Block):
    """Residual channel attention block: LN, conv, LeakyReLU, conv, channel attention, plus x."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.norm = LayerNorm(channels, name="LayerNorm")
            self.conv1 = Conv(channels, channels, 3, name="conv1")
            self.conv2 = Conv(channels, channels, 3, name="conv2")
            self.attention = ChannelAttention(channels, name="channel_attention")

    def call(self, x):
        """Features -> features, (batch, h, w, channels) both."""
        y = leaky_relu(self.conv1(self.norm(x)))
        return self.attention.residual(x, y, self.conv2)


class RDCAB(Block):
    """Residual dense channel attention block: LN, Dense, GELU, Dense, channel attention, plus x."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.norm = LayerNorm(channels, name="LayerNorm")
            with keras.name_scope("channel_mixing"):
                self.dense1 = Dense(channels, channels, name="Dense_0")
                self.dense2 = Dense(channels, channels, name="Dense_1")
            self.attention = ChannelAttention(channels, name="channel_attention")

    def call(self, x):
        """Features -> features, (batch, h, w, channels) both."""
        y = gelu_pointwise(normalize(x), *self.norm.dense(self.dense1))
        return self.attention.residual(x, y, self.dense2)


class SAM(Block):
    """Supervised attention module: a restored image, and features that it gates.

    As MPRNet's, with 3x3 convolutions.

    Args:
      features: width of the features.
      channels: image channels.
      image_only: build only the convolution of the image, which an early exit needs.
    """

    def __init__(self, features, channels, image_only=False, **kwargs):
        # Images are taken and made in float32, under mixed precision too.
        super().__init__(autocast=False, **kwargs)
        with keras.name_scope(self.name):
            self.conv_image = Conv(features, channels, 3, dtype="float32", name="Conv_1")
            if not image_only:
                self.conv_features = Conv(features, features, 3, name="Conv_0")
                self.conv_gate = Conv(channels, features, 3, name="Conv_2")

    def call(self, features, images):
        """Restores the image and gates the features by it.

        Args:
          features: (batch, h, w, features).
          images: the stage's input, (batch, h, w, channels).

        Returns:
          Gated features and the restored image, of the same shapes.
        """
        restored = self.restore(features, images)
        gate = ops.sigmoid(self.conv_gate(restored))
        return self.conv_features(features) * gate + features, restored

    def restore(self, features, images):
        """Returns the restored image alone, (batch, h, w, channels).

        Args:
          features: (batch, h, w, features).
          images: the stage's input, (batch, h, w, channels).
        """
        return self.conv_image(features) + images


class UNetBlock(Block):
    """Encoder block (figure 2b): 1x1 convolution, then pairs of MAB and RCAB, plus the shortcut.

    Args:
      channels: width of what comes out.
      size: see the module's head.
      inputs: widths of the features that lie side by side in the input.
      num_groups: pairs of MAB and RCAB.
      cross_gating: whether it takes features of the previous stage.
    """

    def __init__(self, channels, size, inputs, num_groups, cross_gating=False, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.conv = Conv(sum(inputs), channels, name="Conv_0")
            self.groups = []
            for g in range(num_groups):
                multi_axis = MAB(channels, size, name=f"SplitHeadMultiAxisGmlpLayer_{g}")
                attention = RCAB(channels, name=f"channel_attention_block_1{g}")
                self.groups.append([multi_axis, attention])
            self.cross_gating = None
            if cross_gating:
                self.cross_gating = CrossGatingBlock(channels, size, name="cross_gating_block")

    def call(self, shortcut, layout, previous=None):
        """Mixes features after the block's 1x1 convolution.

        Args:
          shortcut: (batch, h, w, channels), from `shortcut`.
          layout: the level's `Layout`.
          previous: the previous stage's features, of the same shape; None without cross gating.

        Returns:
          (batch, h, w, channels).
        """
        x = shortcut
        for multi_axis, attention in self.groups:
            x = attention(multi_axis(x, layout=layout))
        x = x + shortcut
        if self.cross_gating is None:
            return x
        return self.cross_gating(self.cross_gating.conv_x(x), previous, layout=layout)[0]

    def shortcut(self, first, second=None):
        """Applies the block's 1x1 convolution to one or two features, side by side.

        Args:
          first: (batch, h, w, inputs[0]).
          second: (batch, h, w, inputs[1]); None for none.

        Returns:
          (batch, h, w, channels).
        """
        kernel, bias = self.conv.matrix()
        if second is None:
            return pointwise(first, kernel, bias)
        kernels = ops.split(kernel, [first.shape[-1]])
        if second is first:
            return pointwise(first, kernels[0] + kernels[1], bias)
        return pointwise(first, kernels[0], bias) + pointwise(second, kernels[1])


class BottleneckBlock(Block):
    """Bottleneck block (figure 2b): 1x1 convolution, pairs of MAB and RDCAB, plus shortcut."""

    def __init__(self, channels, size, num_groups, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.conv = Conv(channels, channels, name="input_proj")
            self.groups = []
            for g in range(num_groups):
                multi_axis = MAB(channels, size, name=f"SplitHeadMultiAxisGmlpLayer_{g}")
                attention = RDCAB(channels, name=f"channel_attention_block_1_{g}")
                self.groups.append([multi_axis, attention])

    def call(self, x, layout):
        """Features -> features, (batch, h, w, channels) both.

        Args:
          x: the features.
          layout: the level's `Layout`.
        """
        x = shortcut = self.conv(x)
        for multi_axis, attention in self.groups:
            x = attention(multi_axis(x, layout=layout))
        return x + shortcut


class Skips(layers.Layer):
    """Features of all three levels brought to one level, side by side, without concatenating them.

    Args:
      resizes: `Resize` layers, in the order in which the features lie side by side.
      levels: which level each takes.
      own: the level that all are brought to.
    """

    def __init__(self, resizes, levels, own, **kwargs):
        super().__init__(**kwargs)
        self.resizes = resizes
        self.levels = levels
        self.own = own
        self.built = True

    def then(self, features, kernel, bias=None):
        """Applies a 1x1 convolution to the features side by side.

        Args:
          features: of the three levels, finest first.
          kernel: (3 C, out).
          bias: (out,); None for none.

        Returns:
          (batch, h, w, out) at the level `own`.
        """
        total = None
        parts = ops.split(kernel, len(self.levels), axis=-2)
        for resize, level, part in zip(self.resizes, self.levels, parts, strict=True):
            # The bias goes where no resize follows.
            x = resize.then(features[level], part, bias if level == self.own else None)
            total = x if total is None else total + x
        return total
