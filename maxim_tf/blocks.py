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
from restore_tf.networks.bfloat16 import global_mean
from restore_tf.networks.layers import Block

_REDUCTION = 4  # of the channel attentions, everywhere


class ChannelAttention(Block):
    """Scales each channel by a gate that the channels' means decide (squeeze and excitation)."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.squeeze = Conv(channels, channels // _REDUCTION, name="Conv_0")
            self.excite = Conv(channels // _REDUCTION, channels, name="Conv_1")

    def call(self, x):
        """Features -> features."""
        gate = ops.sigmoid(self.excite(ops.relu(self.squeeze(global_mean(x)))))
        return x * gate


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
        """Features -> features."""
        return x + self.attention(self.conv2(leaky_relu(self.conv1(self.norm(x)))))


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
        """Features -> features."""
        y = gelu_pointwise(normalize(x), *self.norm.dense(self.dense1))
        return x + self.attention(self.dense2(y))


class SAM(Block):
    """Supervised attention module: a restored image, and features that it gates.

    As MPRNet's, with 3x3 convolutions.

    Args:
      features: width of the features.
      channels: image channels.
      image_only: build what makes the image alone: all that an early exit needs.
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
        """Takes features and the stage's input; returns gated features and the restored image."""
        restored = self.restore(features, images)
        gate = ops.sigmoid(self.conv_gate(restored))
        return self.conv_features(features) * gate + features, restored

    def restore(self, features, images):
        """The restored image alone."""
        return self.conv_image(features) + images


class UNetBlock(Block):
    """Encoder block (figure 2b): 1x1 convolution, then pairs of MAB and RCAB, plus the shortcut.

    Args:
      channels: width of what comes out.
      size: see the module's head.
      inputs: widths of the features that lie side by side in what goes in.
      num_groups: pairs of MAB and RCAB.
      cross_gating: whether features of the stage before are taken in.
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
        """Takes features after the 1x1 convolution, and those of the stage before."""
        x = shortcut
        for multi_axis, attention in self.groups:
            x = attention(multi_axis(x, layout=layout))
        x = x + shortcut
        if self.cross_gating is None:
            return x
        return self.cross_gating(self.cross_gating.conv_x(x), previous, layout=layout)[0]

    def shortcut(self, first, second=None):
        """The 1x1 convolution of one or two features, side by side."""
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
        """Features -> features."""
        x = shortcut = self.conv(x)
        for multi_axis, attention in self.groups:
            x = attention(multi_axis(x, layout=layout))
        return x + shortcut


class Skips(layers.Layer):
    """Features of all three levels brought to one level, side by side, never held as such.

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
        """Their 1x1 convolution with `kernel` (3 C, out) and `bias`; features finest first."""
        total = None
        parts = ops.split(kernel, len(self.levels), axis=-2)
        for resize, level, part in zip(self.resizes, self.levels, parts, strict=True):
            # The bias goes where no resize follows.
            x = resize.then(features[level], part, bias if level == self.own else None)
            total = x if total is None else total + x
        return total
