"""DnCNN: convolutions that predict the noise of a picture.

Zhang, Zuo, Chen, Meng, Zhang: "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image
Denoising", TIP 2017 (arXiv 1608.03981), figure 1 and section III.

Goes in: degraded images (batch, height, width, channels), float in [0, 1], of any size. Comes out:
a list of one restored image, not clipped, `scale` times as large.

Conventions that cause most bugs:
- The convolutions give the noise, and the image minus it is the answer (section III.A).
- In training features are normalised by the batch; for restoring, the normalisation is merged into
  the convolutions, see `restore_tf.networks.normalised`. The published files hold merged weights:
  networks without batch normalisation, `batch_norm=False`.
- Noise has a standard deviation in levels of 255: sigma 25 is 25 / 255.

README.md beside it lists what differs from the paper.
"""

from __future__ import annotations

import functools
from pathlib import Path

import keras
from keras import layers, ops

from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.published import Published
from restore_tf.networks.layers import upsample2
from restore_tf.networks.normalised import NormalisedConv
from restore_tf.networks.reach import Reach
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import FiniteReach
from restore_tf.weights import state_dicts
from restore_tf.weights.pytorch_files import read_state_dict

BIASES = ("ends", "all", "none")


@keras.saving.register_keras_serializable(package="baselines_tf")
class DnCNN(Restorer):
    """Convolution and ReLU, `depth` - 2 times convolution, batch norm and ReLU, convolution.

    Args:
      channels: 1 or 3.
      depth: layers; the paper's 17, 20 for noise of unknown strength.
      width: filters of every layer but the last; 64 in the paper.
      batch_norm: without it, the layers between are plain convolutions with biases: what a merged
        network is.
      bias: which convolutions have one beside the normalisation: "ends", the first and the last
        alone (paper), "all" (KAIR, the student project's last network) or "none" (its first one).
      residual: whether the convolutions give the difference to the answer, and not the answer.
      scale: 1, or 2 for twice the size: then what the convolutions give, shuffled to that size, is
        taken from the image enlarged bilinearly (the student project's "DnCNN-SR").
    """

    def __init__(
        self, channels=1, depth=17, width=64, batch_norm=True, bias="ends", residual=True, scale=1
    ):
        super().__init__(name="dncnn")
        if bias not in BIASES or scale not in (1, 2) or depth < 3:
            given = f"bias={bias!r}, scale={scale}, depth={depth}"
            raise ValueError(f"{given}; expected one of {BIASES}, 1 or 2, 3 or more")
        self.channels, self.output_scale = channels, scale
        self.colour = "rgb" if channels == 3 else "planes"
        self.residual, self.batch_norm = residual, batch_norm
        self._config = {"channels": channels, "depth": depth, "width": width, "scale": scale}
        self._config |= {"batch_norm": batch_norm, "bias": bias, "residual": residual}
        ends = {"padding": "same", "use_bias": bias != "none", "kernel_initializer": "he_normal"}
        self.first = layers.Conv2D(width, 3, activation="relu", name="conv1", **ends)
        names = [f"conv{number}" for number in range(2, depth)]
        if batch_norm:
            norm = {"use_bias": bias == "all", "epsilon": 1e-4}  # 1e-4: authors' code
            self.between = [NormalisedConv(width, name=name, **norm) for name in names]
        else:
            plain = {**ends, "use_bias": True}
            self.between = [layers.Conv2D(width, 3, name=name, **plain) for name in names]
        ends["kernel_initializer"] = "glorot_uniform"
        filters = channels * scale**2
        self.last = layers.Conv2D(filters, 3, dtype="float32", name=f"conv{depth}", **ends)

    def call(self, images, training=False):
        """Restores images.

        Args:
          images: (batch, height, width, channels) in [0, 1], of any size.
          training: normalise by the batch's statistics.

        Returns:
          A list of one tensor, (batch, scale height, scale width, channels).
        """
        self.check_size(images)
        x = self.first(images)
        for layer in self.between:
            x = layer(x, training=training) if self.batch_norm else layer(x)
            x = ops.relu(x)
        x = self.last(x)
        if self.output_scale > 1:
            x, images = ops.depth_to_space(x, self.output_scale), upsample2(images)
        return [images - x if self.residual else x]

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes, as measured at 640x640."""
        return 9.0 * self._config["width"] + 140.0 * (self.output_scale**2 - 1)

    def tiler(self):
        """Exact tiles: each layer sees a pixel further."""
        return FiniteReach(self, Reach(self._config["depth"], 1))

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return dict(self._config)


VARIANTS = {
    "dncnn": {"channels": 1, "depth": 17},
    "dncnn_color": {"channels": 3, "depth": 17},
    "dncnn_sr": {"channels": 3, "depth": 17, "bias": "all", "scale": 2},
}


def build(experiment: Experiment) -> DnCNN:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `DnCNN`.
    """
    return DnCNN(**experiment.network)


def _recipe(model, recipe, config, **changes):
    """The paper's training on noise; `dncnn_sr` learns to enlarge instead."""
    fields = {
        "model": model,
        "recipe": recipe,
        "network": dict(VARIANTS[model]),
        "dataset": "synthetic",  # paper: 400 pictures of 180x180, section IV.A
        "config": "bicubic2" if model == "dncnn_sr" and config.startswith("noise") else config,
        "loss": "mse",  # paper, equation 1, but for a factor, which Adam does not notice
        "steps": 50 * 1600,  # paper, section IV.B: 50 epochs of 128 x 1,600 patches
        "batch": 128,  # paper, section IV.B
        "crop": 40,  # paper, section IV.B
        "augment": ("flip_rotate",),  # authors' code
        # Paper: gradient descent, momentum 0.9, weight decay 1e-4, from 0.1 to 1e-4. Authors' later
        # code: Adam without decay, 1e-3 for 30 epochs, 1e-4 for 20; here a cosine between them.
        "learning_rate": 1e-3,
        "end_learning_rate": 1e-4,
        "schedule": "cosine",
    }
    return Experiment(**{**fields, **changes})


def noise(model: str = "dncnn", level: int | None = 25) -> Experiment:
    """The paper's training for noise of one strength, or of any from 0 to 55.

    Published on BSD68, sigma 15, 25, 50: 31.73, 29.23, 26.23 dB; blind 31.61, 29.16, 26.23 dB.

    Args:
      model: a key of `VARIANTS`.
      level: standard deviation of the noise in levels of 255: 15, 25 or 50; None for any from 0 to
        55.
    """
    if level is not None:
        return _recipe(model, f"sigma{level}", f"noise{level}")
    network = {**VARIANTS[model], "depth": 20}  # this and what follows: paper, section IV.B
    return _recipe(model, "blind", "noise_blind", network=network, steps=50 * 3000, crop=50)


def seed(model: str = "dncnn_color") -> Experiment:
    """The student project's first deblurring network, and its last, which also enlarges.

    Both take pictures of half the size; the user has to make GoPro's pairs of two sizes.

    Args:
      model: a key of `VARIANTS`.
    """
    last = model == "dncnn_sr"
    epochs, batch, own = (50, 64, {}) if last else (48, 8, {"bias": "none", "residual": False})
    return _recipe(
        model,
        "seed",
        "pairs" if last else "blur",
        network={**VARIANTS[model], **own},
        dataset="folder" if last else "gopro",
        loss="l1" if last else "mse",  # project: and a tenth of a loss of features
        steps=epochs * 2103 // batch,
        batch=batch,
        crop=256,  # project: whole frames of 640x360
        augment=(),
        learning_rate=1e-3 if last else 1e-4,
        end_learning_rate=1e-7,
        schedule="constant",
        plateau_patience=3,  # project, the first; the last: one cycle
        plateau_factor=0.1,
    )


def quick(model: str = "dncnn") -> Experiment:
    """A light DnCNN for sigma 25, for five minutes on two CPU cores. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    sr = model == "dncnn_sr"  # which an L1 loss, or batch norm, keeps at the bilinear picture
    ours = {"network": {**VARIANTS[model], "depth": 7, "width": 32, "batch_norm": not sr}}
    ours |= {"steps": 4000, "batch": 8, "crop": 48, "end_learning_rate": 1e-5}
    return _recipe(model, "quick", "noise25", loss="mse" if sr else "l1", **ours)


RECIPES = {
    "sigma25": noise,
    "sigma15": functools.partial(noise, level=15),
    "sigma50": functools.partial(noise, level=50),
    "blind": functools.partial(noise, level=None),
    "seed": seed,
    "quick": quick,
}

TASKS = {"denoising": "sigma25", "blind_denoising": "blind"}
TERMS = "KAIR's published weights of DnCNN: MIT, Copyright (c) 2019 Kai Zhang"
NON_COMMERCIAL = False
files = state_dicts.files
PUBLISHED = (
    Published(
        name="dncnn_gray_25",
        model="dncnn",
        task="denoising",
        summary="DnCNN for gray pictures with Gaussian noise of sigma 25; colours as three planes",
        licence="MIT",
        holder="Kai Zhang",
        numbers=("published: Set12 30.44 dB, BSD68 29.23 dB", "measured by us: Set12 30.43 dB"),
        network={"batch_norm": False},
        shipped=Path(__file__).parent / "weights" / "dncnn_gray_25",
    ),
)
_GRAY_25_SHA256 = "c343014966e49e55f8d5266bfed6fca4aae399f1c3420fc6300cee37c8562ffc"


def name_map(model: DnCNN) -> dict[str, keras.Variable]:
    """Returns {name in KAIR's files: variable}: one list of layers, ReLUs counted.

    Args:
      model: a built DnCNN.
    """
    names, place = {}, 0
    for layer in (model.first, *model.between, model.last):
        normalised = isinstance(layer, NormalisedConv)
        names |= state_dicts.of_convolution(f"model.{place}", layer.conv if normalised else layer)
        if normalised:
            place += 1
            names |= state_dicts.of_normalisation(f"model.{place}", layer.norm)
        place += 2
    return names


def load_checkpoint(model: DnCNN, path: str) -> None:
    """Reads a PyTorch file with KAIR's names into a built model.

    Args:
      model: a built DnCNN of the file's depth, width and biases.
      path: of the file.

    Raises:
      UserError: it cannot be read, or is of another network. The model is not changed then.
    """
    tensors = read_state_dict(path)
    normalised = any(name.endswith(".running_var") for name in tensors)
    advice = "choose --model and --set network.depth, network.width, network.bias as it is"
    if normalised != model.batch_norm:
        advice = f"pass --set network.batch_norm={normalised}"
    norm = "with" if model.batch_norm else "without"
    network = f"a DnCNN of {model.get_config()['depth']} layers {norm} batch norm ({advice})"
    state_dicts.assign(name_map(model), tensors, path, network)


def identify(model: DnCNN) -> str:
    """Returns whether a network is KAIR's `dncnn_25`, in a sentence.

    Args:
      model: with loaded weights.
    """
    if state_dicts.checksum(model.weights) == _GRAY_25_SHA256:
        return "KAIR's dncnn_25: the checksum of all weights agrees"
    return "not one of the published networks that we know"
