"""SRN-DeblurNet: a scale-recurrent network for deblurring.

Tao, Gao, Shen, Wang, Jia: "Scale-recurrent Network for Deep Image Deblurring", CVPR 2018
(arXiv 1802.01770), figure 3 and section 3.

Goes in: blurry images (batch, height, width, channels), float in [0, 1], sRGB as stored; nothing is
subtracted. Height and width are multiples of 4 * stride * 2^(scales - 1), 16 for the paper's three
scales.
Comes out: a list of images, one per scale, coarse to fine; the last is the restored image. Outputs
are images, not residuals, unless `global_skip` is set, and they are not clipped.

Conventions that cause most bugs:
- Lists of scales run coarse to fine (1/4, 1/2, 1); the paper counts them fine to coarse (i = 1 is
  the finest).
- All scales share one set of weights: one encoder-decoder, looped over.
- Images and the ConvLSTM's state are resized as TensorFlow 1 did, see `restore_tf.networks.layers`.
  Every scale's blurry image is taken from the finest one directly.
- At the coarsest scale the blurry image itself takes the place of the previous output.
- No gradient flows through the resized previous output; through the resized state it does.

The published weights follow the authors' code where it differs from the paper; so does this file.
README.md beside it lists the differences.
"""

from __future__ import annotations

import keras
from keras import ops

from restore_tf.networks.layers import legacy_downsample, legacy_upsample2
from restore_tf.networks.restorer import Restorer
from srn_tf.blocks import ConvLSTMCell, DBlock, EBlock, OutBlock, paths
from srn_tf.gate import SMALLEST, Gate
from srn_tf.tiles import ScaleTiler


@keras.saving.register_keras_serializable(package="srn_tf")
class SRN(Restorer):
    """Scale-recurrent network (figure 3).

    Args:
      channels: image channels, 3 or 1.
      recurrent: whether a ConvLSTM carries state from scale to scale (the paper's model). Without
        it the bottleneck passes features straight to the decoder.
      width: filters at full resolution; twice and four times that below. 32 in the paper.
      scales: number of scales, 3 in the paper.
      res_blocks: ResBlocks per block, 3 in the paper.
      global_skip: add each scale's blurry image to its output and start the last convolution at
        zero, so that an untrained network returns its input. Not in the paper; short trainings
        need it.
      stride: of the first convolution, and of the last, which above 1 is a transposed one: features
        begin at 1/stride of the image's size, with as many times fewer multiplications a pixel as
        its square. Not in the paper, which has 1.
      gate: with `global_skip`, multiply the finest residual by a number that the picture as a
        whole decides, see `gate`: a sharp one passes as it is. Not in the paper.
    """

    padding = "edge"

    def __init__(
        self,
        channels=3,
        recurrent=True,
        width=32,
        scales=3,
        res_blocks=3,
        global_skip=False,
        stride=1,
        gate=False,
        name="srn",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if scales < 1:
            raise ValueError(f"scales={scales}; expected 1 or more")
        if stride not in (1, 2, 4):
            raise ValueError(f"stride={stride}; expected 1, 2 or 4")
        if gate and not global_skip:
            raise ValueError("gate=True: gates what global_skip adds; expected global_skip=True")
        self.channels = channels
        self.recurrent = recurrent
        self.width = width
        self.scales = scales
        self.num_res_blocks = res_blocks
        self.global_skip = global_skip
        self.stride = stride
        self.size_multiple = 4 * stride * 2 ** (scales - 1)
        if gate:
            self.size_multiple = max(self.size_multiple, SMALLEST)

        self.in_block = EBlock(width, res_blocks, strides=stride, name="in_block")
        self.e_block1 = EBlock(2 * width, res_blocks, name="e_block1")
        self.e_block2 = EBlock(4 * width, res_blocks, name="e_block2")
        self.conv_lstm = ConvLSTMCell(4 * width, name="conv_lstm") if recurrent else None
        self.d_block1 = DBlock(4 * width, 2 * width, res_blocks, name="d_block1")
        self.d_block2 = DBlock(2 * width, width, res_blocks, name="d_block2")
        last = "zeros" if global_skip else "glorot_uniform"
        self.out_block = OutBlock(width, channels, res_blocks, last, stride, name="out_block")
        self.gate = Gate(name="gate") if gate else None

    def call(self, images, training=False):
        """Restores images coarse to fine.

        Args:
          images: (batch, height, width, channels) in [0, 1]; sides are multiples of
            `size_multiple`.
          training: leaves the gate open: it is fitted when all else is trained.

        Returns:
          One image per scale, (batch, height / 2^i, width / 2^i, channels), coarse to fine.
        """
        self.check_size(images)
        gates = self.gate is not None and not training
        return self._stages(images, self.gate(images) if gates else None)

    def _stages(self, images, strength=None):
        """The images of all scales, coarse to fine; the last by the gate's strength."""
        stages, state = [], None
        for exponent in reversed(range(self.scales)):
            blurry = legacy_downsample(images, 2**exponent)
            if stages:
                previous = ops.stop_gradient(legacy_upsample2(stages[-1]))
            else:
                previous = blurry
            gated = None if exponent else strength
            restored, state = self.restore_scale(blurry, previous, state, gated)
            stages.append(restored)
            if state is not None and exponent:
                state = tuple(legacy_upsample2(part) for part in state)
        return stages

    def restore_scale(self, blurry, previous, state=None, strength=None):
        """One pass of the encoder-decoder, at one scale (sections 3.1 and 3.2).

        Args:
          blurry: the blurry image at this scale, (batch, h, w, channels).
          previous: the coarser scale's output brought to this size, same shape.
          state: the ConvLSTM's (c, h), each (batch, h / (4 stride), w / (4 stride), 4 * width),
            brought to this scale; None at the coarsest scale, where it starts at zero.
          strength: what the gate says of the picture, (batch, 1, 1, 1), at the finest scale; None
            for the whole residual.

        Returns:
          The restored image at this scale and the new state (None for a model without ConvLSTM).
        """
        shallow = self.in_block(ops.concatenate([blurry, previous], axis=-1))
        half = self.e_block1(shallow)
        features = self.e_block2(half)
        if self.recurrent:
            if state is None:
                state = (ops.zeros_like(features), ops.zeros_like(features))
            features, state = self.conv_lstm(features, state)
        half = half + self.d_block1(features)
        shallow = shallow + self.d_block2(half)
        restored = self.out_block(shallow)
        if strength is not None:
            restored = restored * strength
        return (restored + blurry if self.global_skip else restored), state

    def adapt(self, batches):
        """Fits the gate, where there is one, to what the network makes of pictures.

        Args:
          batches: of (degraded, sharp), both (batch, height, width, channels) in [0, 1], sides
            multiples of `size_multiple`. Pictures as a whole: a soft piece of a sharp photo looks
            blurred.
        """
        if self.gate is not None:
            self.gate.adapt(batches, self.restore_padded)

    def downsample(self, images, factor):
        """Brings the sharp picture to a coarser scale, as the network does with the blurry one.

        Args:
          images: (batch, height, width, channels).
          factor: 2, 4, …; sides are multiples of it.

        Returns:
          (batch, height / factor, width / factor, channels).
        """
        return legacy_downsample(images, factor)

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes, by benchmarks/tiles.py."""
        return 27.0 * self.width / self.stride**2

    def tiler(self):
        """Exact tiles, each scale cut up by itself."""
        # Kept, because its compiled functions are: not as an attribute, which Keras would track.
        if "_tiler" not in self.__dict__:
            self.__dict__["_tiler"] = ScaleTiler(self)
        return self.__dict__["_tiler"]

    @property
    def state_width(self):
        """Filters of the ConvLSTM's c and h, which are 1 / (4 stride) of the picture's size."""
        return 4 * self.width

    @property
    def state_bytes_per_pixel(self):
        """What c and h take of half a picture's size, per pixel of the picture."""
        spacing = 4 * self.stride
        return 2 * 4 * self.state_width / spacing**2 / 4 if self.recurrent else 0.0

    def scale_path(self):
        """The convolutions on the longest way through one scale: what exact tiles need."""
        memory = [self.conv_lstm.conv] if self.recurrent else []
        encoder = paths([self.in_block, self.e_block1, self.e_block2])
        return encoder + memory + paths([self.d_block1, self.d_block2, self.out_block])

    @property
    def adapt_samples(self):
        """How many pictures the gate is fitted to."""
        return 1000 if self.gate is not None else 0

    @property
    def recurrent_variables(self):
        """Weights of the ConvLSTM, whose gradient alone the paper clips (section 4)."""
        return self.conv_lstm.trainable_variables if self.recurrent else []

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {
            "channels": self.channels,
            "recurrent": self.recurrent,
            "width": self.width,
            "scales": self.scales,
            "res_blocks": self.num_res_blocks,
            "global_skip": self.global_skip,
            "stride": self.stride,
            "gate": self.gate is not None,
            "name": self.name,
        }


# The default (RGB with ConvLSTM) and the three models the authors published.
VARIANTS = {
    "srn": {"channels": 3, "recurrent": True},
    "srn_lstm": {"channels": 1, "recurrent": True},
    "srn_gray": {"channels": 1, "recurrent": False},
    "srn_color": {"channels": 3, "recurrent": False},
}
