"""MPRNet: multi-stage progressive image restoration.

Zamir, Arora, Khan, Hayat, Khan, Yang, Shao: "Multi-Stage Progressive Image Restoration", CVPR 2021
(arXiv 2102.02808), figure 2. Built from the paper and a description of its published weights'
behaviour; the authors' code, which is for non-commercial use, was not read.

Goes in: degraded images (batch, height, width, 3), float in [0, 1], sRGB as stored; height and
width multiples of 8. Comes out: a list of one image per stage; the last is the restored image.
Outputs are not clipped.

Conventions that cause most bugs:
- Stages are listed first to last (the authors' code returns them last to first).
- Stage 1 sees four quarters, stage 2 two halves, stage 3 the whole picture. Each channel attention
  averages over its own patch, so a stage that is run unsplit gives other numbers.
- Patches lie in the batch axis, top before bottom, left before right.
- One PReLU with a single alpha serves the whole network.
- Levels of features are listed finest first.

README.md beside it lists what differs from the paper.
"""

from __future__ import annotations

import keras
from keras import ops

from mprnet_tf.attention import SharedPReLU, convolution
from mprnet_tf.blocks import SAM, Decoder, Encoder, ORSNet, ShallowFeatures
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import BlendedTile

# The three published networks (the paper's section 4.2 and the published weights' shapes).
TASKS = {
    "deblurring": {"n_feat": 96, "scale_unetfeats": 48, "scale_orsnetfeats": 32},
    "denoising": {"n_feat": 80, "scale_unetfeats": 48, "scale_orsnetfeats": 32},
    "deraining": {"n_feat": 40, "scale_unetfeats": 20, "scale_orsnetfeats": 16},
}
VARIANTS = {"mprnet": TASKS["deblurring"]}

# TLC: the test-time window is 1.5 times what the attention saw in training.
_WINDOW_SCALE = 1.5


@keras.saving.register_keras_serializable(package="mprnet_tf")
class MPRNet(Restorer):
    """Multi-stage progressive restoration network (figure 2).

    Args:
      n_feat: width of the finest level.
      scale_unetfeats: how many filters each level of the encoder-decoders adds.
      scale_orsnetfeats: how many filters stage 3 adds to `n_feat`.
      num_cab: channel attention blocks in each ORB of stage 3.
      reduction: of the channel attentions.
      stages: 1, 2 or 3; builds and runs only the first so many stages (the paper's early exits),
        with the same weights.
      local_attention: None for the paper's global channel attention; the side of the training crops
        in pixels for a sliding mean over 1.5 times what each attention saw in training (TLC,
        test time only, same weights).
    """

    channels = 3
    size_multiple = 8  # quarters must divide by 4
    padding = "reflect"
    # Every attention pools over the whole picture: tiles come close, and no more.
    blended_tile = BlendedTile(advice="--set network.local_attention=True is steadier")

    def __init__(
        self,
        n_feat=96,
        scale_unetfeats=48,
        scale_orsnetfeats=32,
        num_cab=8,
        reduction=4,
        stages=3,
        local_attention=None,
        name="mprnet",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if stages not in (1, 2, 3):
            raise ValueError(f"stages={stages}; expected 1, 2 or 3")
        self._config = {
            "n_feat": n_feat,
            "scale_unetfeats": scale_unetfeats,
            "scale_orsnetfeats": scale_orsnetfeats,
            "num_cab": num_cab,
            "reduction": reduction,
            "stages": stages,
            "local_attention": local_attention,
        }
        self.stages = stages
        widths = [n_feat + level * scale_unetfeats for level in range(3)]
        quarter, half, whole = _windows(local_attention)
        self.prelu = SharedPReLU(name="prelu")
        shared = {"reduction": reduction, "prelu": self.prelu}

        self.shallow1 = ShallowFeatures(n_feat, window=quarter, name="shallow1", **shared)
        self.encoder1 = Encoder(widths, window=quarter, name="encoder1", **shared)
        self.decoder1 = Decoder(widths, window=half, name="decoder1", **shared)
        self.sam1 = SAM(n_feat, self.channels, image_only=stages == 1, name="sam1")
        if stages > 1:
            self.shallow2 = ShallowFeatures(n_feat, window=half, name="shallow2", **shared)
            self.merge2 = convolution(n_feat, "merge2")
            self.encoder2 = Encoder(widths, fusion=True, window=half, name="encoder2", **shared)
            self.decoder2 = Decoder(widths, window=whole, name="decoder2", **shared)
            self.sam2 = SAM(n_feat, self.channels, image_only=stages == 2, name="sam2")
        if stages > 2:
            wide = n_feat + scale_orsnetfeats
            self.shallow3 = ShallowFeatures(n_feat, window=whole, name="shallow3", **shared)
            self.merge3 = convolution(wide, "merge3")
            self.orsnet = ORSNet(
                widths, wide, num_cab=num_cab, window=whole, name="orsnet", **shared
            )
            self.tail = convolution(self.channels, "tail", dtype="float32")

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes, by benchmarks/forward.py at 512x512."""
        return {1: 2500.0, 2: 4300.0, 3: 5500.0}[self.stages] * self._config["n_feat"] / 96

    def call(self, images, training=False):
        """Restores images stage by stage.

        Args:
          images: (batch, height, width, 3) in [0, 1]; sides are multiples of 8.
          training: changes nothing.

        Returns:
          One image per stage, of the same shape.
        """
        self.check_size(images)
        halves = _split(images, axis=1)  # (2 batch, height / 2, width, 3): top, bottom
        quarters = _split(halves, axis=2)  # (4 batch, height / 2, width / 2, 3)

        encoded = self.encoder1(self.shallow1(quarters))
        encoded = [_join(level, axis=2) for level in encoded]
        decoded = self.decoder1(encoded)
        if self.stages == 1:
            return [_join(self.sam1.restore(decoded[0], halves), axis=1)]
        attended, restored1 = self.sam1(decoded[0], halves)

        x = self.merge2(ops.concatenate([self.shallow2(halves), attended], axis=-1))
        encoded = self.encoder2(x, encoded, decoded)
        encoded = [_join(level, axis=1) for level in encoded]
        decoded = self.decoder2(encoded)
        outputs = [_join(restored1, axis=1)]
        if self.stages == 2:
            return [*outputs, self.sam2.restore(decoded[0], images)]
        attended, restored2 = self.sam2(decoded[0], images)

        x = self.merge3(ops.concatenate([self.shallow3(images), attended], axis=-1))
        x = self.orsnet(x, encoded, decoded)
        return [*outputs, restored2, self.tail(x) + images]

    def folded_weights(self):
        """Returns the PReLU's alpha."""
        return (float(ops.convert_to_numpy(self.prelu.alpha).item()),)

    def use_folded_weights(self, values):
        """Computes with the PReLU's alpha as a number (a leaky ReLU); see `Restorer`.

        Args:
          values: (alpha,); () for the weight again.
        """
        self.prelu.slope = values[0] if values else None

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}


def _windows(crop):
    """Attention windows (height, width) of the finest level, for quarters, halves and wholes."""
    if crop is None:
        return None, None, None
    whole, half = int(_WINDOW_SCALE * crop), int(_WINDOW_SCALE * (crop // 2))
    return (half, half), (half, whole), (whole, whole)


def _split(x, axis):
    """Cuts every image in two along `axis`; the first halves come first in the batch."""
    middle = ops.shape(x)[axis] // 2
    if axis == 1:
        return ops.concatenate([x[:, :middle], x[:, middle:]], axis=0)
    return ops.concatenate([x[:, :, :middle], x[:, :, middle:]], axis=0)


def _join(x, axis):
    """Undoes `_split`."""
    batch = ops.shape(x)[0] // 2
    return ops.concatenate([x[:batch], x[batch:]], axis=axis)
