"""SRCNN: three or more convolutions that sharpen a picture of its final size.

Dong, Loy, He, Tang: "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016 (arXiv
1501.00092), section 3. A student project later used wider ones to deblur.

Goes in: degraded images (batch, height, width, channels), float in [0, 1], of any size; a picture
to be enlarged is enlarged by bicubics before. Comes out: a list of one restored image of the same
size, not clipped.

Conventions that cause most bugs:
- f1-f2-f3 names the sides of the kernels, (9, 5, 5) in `kernels`; `filters` has one number less.
- Every layer repeats the edges of what it takes, as the authors' test code does. Their training
  code pads nothing and compares the middle alone. Inside the picture there is no difference.
- Colours: Y of YCbCr alone is restored, Cb and Cr stay (section 4.1).

README.md beside it lists what differs from the paper.
"""

from __future__ import annotations

import math
from pathlib import Path

import keras
from keras import layers

from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training
from restore_tf.networks.layers import pad_edges
from restore_tf.networks.reach import reach
from restore_tf.networks.restorer import COLOURS, Restorer
from restore_tf.networks.tiler import FiniteReach
from restore_tf.weights import matlab_files, state_dicts
from restore_tf.weights.pytorch_files import read_state_dict


@keras.saving.register_keras_serializable(package="baselines_tf")
class SRCNN(Restorer):
    """Patch extraction, non-linear mapping, reconstruction (section 3.1).

    Args:
      channels: 1 or 3.
      kernels: sides of the layers' kernels, f1 to the last, odd numbers.
      filters: n1, n2, …: of every layer but the last.
      dropout: share of features that training drops behind every layer but the last; the student
        project's 0.2, 0 in the paper.
      global_skip: adds the input, with a last layer that begins at zero. Ours: short trainings need
        not learn the identity first.
      colour: "luminance" or "planes" of one channel, see `Restorer`; None for the luminance.
    """

    def __init__(
        self,
        channels=1,
        kernels=(9, 5, 5),
        filters=(64, 32),
        dropout=0.0,
        global_skip=False,
        colour=None,
        name="srcnn",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        colour = colour or ("luminance" if channels == 1 else "rgb")
        _check(channels, kernels, filters, colour)
        self.channels, self.colour, self.global_skip = channels, colour, global_skip
        self._config = {"channels": channels, "kernels": tuple(kernels), "filters": tuple(filters)}
        self._config |= {"dropout": dropout, "global_skip": global_skip, "colour": colour}
        self.convs = [
            layers.Conv2D(width, side, activation="relu", name=f"conv{number}")
            for number, (width, side) in enumerate(zip(filters, kernels, strict=False), 1)
        ]
        self.drops = [layers.Dropout(dropout, name=f"drop_{c.name}") for c in self.convs if dropout]
        self.last = layers.Conv2D(
            channels,
            kernels[-1],
            kernel_initializer="zeros" if global_skip else "glorot_uniform",
            dtype="float32",
            name=f"conv{len(kernels)}",
        )

    @property
    def convolutions(self):
        """Its layers, first to last."""
        return [*self.convs, self.last]

    def pad(self, x, layer):
        """Pads a layer's input, so that its output is as large as the image.

        Args:
          x: (batch, height, width, channels).
          layer: the convolution that follows.
        """
        return pad_edges(x, layer.kernel_size[0] // 2)

    def call(self, images, training=False):
        """Restores images.

        Args:
          images: (batch, height, width, channels) in [0, 1], of any size.
          training: whether features are dropped.

        Returns:
          A list of one tensor of the same shape.
        """
        self.check_size(images)
        x = images
        for number, conv in enumerate(self.convs):
            x = conv(self.pad(x, conv))
            if self.drops:
                x = self.drops[number](x, training=training)
        x = self.last(self.pad(x, self.last))
        return [x + images if self.global_skip else x]

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes, as measured at 640x640."""
        return 9.0 * max(self._config["filters"])

    def tiler(self):
        """Exact tiles: what a pixel depends on ends a few pixels away."""
        return FiniteReach(self, reach(self.convolutions))

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}


def _check(channels, kernels, filters, colour):
    if len(kernels) != len(filters) + 1 or not filters:
        raise ValueError(f"kernels={kernels}, filters={filters}; expected one kernel more")
    if any(side % 2 == 0 for side in kernels):
        raise ValueError(f"kernels={kernels}; expected odd numbers")
    if colour not in COLOURS or (colour == "rgb") != (channels == 3):
        raise ValueError(f"channels={channels}, colour={colour!r}; expected 3 and 'rgb', or 1")


# Sections 4.3.1 and 4.3.3; Y alone. The student project's are of three channels and twice as wide.
_STUDENT = {"channels": 3, "kernels": (9, 1, 5), "filters": (128, 64)}
VARIANTS = {
    "srcnn": {"kernels": (9, 5, 5), "filters": (64, 32)},  # the paper's best
    "srcnn_935": {"kernels": (9, 3, 5), "filters": (64, 32)},
    "srcnn_915": {"kernels": (9, 1, 5), "filters": (64, 32)},
    "srcnn_seed915": _STUDENT,
    "srcnn_seed9315": {**_STUDENT, "kernels": (9, 3, 1, 5), "filters": (128, 64, 32)},
    "srcnn_seed91115": {**_STUDENT, "kernels": (9, 1, 1, 1, 5), "filters": (128, 64, 32, 16)},
}


def build(experiment: Experiment) -> SRCNN:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `SRCNN`.
    """
    return SRCNN(**experiment.network)


def paper(model: str = "srcnn") -> Experiment:
    """The paper's training: pictures shrunk and enlarged again by bicubics, and the originals.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="paper",
        network=dict(VARIANTS[model]),
        dataset="folder",  # 91 images or ImageNet (section 4.1), degraded by the user
        config="pairs",
        loss="mse",  # section 3.2
        steps=1_000_000,  # ours; authors' solver file: 15,000,000 of gradient descent
        batch=128,  # authors' solver file
        crop=33,  # section 4.1: f_sub = 33
        augment=(),
        # Paper: gradient descent with momentum 0.9 at a fixed 1e-4, 1e-5 in the last layer, on half
        # the SUM over a crop. Here Adam, whose steps do not depend on the loss's scale.
        learning_rate=1e-4,
        end_learning_rate=1e-4,
        schedule="constant",
    )


def seed(model: str = "srcnn_seed9315") -> Experiment:
    """The student project's deblurring; its other blurs are the configs "box" and "motion".

    The project's steps have one picture of 256x256 each; these have as many pixels.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="seed",
        network=dict(VARIANTS[model]),
        dataset="synthetic",  # project: 750 drawings of faces, not available
        config="gaussian",
        loss="mse",  # project
        steps=20 * 750,  # project: 20 epochs of 750 steps
        batch=16,  # project: 1 of 256x256
        crop=64,
        augment=(),  # project
        learning_rate=1e-4,  # project; 5e-5 in its last version
        end_learning_rate=1e-4,
        schedule="constant",  # project: a plateau that was forgotten at every epoch
    )


def quick(model: str = "srcnn") -> Experiment:
    """Five minutes on two CPU cores, for "gaussian", "box" and "motion" alike. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    network = {**VARIANTS[model], "global_skip": True}
    return quick_training(model, network, "mse", 48, config="gaussian", steps=3500, batch=8)


RECIPES = {"paper": paper, "seed": seed, "quick": quick}

TASKS = {"deblurring": "seed", "super_resolution": "paper"}
TERMS = "SRCNN: the authors' weights are for academic use only, the student project names no terms"
NON_COMMERCIAL = True
files = state_dicts.files


def name_map(model: SRCNN) -> dict[str, keras.Variable]:
    """Returns {name in the student project's files: variable}: layer, ReLU and Dropout in turn.

    Args:
      model: a built SRCNN.
    """
    names = {}
    for number, layer in enumerate(model.convolutions):
        names |= state_dicts.of_convolution(f"layers.{3 * number}", layer)
    return names


def load_checkpoint(model: SRCNN, path: str) -> None:
    """Reads the authors' MATLAB file (.mat), or a PyTorch one of the student project's networks.

    The project pads with zeros, which gives other borders; this network does not.

    Args:
      model: a built SRCNN of the file's kernels and filters.
      path: of the file.

    Raises:
      UserError: it cannot be read, or is of another network. The model is not changed then.
    """
    kernels = "-".join(str(layer.kernel_size[0]) for layer in model.convolutions)
    network = f"an SRCNN {kernels} of {model.channels} channels; choose the --model that it is"
    if Path(path).suffix == ".mat":
        names = {}
        for number, layer in enumerate(model.convolutions, 1):
            names |= {f"weights_conv{number}": layer.kernel, f"biases_conv{number}": layer.bias}
        arrays = matlab_files.read_arrays(path)
        tensors = {name: _from_matlab(name, array, len(names)) for name, array in arrays.items()}
    else:
        names, tensors = name_map(model), read_state_dict(path)
    state_dicts.assign(names, tensors, path, network)


def _from_matlab(name, array, count):
    """An array in PyTorch's layout; as it is where it is none of the authors'.

    Theirs are (f1 f1, n1), (n1, f2 f2, n2) and (n2, f3 f3), one channel in and out; a kernel's
    columns follow one another, and `imfilter` correlates with it, as convolutions here do.
    """
    if name.startswith("biases"):
        return array.reshape(-1)
    if name == "weights_conv1":
        array = array[None]
    elif name == f"weights_conv{count // 2}":
        array = array[..., None]
    if array.ndim != 3 or math.isqrt(array.shape[1]) ** 2 != array.shape[1]:
        return array
    taken, taps, given = array.shape
    side = math.isqrt(taps)
    return array.reshape(taken, side, side, given).transpose(3, 0, 2, 1)


def identify(model: SRCNN) -> str:
    """Returns "": no checksum of the published files is known.

    Args:
      model: with loaded weights.
    """
    return ""
