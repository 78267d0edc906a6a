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

from maxim_tf.parts import Layout
from maxim_tf.stage import LEVELS, Stage, block_sizes
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import BlendedTile

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


def subsample(images, level):
    """Nearest-neighbour resize to 1 / 2^level with half-pixel centres: pixels 1, 3, … or 2, 6, …

    Args:
      images: (batch, height, width, channels).
      level: 0, 1 or 2; sides are multiples of 2^level.

    Returns:
      (batch, height / 2^level, width / 2^level, channels).
    """
    step = 2**level
    return images[:, step // 2 :: step, step // 2 :: step] if level else images


@keras.saving.register_keras_serializable(package="maxim_tf")
class MAXIM(Restorer):
    """Multi-axis MLP network (figure 2).

    Args:
      features: width of the finest level, 32 ("S") or 64 ("M"); doubles at every level.
      num_stages: how many stages the network was trained with.
      num_groups: pairs of multi-axis block and channel attention block at each level.
      num_bottleneck_blocks: bottleneck blocks.
      num_supervision_scales: number of scales at which each stage takes and gives pictures, 1 to 3.
      block_size_hr: block and grid size of the two finest levels.
      block_size_lr: of the coarsest level and the bottleneck.
      stages: builds and runs only the first so many stages (early exits), with the same weights;
        None for all.
    """

    channels = 3
    padding = "reflect"
    # Trained on 256x256: on larger pictures grid cells and the attention's pooling cover more than
    # in training, and tiles of that size are restored better than the whole.
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
        sizes = block_sizes(self._config)
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
        """Restores images stage by stage.

        Args:
          images: (batch, height, width, 3) in [0, 1]; sides are multiples of `size_multiple`.
          training: changes nothing.

        Returns:
          One image per stage and scale, in each stage coarse to fine; the last is the restored
          image.
        """
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
        batch, (_, height, width, _) = images.shape[0], ops.shape(images)
        features, layouts = self._config["features"], []
        for level, size in enumerate(block_sizes(self._config)):
            channels = features * 2 ** min(level, LEVELS - 1)
            sides = height // 2**level, width // 2**level
            layouts.append(Layout(size, *sides, channels, batch))
        return layouts

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}
