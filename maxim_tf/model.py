"""MAXIM: multi-axis MLP for image processing.

Tu, Talebi, Zhang, Yang, Milanfar, Bovik, Li: "MAXIM: Multi-Axis MLP for Image Processing", CVPR
2022 (arXiv 2201.02973), figure 2, and the behaviour of the authors' published inference code
(Apache-2.0). Their training code was never published.

Goes in: degraded images (batch, height, width, 3), float in [0, 1], sRGB as stored; nothing is
subtracted. Height and width are multiples of 64 for the published block sizes. Comes out: a flat
list, stage after stage and in each stage from coarse to fine (1/4, 1/2, 1); the last is the
restored image. Outputs are not clipped.

Conventions that cause most bugs:
- Lists of levels run finest first, as in the names of the weights; outputs run coarse to fine.
- The coarser inputs are `x[:, 1::2, 1::2]` and `x[:, 2::4, 2::4]` of the finest one, not `x[::2]`.
- Between levels, features are resized straight from source to target, shrunk with antialiasing.
- Layer normalisations have an epsilon of 1e-6, GELU is the tanh form, LeakyReLU's slope is 0.2.
- What goes into a decoder block lies side by side coarsest first, into a cross gating block finest
  first.
- A grid step mixes pixels of the whole picture, so a tile gives other numbers than the picture.

README.md beside it lists what differs from the paper.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from maxim_tf.blocks import SAM, BottleneckBlock, CrossGatingBlock, Skips, UNetBlock
from maxim_tf.parts import Conv, ConvTranspose, Layout, Resize
from restore_tf.networks.layers import Block
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import BlendedTile

LEVELS = 3  # "depth" in the authors' code; every published model has 3
_HIGH_LEVELS = 2  # levels that have the larger blocks; the rest and the bottleneck the smaller

# Named as in the authors' code: S or M for the width, then the number of stages.
VARIANTS = {
    "maxim": {"features": 32, "num_stages": 3},
    "maxim_s1": {"features": 32, "num_stages": 1},
    "maxim_s2": {"features": 32, "num_stages": 2},
    "maxim_s3": {"features": 32, "num_stages": 3},
    "maxim_m1": {"features": 64, "num_stages": 1},
    "maxim_m2": {"features": 64, "num_stages": 2},
    "maxim_m3": {"features": 64, "num_stages": 3},
}


class Decoder(Block):
    """Decoder block (figure 2b): transposed convolution, skip features, then an encoder block."""

    def __init__(self, channels, size, inputs, num_groups, skips, **kwargs):
        super().__init__(**kwargs)
        self.skips = skips
        with keras.name_scope(self.name):
            self.up = ConvTranspose(inputs, channels, name="ConvTranspose_0")
            widths = [channels] * (1 + LEVELS)
            self.block = UNetBlock(channels, size, widths, num_groups, name="UNetEncoderBlock_0")

    def call(self, x, features, layout):
        """Takes features at half the size, and the skips of all levels, finest first."""
        kernel, bias = self.block.conv.matrix()
        above, beside = ops.split(kernel, [kernel.shape[-1]])
        shortcut = self.up.then(x, above, bias) + self.skips.then(features, beside)
        return self.block(shortcut, layout=layout)


class Stage(Block):
    """One stage: an encoder-decoder with cross gating on its skips (figure 2a).

    Args:
      number: which stage, from 0.
      last: whether the network was trained to end here.
      runs_on: whether another stage follows that is run.
      config: the network's, see `MAXIM`.
    """

    def __init__(self, number, last, runs_on, config, channels, **kwargs):
        super().__init__(**kwargs)
        self.scales = config["num_supervision_scales"]
        self.runs_on = runs_on
        groups = config["num_groups"]
        later = number > 0
        widths = [config["features"] * 2**level for level in range(LEVELS)]
        sizes = _sizes(config)
        prefix = f"stage_{number}_"
        levels = range(LEVELS)
        supervised = range(self.scales)

        self.inputs = [
            Conv(channels, widths[i], 3, name=f"{prefix}input_conv_{i}") for i in supervised
        ]
        self.fusions, self.encoders, self.downs = [], [], []
        if later:
            self.fusions = [
                CrossGatingBlock(widths[i], sizes[i], name=f"{prefix}input_fuse_sam_{i}")
                for i in supervised
            ]
        for i in levels:
            name = f"{prefix}encoder_block_{i}"
            inputs = [widths[max(i - 1, 0)]] + [widths[i]] * (i in supervised)
            self.encoders.append(
                UNetBlock(widths[i], sizes[i], inputs, groups, cross_gating=later, name=name)
            )
            with keras.name_scope(name):
                self.downs.append(Conv(widths[i], widths[i], 4, strides=2, name="Conv_1"))
        self.bottleneck = [
            BottleneckBlock(widths[-1], sizes[-1], groups, name=f"{prefix}global_block_{b}")
            for b in range(config["num_bottleneck_blocks"])
        ]
        self.skip_gates, self.skips, self.decoders = [], [], []
        for i in levels:
            below = widths[min(i + 1, LEVELS - 1)]
            self.skip_gates.append(
                CrossGatingBlock(
                    widths[i],
                    sizes[i],
                    x_channels=LEVELS * widths[i],
                    y_channels=below,
                    up=True,
                    name=f"{prefix}cross_gating_block_{i}",
                )
            )
            first = 2 * LEVELS**2 * number + LEVELS * (LEVELS - 1 - i)
            self.skips.append(_skips(widths, i, levels, first))
            self.decoders.append(
                Decoder(
                    widths[i],
                    sizes[i],
                    below,
                    groups,
                    _skips(widths, i, levels[::-1], first + LEVELS**2),
                    name=f"{prefix}decoder_block_{i}",
                )
            )
        self.sams, self.outputs = [], []
        for i in supervised:
            if last:
                name = f"{prefix}output_conv_{i}"
                self.outputs.append(Conv(widths[i], channels, 3, dtype="float32", name=name))
            else:
                name = f"{prefix}supervised_attention_module_{i}"
                self.sams.append(SAM(widths[i], channels, image_only=not runs_on, name=name))

    def call(self, images, layouts, previous=None):
        """Computes the stage's features; `restore` makes pictures of them.

        Args:
          images: finest first, (batch, h / 2^i, w / 2^i, channels).
          layouts: of the levels, finest first, then of the bottleneck.
          previous: of the stage before, None in the first stage: the features that its SAMs gated,
            and the sums of its encoder's and its decoder's features, finest first.

        Returns:
          The encoder's and the decoder's features, finest first.
        """
        gated, carried = previous or ([None] * self.scales, [None] * LEVELS)
        fused = [conv(image) for conv, image in zip(self.inputs, images, strict=True)]
        for i, fusion in enumerate(self.fusions):
            fused[i], _ = fusion(fusion.conv_x(fused[i]), gated[i], layout=layouts[i])

        encoded, x = [], fused[0]
        for i, (encoder, down) in enumerate(zip(self.encoders, self.downs, strict=True)):
            shortcut = encoder.shortcut(x, fused[i] if i < len(fused) else None)
            encoded.append(encoder(shortcut, previous=carried[i], layout=layouts[i]))
            x = down(encoded[i])
        for block in self.bottleneck:
            x = block(x, layout=layouts[-1])

        skips, y = [None] * LEVELS, x
        for i in reversed(range(LEVELS)):
            gate = self.skip_gates[i]
            x0 = self.skips[i].then(encoded, *gate.conv_x.matrix())
            skips[i], y = gate(x0, y, layout=layouts[i])
        decoded = [None] * LEVELS
        for i in reversed(range(LEVELS)):
            x = decoded[i] = self.decoders[i](x, skips, layout=layouts[i])
        return encoded, decoded

    def restore(self, images, decoded):
        """The restored images, and the features that the SAMs gated where another stage follows.

        Not a part of `call`, which under mixed precision would round the images.

        Args:
          images: as `call`'s.
          decoded: the decoder's features.
        """
        if self.outputs:
            ends = zip(self.outputs, decoded, images, strict=False)
            return [conv(x) + image for conv, x, image in ends], None
        ends = list(zip(self.sams, decoded, images, strict=False))
        if not self.runs_on:
            return [sam.restore(x, image) for sam, x, image in ends], None
        gated, restored = zip(*(sam(x, image) for sam, x, image in ends), strict=True)
        return list(restored), gated


def subsample(images, level):
    """Nearest-neighbour resize to 1 / 2^level with half-pixel centres: pixels 1, 3, … or 2, 6, …"""
    step = 2**level
    return images[:, step // 2 :: step, step // 2 :: step] if level else images


def _skips(widths, own, levels, first):
    """`Resize` layers to the level `own`, numbered from `first` over the whole network."""
    resizes = []
    for number, level in enumerate(levels, first):
        name = f"UpSampleRatio_{number}"
        resizes.append(Resize(widths[level], widths[own], level - own, name=name))
    return Skips(resizes, list(levels), own)


def _sizes(config):
    """Block and grid sizes of the levels, finest first, then of the bottleneck."""
    high, low = config["block_size_hr"], config["block_size_lr"]
    return [high if level < _HIGH_LEVELS else low for level in range(LEVELS)] + [low]


@keras.saving.register_keras_serializable(package="maxim_tf")
class MAXIM(Restorer):
    """Multi-axis MLP network (figure 2).

    Args:
      features: width of the finest level, 32 ("S") or 64 ("M"); doubles at every level.
      num_stages: how many stages the network was trained with.
      num_groups: pairs of multi-axis block and channel attention block at each level.
      num_bottleneck_blocks: bottleneck blocks.
      num_supervision_scales: at how many scales each stage takes and gives pictures, 1 to 3.
      block_size_hr: block and grid size of the two finest levels.
      block_size_lr: of the coarsest level and the bottleneck.
      stages: builds and runs only the first so many stages (early exits), with the same weights;
        None for all.
    """

    channels = 3
    padding = "reflect"
    # Trained on 256x256: on larger pictures a grid cell and the pooling of the attention cover more
    # than they ever saw, and tiles of that size come out better than the whole.
    # They begin where the bottleneck's pixels do: multiples of 64 would take 45 tiles of a frame of
    # 1280x720 in place of 28.
    blended_tile = BlendedTile(side=256, overlap=64, smallest=128, step=2**LEVELS)

    def __init__(
        self,
        features=32,
        num_stages=3,
        num_groups=2,
        num_bottleneck_blocks=2,
        num_supervision_scales=3,
        block_size_hr=16,
        block_size_lr=8,
        stages=None,
        name="maxim",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if stages is not None and stages not in range(1, num_stages + 1):
            raise ValueError(f"stages={stages}; expected 1 to {num_stages}, the stages trained")
        if num_supervision_scales not in range(1, LEVELS + 1):
            raise ValueError(f"num_supervision_scales={num_supervision_scales}; expected 1 to 3")
        self._config = {
            "features": features,
            "num_stages": num_stages,
            "num_groups": num_groups,
            "num_bottleneck_blocks": num_bottleneck_blocks,
            "num_supervision_scales": num_supervision_scales,
            "block_size_hr": block_size_hr,
            "block_size_lr": block_size_lr,
            "stages": stages,
        }
        self.stages = stages or num_stages
        sizes = _sizes(self._config)
        self.size_multiple = math.lcm(*(size * 2**level for level, size in enumerate(sizes)))
        with keras.name_scope(self.name):
            self.parts = [
                Stage(
                    number,
                    last=number == num_stages - 1,
                    runs_on=number < self.stages - 1,
                    config=self._config,
                    channels=self.channels,
                    name=f"stage_{number}",
                )
                for number in range(self.stages)
            ]
        self.built = True  # all weights were made with the layers

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes: the growth of the process's peak at 512x512."""
        measured = {1: 1900.0, 2: 2900.0}.get(self.stages, 3300.0)
        return measured * self._config["features"] / 32

    def call(self, images, training=False):
        """Restores images (batch, height, width, 3); returns one per stage and scale."""
        self.check_size(images)
        inputs = [subsample(images, i) for i in range(self._config["num_supervision_scales"])]
        layouts = self._layouts(images)
        outputs, previous = [], None
        for stage in self.parts:
            encoded, decoded = stage(inputs, previous=previous, layouts=layouts)
            restored, gated = stage.restore(inputs, decoded)
            carried = [e + d for e, d in zip(encoded, decoded, strict=True)]
            previous = (gated, carried)
            outputs += restored[::-1]
        return outputs

    def _layouts(self, images):
        _, height, width, _ = ops.shape(images)
        features, layouts = self._config["features"], []
        for level, size in enumerate(_sizes(self._config)):
            channels = features * 2 ** min(level, LEVELS - 1)
            layouts.append(Layout(size, height // 2**level, width // 2**level, channels))
        return layouts

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}
