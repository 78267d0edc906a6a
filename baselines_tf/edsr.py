"""EDSR: residual blocks without normalisation, and a pixel shuffle to a larger picture.

Lim, Son, Kim, Nah, Lee: "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR
Workshops 2017 (arXiv 1707.02921), figures 2 and 3.

Goes in: small images (batch, height, width, 3), float in [0, 1], of any size. Comes out: a list of
one image `scale` times as high and wide, not clipped.

Conventions that cause most bugs:
- The published weights work in 0 to 255. Up to its biases a network of ReLUs scales as its input
  does: in [0, 1] every bias is a 255th, and the mean that is subtracted too.
- A pixel shuffle takes channel c r^2 + i r + j in PyTorch and (i r + j) C + c in Keras, for pixel
  (i, j) of output channel c. The converter puts the filters in order once.
- Four times is twice twice; three times is one step.

README.md beside it lists what differs from the paper.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from restore_tf.errors import UserError
from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training
from restore_tf.networks.layers import Block
from restore_tf.networks.reach import Reach
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import FiniteReach
from restore_tf.weights import state_dicts
from restore_tf.weights.pytorch_files import read_state_dict

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's pictures, R, G, B; authors' code
STEPS = {2: (2,), 3: (3,), 4: (2, 2)}  # factors of the upsampler


def _conv(filters, name, dtype=None):
    return layers.Conv2D(filters, 3, padding="same", dtype=dtype, name=name)


class ResBlock(Block):
    """x + residual_scale * conv(ReLU(conv(x))): figure 2c, and section 3.3 for the scale."""

    def __init__(self, features, residual_scale, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = _conv(features, "conv1")
        self.conv2 = _conv(features, "conv2")
        self.residual_scale = residual_scale

    def call(self, x):
        """(batch, h, w, features) -> the same shape."""
        return x + self.residual_scale * self.conv2(ops.relu(self.conv1(x)))


@keras.saving.register_keras_serializable(package="baselines_tf")
class EDSR(Restorer):
    """Enhanced deep super-resolution network (figure 3).

    Args:
      scale: 2, 3 or 4.
      features: F, filters of the body; the paper's 64 and 256.
      blocks: B, residual blocks; the paper's 16 and 32.
      residual_scale: factor of a block's residual; the paper's 1 and 0.1.
    """

    def __init__(self, scale=2, features=64, blocks=16, residual_scale=1.0):
        super().__init__(name="edsr")
        if scale not in STEPS:
            raise ValueError(f"scale={scale}; expected one of {', '.join(map(str, STEPS))}")
        self.output_scale = scale
        self._config = {"scale": scale, "features": features, "blocks": blocks}
        self._config |= {"residual_scale": residual_scale}
        self.head = _conv(features, "head")
        self.blocks = [
            ResBlock(features, residual_scale, name=f"block{number + 1}")
            for number in range(blocks)
        ]
        self.body = _conv(features, "body")
        self.ups = [
            _conv(features * factor**2, f"up{number + 1}")
            for number, factor in enumerate(STEPS[scale])
        ]
        self.tail = _conv(self.channels, "tail", dtype="float32")

    def features(self, images):
        """Returns the body's features of images, before they are enlarged: (batch, h, w, features).

        Args:
          images: (batch, h, w, 3) in [0, 1].
        """
        head = x = self.head(images - ops.array(MEAN, images.dtype))
        for block in self.blocks:
            x = block(x)
        return head + self.body(x)

    def call(self, images, training=False):
        """Enlarges images.

        Args:
          images: (batch, height, width, 3) in [0, 1], of any size.
          training: changes nothing.

        Returns:
          A list of one tensor, (batch, scale height, scale width, 3).
        """
        self.check_size(images)
        x = self.features(images)
        for conv, factor in zip(self.ups, STEPS[self.output_scale], strict=True):
            x = ops.depth_to_space(conv(x), factor)
        return [self.tail(x) + ops.array(MEAN, "float32")]

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes, as measured at 384x384."""
        return 13.5 * self._config["features"] * self.output_scale**2

    def tiler(self):
        """Exact tiles; layers behind the shuffle see less than the whole pixels counted here."""
        layers_in_a_row = 3 + 2 * len(self.blocks) + len(self.ups)
        return FiniteReach(self, Reach(layers_in_a_row, 1))

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return dict(self._config)


_FULL = {"features": 256, "blocks": 32, "residual_scale": 0.1}  # section 3.3, table 1
VARIANTS = {
    "edsr": {"scale": 2},
    "edsr_x3": {"scale": 3},
    "edsr_x4": {"scale": 4},
    "edsr_full": {"scale": 2, **_FULL},
    "edsr_full_x3": {"scale": 3, **_FULL},
    "edsr_full_x4": {"scale": 4, **_FULL},
}


def build(experiment: Experiment) -> EDSR:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `EDSR`.
    """
    return EDSR(**experiment.network)


def div2k(model: str = "edsr") -> Experiment:
    """The paper's training. Published on Set5, Y: x2 38.11, x3 34.65, x4 32.46 dB (full width).

    The paper starts x3 and x4 from the body trained for x2.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="div2k",
        network=dict(VARIANTS[model]),
        dataset="folder",  # section 4.1: DIV2K's 800 pictures, shrunk by MATLAB's bicubics
        config="pairs",
        loss="l1",  # section 4.2
        steps=300_000,  # authors' code: 300 epochs of 1,000
        batch=16,  # section 4.2
        crop=48,  # section 4.2, of the small picture; authors' code: 192 of the large one
        augment=("flip_rotate",),  # section 4.2
        learning_rate=1e-4,  # section 4.2
        end_learning_rate=5e-5,  # section 4.2: halved at 200,000; here it falls evenly
        schedule="polynomial",
        beta_1=0.9,  # section 4.2
        beta_2=0.999,  # section 4.2
        epsilon=1e-8,  # section 4.2
    )


def quick(model: str = "edsr") -> Experiment:
    """A light EDSR on embedded pictures, for five minutes on two CPU cores. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    scale = VARIANTS[model]["scale"]
    network, data = {"scale": scale, "features": 32, "blocks": 4}, f"bicubic{scale}"
    return quick_training(model, network, "l1", 72 // scale, config=data, steps=4000, batch=8)


RECIPES = {"div2k": div2k, "quick": quick}

TASKS = {"super_resolution": "div2k"}
TERMS = "EDSR-PyTorch's published weights: MIT, Copyright (c) 2018 Sanghyun Son"
NON_COMMERCIAL = False
files = state_dicts.files


def name_map(model: EDSR) -> dict[str, keras.Variable]:
    """Returns {name in the published files: variable}.

    Args:
      model: a built EDSR.
    """
    convs = {"head.0": model.head}
    for number, block in enumerate(model.blocks):
        convs[f"body.{number}.body.0"] = block.conv1
        convs[f"body.{number}.body.2"] = block.conv2
    convs[f"body.{len(model.blocks)}"] = model.body
    for number, conv in enumerate(model.ups):
        convs[f"tail.0.{2 * number}"] = conv  # shuffles count
    convs["tail.1"] = model.tail
    names = {}
    for name, conv in convs.items():
        names |= state_dicts.of_convolution(name, conv)
    return names


def load_checkpoint(model: EDSR, path: str) -> None:
    """Reads a PyTorch file with the published names into a built model.

    Args:
      model: a built EDSR of the file's scale and size.
      path: of the file.

    Raises:
      UserError: it cannot be read, is of another network, or subtracts another mean. The model is
        not changed then.
    """
    tensors = read_state_dict(path)
    for name, sign in (("sub_mean", -255), ("add_mean", 255)):
        weight, bias = (tensors.pop(f"{name}.{part}", None) for part in ("weight", "bias"))
        if weight is not None and not np.allclose(weight[..., 0, 0], np.eye(3)):
            raise UserError(f"{path}: {name} is more than a shift of the mean; not EDSR's.")
        if bias is not None and not np.allclose(bias, sign * np.array(MEAN), atol=1e-2):
            raise UserError(f"{path}: {name} shifts by {bias}; expected 255 times {MEAN}.")
    for name, tensor in tensors.items():
        if name.startswith("tail.0."):
            tensor = _shuffled(tensor, STEPS[model.output_scale][0])
        tensors[name] = tensor / 255 if name.endswith(".bias") else tensor
    config = ", ".join(f"{name} {value}" for name, value in model.get_config().items())
    network = f"an EDSR of {config}; choose the --model and --set network.… that it is"
    state_dicts.assign(name_map(model), tensors, path, network)


def _shuffled(tensor, factor):
    """Filters (c r^2 + i r + j) in the order (i r + j) C + c."""
    grouped = tensor.reshape(-1, factor**2, *tensor.shape[1:])
    return np.swapaxes(grouped, 0, 1).reshape(tensor.shape)


def identify(model: EDSR) -> str:
    """Returns "": no checksum of the published files is known.

    Args:
      model: with loaded weights.
    """
    return ""
