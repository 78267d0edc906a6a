"""U-Net: an encoder-decoder over five scales with skips between equals.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015 (arXiv 1505.04597), figure 1, in the form that a student project restores pictures with:
padded convolutions with batch normalisation, bilinear upsampling in place of transposed
convolutions, and so a bottom no wider than the level above it.

Goes in: degraded images (batch, height, width, 3), float in [0, 1]; height and width multiples of
16. Comes out: a list of one restored image of the same size, not clipped.

Conventions that cause most bugs:
- Levels run finest first.
- Skips come before what comes from below in a concatenation.
- Upsampling has half-pixel centres. With the corners aligned, as the student project has it, where
  a pixel samples depends on the picture's size, and tiles cannot be exact.
- Nothing normalises the pictures; the student project works on (x - mean) / std of ImageNet.

README.md beside it lists what differs from the paper.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training
from restore_tf.networks.layers import Block, upsample2
from restore_tf.networks.normalised import NormalisedConv
from restore_tf.networks.reach import Reach
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import FiniteReach
from restore_tf.weights import state_dicts
from restore_tf.weights.pytorch_files import read_state_dict

_LEVELS = 4  # times that the size is halved


class DoubleConv(Block):
    """Twice 3x3 convolution, batch normalisation and ReLU: a level's two blue arrows."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        # The biases do nothing; the student project's weights have them.
        self.conv1 = NormalisedConv(filters, use_bias=True, name="conv1")
        self.conv2 = NormalisedConv(filters, use_bias=True, name="conv2")

    def call(self, x, training=False):
        """Convolves and normalises twice.

        Args:
          x: (batch, h, w, any).
          training: normalise by the batch's statistics.

        Returns:
          (batch, h, w, filters).
        """
        x = ops.relu(self.conv1(x, training=training))
        return ops.relu(self.conv2(x, training=training))


@keras.saving.register_keras_serializable(package="baselines_tf")
class UNet(Restorer):
    """U-Net of five scales, `width`, 2, 4, 8 and 8 times `width` wide.

    Args:
      width: filters of the finest level; 64 in both the paper and the student project.
      global_skip: adds the input, with a last layer that begins at zero. Ours: the network need
        not learn the identity first.
    """

    size_multiple = 2**_LEVELS

    def __init__(self, width=64, global_skip=False):
        super().__init__(name="unet")
        self.width, self.global_skip = width, global_skip
        self.inc = DoubleConv(width, name="inc")
        self.downs = [
            DoubleConv(factor * width, name=f"down{level}")
            for level, factor in enumerate((2, 4, 8, 8), 1)
        ]
        self.ups = [
            DoubleConv(factor * width, name=f"up{level}")
            for level, factor in enumerate((4, 2, 1, 1), 1)
        ]
        self.outc = layers.Conv2D(
            self.channels,
            1,
            kernel_initializer="zeros" if global_skip else "glorot_uniform",
            dtype="float32",
            name="outc",
        )

    def join(self, skip, x):
        """Enlarges features to a skip's size and concatenates them behind it.

        Args:
          skip: (batch, 2 h, 2 w, any).
          x: features from below, (batch, h, w, any).
        """
        return ops.concatenate([skip, upsample2(x)], axis=-1)

    def call(self, images, training=False):
        """Restores images.

        Args:
          images: (batch, height, width, 3) in [0, 1]; sides are multiples of 16.
          training: normalise by the batch's statistics.

        Returns:
          A list of one tensor of the same shape.
        """
        self.check_size(images)
        x = self.inc(images, training=training)
        skips = []  # finest first
        for down in self.downs:
            skips.append(x)
            # Explicit strides: Keras on JAX has a wrong default outside of a compiled call.
            x = down(ops.max_pool(x, 2, 2, padding="valid"), training=training)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(self.join(skip, x), training=training)
        x = self.outc(x)
        return [x + images if self.global_skip else x]

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes, as measured at 640x640."""
        return 25.0 * self.width + 100.0

    def tiler(self):
        """Exact tiles, that begin at multiples of 16."""
        return FiniteReach(self, Reach(_radius(), self.size_multiple))

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {"width": self.width, "global_skip": self.global_skip}


def _radius():
    """How many pixels away from an output pixel the inputs that it depends on are at most."""
    farthest = 0
    for pixel in range(2**_LEVELS):  # they repeat after that
        first = last = pixel
        for _ in range(_LEVELS):  # up again: two convolutions, then two neighbours of half the size
            first, last = (first - 3) // 2, (last + 3) // 2
        first, last = first - 2, last + 2
        for _ in range(_LEVELS):  # down: the two pixels that each was pooled from, two convolutions
            first, last = 2 * first - 2, 2 * last + 3
        farthest = max(farthest, pixel - first, last - pixel)
    return farthest


VARIANTS = {"unet": {}}


def build(experiment: Experiment) -> UNet:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `UNet`.
    """
    return UNet(**experiment.network)


def seed(model: str = "unet") -> Experiment:
    """The student project's training. Its input was GoPro at half size, restored by its DnCNN.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="seed",
        network=dict(VARIANTS[model]),
        dataset="gopro",
        config="blur",
        loss="mse",  # project: and a tenth of a loss of features
        steps=77 * 2103 // 8,  # project: 77 epochs
        batch=8,  # project
        crop=256,  # project: whole frames of 640x360
        augment=(),  # project
        learning_rate=1e-4,  # project
        end_learning_rate=1e-7,
        schedule="constant",
        plateau_patience=3,  # project
        plateau_factor=0.1,  # project
    )


def quick(model: str = "unet") -> Experiment:
    """A light U-Net on blurred pictures, for five minutes on two CPU cores. Not the project's.

    Args:
      model: a key of `VARIANTS`.
    """
    network = {"width": 16, "global_skip": True}
    return quick_training(model, network, "l1", 64, config="gaussian", steps=3500, batch=8)


RECIPES = {"seed": seed, "quick": quick}
COMPARED = True  # `restore-tf compare` trains its light recipe by default

TASKS = {"deblurring": "seed"}
TERMS = "unknown: no weights of this U-Net are published under terms that we know"
NON_COMMERCIAL = False
files = state_dicts.files


def name_map(model: UNet) -> dict[str, keras.Variable]:
    """Returns {name in the student project's files: variable}.

    Args:
      model: a built U-Net.
    """
    blocks = {"inc": model.inc}
    for level, (down, up) in enumerate(zip(model.downs, model.ups, strict=True), 1):
        blocks[f"down{level}.maxpool_conv.1"] = down
        blocks[f"up{level}.conv"] = up
    names = state_dicts.of_convolution("outc.conv", model.outc)
    for name, block in blocks.items():
        for place, layer in ((0, block.conv1), (3, block.conv2)):  # ReLUs count
            prefix = f"{name}.double_conv"
            names |= state_dicts.of_convolution(f"{prefix}.{place}", layer.conv)
            names |= state_dicts.of_normalisation(f"{prefix}.{place + 1}", layer.norm)
    return names


def load_checkpoint(model: UNet, path: str) -> None:
    """Reads a PyTorch file of the student project into a built model.

    The project upsamples with aligned corners and normalises pictures; this network does neither.

    Args:
      model: a built U-Net of the file's width.
      path: of the file.

    Raises:
      UserError: it cannot be read, or is of another network. The model is not changed then.
    """
    network = f"a U-Net of width {model.width}; pass --set network.width as it is"
    state_dicts.assign(name_map(model), read_state_dict(path), path, network)


def identify(model: UNet) -> str:
    """Returns "": no published weights are known.

    Args:
      model: with loaded weights.
    """
    return ""
