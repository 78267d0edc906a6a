"""One stage of MAXIM: an encoder-decoder with cross gating on its skips (figure 2; see `model`)."""

from __future__ import annotations

import keras
from keras import ops

from maxim_tf.blocks import SAM, BottleneckBlock, Skips, UNetBlock
from maxim_tf.gating import CrossGatingBlock
from maxim_tf.parts import Conv, ConvTranspose, Resize
from restore_tf.networks.layers import Block

LEVELS = 3  # "depth" in the authors' code; every published model has 3
_HIGH_LEVELS = 2  # levels that have the larger blocks; the rest and the bottleneck the smaller


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
        """Decodes one level.

        Args:
          x: features at half the size.
          features: the skips of all levels, finest first.
          layout: the level's `Layout`.

        Returns:
          (batch, h, w, channels).
        """
        kernel, bias = self.block.conv.matrix()
        above, beside = ops.split(kernel, [kernel.shape[-1]])
        shortcut = self.up.then(x, above, bias) + self.skips.then(features, beside)
        return self.block(shortcut, layout=layout)


class Stage(Block):
    """One stage: an encoder-decoder with cross gating on its skips (figure 2a).

    Args:
      number: of the stage, from 0.
      last: whether the network was trained to end here.
      runs_on: whether another stage follows that is run.
      config: the network's, see `MAXIM`.
    """

    def __init__(self, number, last, runs_on, config, channels, **kwargs):
        super().__init__(**kwargs)
        self.scales = config["num_supervision_scales"]
        self.runs_on = runs_on
        widths = [config["features"] * 2**level for level in range(LEVELS)]
        sizes = block_sizes(config)
        prefix = f"stage_{number}_"
        supervised = range(self.scales)

        self.inputs = [
            Conv(channels, widths[i], 3, name=f"{prefix}input_conv_{i}") for i in supervised
        ]
        self.fusions, self.encoders, self.downs = [], [], []
        if number > 0:
            self.fusions = [
                CrossGatingBlock(widths[i], sizes[i], name=f"{prefix}input_fuse_sam_{i}")
                for i in supervised
            ]
        self._add_encoder(widths, sizes, config["num_groups"], number)
        self.bottleneck = [
            BottleneckBlock(
                widths[-1], sizes[-1], config["num_groups"], name=f"{prefix}global_block_{b}"
            )
            for b in range(config["num_bottleneck_blocks"])
        ]
        self.skip_gates, self.skips, self.decoders = [], [], []
        self._add_decoder(widths, sizes, config["num_groups"], number)
        self.sams, self.outputs = [], []
        for i in supervised:
            if last:
                name = f"{prefix}output_conv_{i}"
                self.outputs.append(Conv(widths[i], channels, 3, dtype="float32", name=name))
            else:
                name = f"{prefix}supervised_attention_module_{i}"
                self.sams.append(SAM(widths[i], channels, image_only=not runs_on, name=name))

    def _add_encoder(self, widths, sizes, groups, number):
        for i in range(LEVELS):
            name = f"stage_{number}_encoder_block_{i}"
            inputs = [widths[max(i - 1, 0)]] + [widths[i]] * (i < self.scales)
            self.encoders.append(
                UNetBlock(widths[i], sizes[i], inputs, groups, cross_gating=number > 0, name=name)
            )
            with keras.name_scope(name):
                self.downs.append(Conv(widths[i], widths[i], 4, strides=2, name="Conv_1"))

    def _add_decoder(self, widths, sizes, groups, number):
        levels = range(LEVELS)
        for i in levels:
            below = widths[min(i + 1, LEVELS - 1)]
            self.skip_gates.append(
                CrossGatingBlock(
                    widths[i],
                    sizes[i],
                    x_channels=LEVELS * widths[i],
                    y_channels=below,
                    up=True,
                    name=f"stage_{number}_cross_gating_block_{i}",
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
                    name=f"stage_{number}_decoder_block_{i}",
                )
            )

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
        """Makes the stage's pictures.

        Not a part of `call`, which under mixed precision would round the images.

        Args:
          images: as `call`'s.
          decoded: the decoder's features, finest first.

        Returns:
          The restored images, finest first, and the features that the SAMs gated; None in their
          place where no other stage follows.
        """
        if self.outputs:
            ends = zip(self.outputs, decoded, images, strict=False)
            return [conv(x) + image for conv, x, image in ends], None
        ends = list(zip(self.sams, decoded, images, strict=False))
        if not self.runs_on:
            return [sam.restore(x, image) for sam, x, image in ends], None
        gated, restored = zip(*(sam(x, image) for sam, x, image in ends), strict=True)
        return list(restored), gated


def _skips(widths, own, levels, first):
    """`Resize` layers to the level `own`, numbered from `first` over the whole network."""
    resizes = []
    for number, level in enumerate(levels, first):
        name = f"UpSampleRatio_{number}"
        resizes.append(Resize(widths[level], widths[own], level - own, name=name))
    return Skips(resizes, list(levels), own)


def block_sizes(config):
    """Returns the block and grid sizes of the levels, finest first, then of the bottleneck.

    Args:
      config: the network's, with "block_size_hr" and "block_size_lr".
    """
    high, low = config["block_size_hr"], config["block_size_lr"]
    return [high if level < _HIGH_LEVELS else low for level in range(LEVELS)] + [low]
