"""The generators of DeblurGAN and DeblurGAN-v2, and one of a student project.

Kupyn et al.: "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR 2018
(arXiv 1711.07064), figure 3; Kupyn, Martyniuk, Wu, Wang: "DeblurGAN-v2: Deblurring
(Orders-of-Magnitude) Faster and Better", ICCV 2019 (arXiv 1908.03826), figure 1.

Goes in: degraded images (batch, height, width, 3), float in [0, 1], sRGB as stored. Comes out: a
list of one image, the restored one. Discriminators are in `discriminators.py`.

Conventions that cause most bugs:
- The authors' pictures are in [-1, 1]. Here that is so inside the networks alone.
- The clip to the pictures' range is part of both papers' networks: outside, gradients are 0.
- Norms take the picture's own statistics, so crops of another size than in training, and tiles,
  have others.

README.md beside it lists what differs from the papers.
"""

from __future__ import annotations

import functools

import keras
from keras import layers, ops

from deblurgan_tf.blocks import (
    ConvNormReLU,
    PictureNorm,
    ResBlock,
    UpNormReLU,
    drawn,
    nearest,
    reflect,
)
from deblurgan_tf.mobilenet import CHANNELS, STEM, MobileNetV2
from deblurgan_tf.seed import SeedGAN
from restore_tf.networks.layers import Block
from restore_tf.networks.noise import uniform
from restore_tf.networks.restorer import Restorer

# Deviation of the last convolution's weights: the networks start close to the identity. Ours.
_SMALL = 1e-3

VARIANTS = {
    "deblurgan": {},
    "deblurgan_imagenet": {"backbone": "keras"},  # to start from Keras' own ImageNet weights
    "deblurgan_resnet": {},
    "deblurgan_seed": {},
}


def dropout(x, rate, seeds, draw):
    """Drops features, each with the probability `rate`, and scales the others up to keep the mean.

    Args:
      x: (batch, h, w, channels).
      rate: from 0 to below 1.
      seeds: int32 (batch, 2), of each image.
      draw: number of the draw, such as the block's.

    Returns:
      Of x's shape.
    """
    kept = uniform(ops.shape(x), seeds, draw=draw) >= rate
    return x * ops.cast(kept, x.dtype) / (1 - rate)


def _restored(images, correction):
    """The last layer of both papers: a correction between -1 and 1 of pictures in [-1, 1]."""
    return ops.clip(images + 0.5 * ops.tanh(correction), 0.0, 1.0)


class Head(Block):
    """A level's head in the pyramid: two 3x3 convolutions with ReLUs, no biases.

    Args:
      filters: output channels.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        keep = {"padding": "same", "use_bias": False, "activation": "relu"}
        self.conv1 = layers.Conv2D(filters, 3, name="conv1", **keep)
        self.conv2 = layers.Conv2D(filters, 3, name="conv2", **keep)

    def call(self, x):
        """(batch, height, width, channels) -> (batch, height, width, filters)."""
        return self.conv2(self.conv1(x))


@keras.saving.register_keras_serializable(package="deblurgan_tf")
class DeblurGANv2(Restorer):
    """DeblurGAN-v2's feature pyramid on MobileNetV2 (2019, figure 1).

    Args:
      stem: channels of the backbone's first convolution, see `mobilenet.MobileNetV2`.
      channels: of the backbone's blocks.
      pyramid: channels of the pyramid's levels.
      heads: channels that each level contributes.
      backbone: "pytorch" pads and normalises as the published weights want it, "keras" as Keras'
        own ImageNet weights of MobileNetV2.
    """

    channels = 3
    size_multiple = 32
    padding = "reflect"

    def __init__(
        self,
        stem=STEM,
        channels=CHANNELS,
        pyramid=128,
        heads=64,
        backbone="pytorch",
        name="deblurgan",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self._config = {
            "stem": stem,
            "channels": tuple(channels),
            "pyramid": pyramid,
            "heads": heads,
            "backbone": backbone,
        }
        self.backbone = MobileNetV2(stem, channels, backbone, name="backbone")
        # Finest first, as the features come; the finest one skips the pyramid.
        widths = [heads, *[pyramid] * 4]
        self.laterals = [
            layers.Conv2D(width, 1, use_bias=False, name=f"lateral{level}")
            for level, width in enumerate(widths)
        ]
        self.top_downs = [ConvNormReLU(pyramid, name=f"top_down{n}") for n in (1, 2, 3)]
        self.heads = [Head(heads, name=f"head{level}") for level in (1, 2, 3, 4)]
        self.smooth1 = ConvNormReLU(heads, name="smooth1")
        self.smooth2 = ConvNormReLU(heads // 2, name="smooth2")
        self.final = layers.Conv2D(
            3, 3, padding="same", kernel_initializer=drawn(_SMALL), dtype="float32", name="final"
        )

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes: growth of the peak at 512x512, 366 at full width."""
        return 400.0 * max(self._config["heads"], 16) / 64

    def call(self, images, training=False, seeds=None):
        """Restores images.

        Args:
          images: (batch, height, width, 3) in [0, 1]; both sides are multiples of 32.
          training: changes nothing.
          seeds: not used.

        Returns:
          A list of one tensor of the same shape.
        """
        self.check_size(images)
        features = self.backbone(2.0 * images - 1.0)
        finest, *laterals = [
            lateral(level) for lateral, level in zip(self.laterals, features, strict=True)
        ]
        maps = [laterals.pop()]  # 1/32, then 1/16, 1/8, 1/4
        for top_down in self.top_downs:
            maps.append(top_down(laterals.pop() + nearest(maps[-1], 2)))
        joined = ops.concatenate(
            [
                nearest(head(level), factor) if factor > 1 else head(level)
                for head, level, factor in zip(
                    reversed(self.heads), maps, (8, 4, 2, 1), strict=True
                )
            ],
            axis=-1,
        )  # (batch, height / 4, width / 4, 4 heads)
        x = nearest(self.smooth1(joined), 2) + finest
        x = nearest(self.smooth2(x), 2)
        return [_restored(images, self.final(x))]

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}


@keras.saving.register_keras_serializable(package="deblurgan_tf")
class DeblurGAN(Restorer):
    """DeblurGAN's generator: residual blocks at a quarter of the size (2018, figure 3).

    Args:
      width: channels at full size; two and four times as many at 1/2 and 1/4.
      blocks: residual blocks.
      dropout: share of features that training drops inside the blocks; 0.5 in the paper. Each
        sample has a draw of its own, by its seed: no seeds, no dropout.
    """

    channels = 3
    size_multiple = 4
    padding = "reflect"

    def __init__(self, width=64, blocks=9, dropout=0.0, name="deblurgan_resnet", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}; expected 0 or more and less than 1")
        self._config = {"width": width, "blocks": blocks, "dropout": dropout}
        self.first = layers.Conv2D(width, 7, name="first")
        self.first_norm = PictureNorm(name="first_norm")
        self.downs = [
            ConvNormReLU(2 * width, 2, name="down1"),
            ConvNormReLU(4 * width, 2, name="down2"),
        ]
        self.blocks = [ResBlock(4 * width, name=f"block{n}") for n in range(1, blocks + 1)]
        self.ups = [UpNormReLU(2 * width, name="up1"), UpNormReLU(width, name="up2")]
        self.final = layers.Conv2D(
            3, 7, kernel_initializer=drawn(_SMALL), dtype="float32", name="final"
        )

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes: growth of the peak at 512x512, 601 at full width."""
        return 650.0 * max(self._config["width"], 16) / 64

    def call(self, images, training=False, seeds=None):
        """Restores images.

        Args:
          images: (batch, height, width, 3) in [0, 1]; both sides are multiples of 4.
          training: whether features are dropped.
          seeds: int32 (batch, 2), of the dropout; None for no dropout.

        Returns:
          A list of one tensor of the same shape.
        """
        self.check_size(images)
        x = ops.relu(self.first_norm(self.first(reflect(2.0 * images - 1.0, 3))))
        for down in self.downs:
            x = down(x)
        drops = training and seeds is not None and self._config["dropout"] > 0
        for number, block in enumerate(self.blocks):
            drop = functools.partial(
                dropout, rate=self._config["dropout"], seeds=seeds, draw=number
            )
            x = block(x, dropout=drop if drops else None)
        for up in self.ups:
            x = up(x)
        return [_restored(images, self.final(reflect(x, 3)))]

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}


# {model: its class}
GENERATORS = {
    "deblurgan": DeblurGANv2,
    "deblurgan_imagenet": DeblurGANv2,
    "deblurgan_resnet": DeblurGAN,
    "deblurgan_seed": SeedGAN,
}
