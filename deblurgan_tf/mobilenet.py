"""MobileNetV2 as the backbone of a feature pyramid.

Sandler et al.: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2 at
width 1. Built up to the 16th of its 19 parts: DeblurGAN-v2 stores the last three and never uses
them.
"""

from __future__ import annotations

from keras import layers, ops

from deblurgan_tf.blocks import PaddedConv, PictureNorm
from restore_tf.networks.layers import Block

STEM = 32
CHANNELS = (16, 24, 32, 64, 96, 160)
_EXPANSIONS = (1, 6, 6, 6, 6, 6)
_REPEATS = (1, 2, 3, 4, 3, 2)  # of the last one MobileNetV2 has three
_STRIDES = (1, 2, 2, 2, 1, 2)
_LEVEL_ENDS = (1, 3, 6, 10, 15)  # the last part of each level

# {name: (how strided convolutions pad, epsilon of the norms)}
KINDS = {
    "pytorch": ("all", 1e-5),  # the published weights
    "keras": ("late", 1e-3),  # Keras' own ImageNet weights
}


class InvertedResidual(Block):
    """Expand by 1x1, 3x3 channel by channel, project by 1x1; plus the input where shapes agree.

    Args:
      inputs: channels in.
      filters: channels out.
      strides: of the middle convolution.
      expansion: its channels are so many times `inputs`; with 1 there is no expanding convolution.
      kind: of `KINDS`.
    """

    def __init__(self, inputs, filters, strides, expansion, kind, **kwargs):
        super().__init__(**kwargs)
        ends, epsilon = KINDS[kind]
        self._residual = strides == 1 and inputs == filters
        self._pads = strides == 2 and ends == "all"
        self.expand = None
        if expansion > 1:
            self.expand = layers.Conv2D(inputs * expansion, 1, use_bias=False, name="expand")
            self.expand_norm = PictureNorm(True, epsilon, name="expand_norm")
        how = "valid" if self._pads else "same"
        self.depthwise = layers.DepthwiseConv2D(3, strides, how, use_bias=False, name="depthwise")
        self.depthwise_norm = PictureNorm(True, epsilon, name="depthwise_norm")
        self.project = layers.Conv2D(filters, 1, use_bias=False, name="project")
        self.project_norm = PictureNorm(True, epsilon, name="project_norm")

    def call(self, x):
        """(batch, height, width, inputs) -> (batch, height / strides, width / strides, filters)."""
        inner = x
        if self.expand is not None:
            inner = ops.relu6(self.expand_norm(self.expand(inner)))
        if self._pads:
            inner = ops.pad(inner, ((0, 0), (1, 1), (1, 1), (0, 0)))
        inner = ops.relu6(self.depthwise_norm(self.depthwise(inner)))
        inner = self.project_norm(self.project(inner))
        return x + inner if self._residual else inner


class MobileNetV2(Block):
    """The first 16 parts: a strided convolution and 15 inverted residual blocks.

    Args:
      stem: channels of the first convolution.
      channels: of the blocks, stretch by stretch.
      kind: of `KINDS`.
    """

    def __init__(self, stem=STEM, channels=CHANNELS, kind="pytorch", **kwargs):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"backbone={kind!r}; expected one of {', '.join(KINDS)}")
        if len(channels) != len(_REPEATS):
            raise ValueError(f"channels={channels}; expected {len(_REPEATS)} numbers")
        ends, epsilon = KINDS[kind]
        self.stem = PaddedConv(stem, 3, 2, ends=ends, use_bias=False, name="stem")
        self.stem_norm = PictureNorm(True, epsilon, name="stem_norm")
        self.parts = []
        stretches = zip(channels, _EXPANSIONS, _REPEATS, _STRIDES, strict=True)
        inputs = stem
        for filters, expansion, repeats, strides in stretches:
            for repeat in range(repeats):
                self.parts.append(
                    InvertedResidual(
                        inputs,
                        filters,
                        1 if repeat else strides,
                        expansion,
                        kind,
                        name=f"part{len(self.parts) + 1}",
                    )
                )
                inputs = filters

    def call(self, x):
        """(batch, height, width, 3) -> features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size."""
        x = ops.relu6(self.stem_norm(self.stem(x)))
        levels = []
        for number, part in enumerate(self.parts, 1):
            x = part(x)
            if number in _LEVEL_ENDS:
                levels.append(x)
        return levels
