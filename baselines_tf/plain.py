"""Plain convolutional regression: 3x3 convolutions in a row, from degraded to sharp.

The two networks of a student project that compares "CNN", "diffusion" and "GAN" for deblurring. Its
CNN is `plain`. Its "diffusion model", called "UNet", has no noise, no time steps and no sampling,
neither pooling nor skips: it is `plain_small`. Both learn blurry to sharp by squared error.

Goes in: degraded images (batch, height, width, 3), float in [0, 1], of any size. Comes out: a list
of one restored image of the same size; only a sigmoid keeps it in [0, 1].

The second half of `plain_small` is transposed convolutions in the project. At stride 1 these are
convolutions with the kernel turned, and are written as such here.

README.md beside it lists what differs from the project.
"""

from __future__ import annotations

import keras
from keras import layers

from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training
from restore_tf.networks.reach import reach
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import FiniteReach


@keras.saving.register_keras_serializable(package="baselines_tf")
class Plain(Restorer):
    """3x3 convolutions with zeros around the picture, ReLUs between them.

    Args:
      filters: of every layer but the last, which gives the three colours.
      sigmoid: ends in a sigmoid. Its output starts at a medium gray, far from any picture.
      global_skip: adds the input, with a last layer that begins at zero. Ours: short trainings need
        not learn the identity first. Not together with a sigmoid.
    """

    def __init__(self, filters=(64, 128, 256, 128, 64), sigmoid=True, global_skip=False, **kwargs):
        super().__init__(**{"name": "plain", **kwargs})
        if not filters or (sigmoid and global_skip):
            given = f"filters={filters}, sigmoid={sigmoid}, global_skip={global_skip}"
            raise ValueError(f"{given}; expected one layer or more, and a sigmoid or a skip")
        self.global_skip = global_skip
        self._config = {"filters": tuple(filters), "sigmoid": sigmoid, "global_skip": global_skip}
        self.convolutions = [
            layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{number}")
            for number, width in enumerate(filters, 1)
        ]
        last = layers.Conv2D(
            self.channels,
            3,
            padding="same",
            activation="sigmoid" if sigmoid else None,
            kernel_initializer="zeros" if global_skip else "glorot_uniform",
            dtype="float32",
            name=f"conv{len(filters) + 1}",
        )
        self.convolutions.append(last)

    def call(self, images, training=False):
        """Restores images.

        Args:
          images: (batch, height, width, 3) in [0, 1], of any size.
          training: changes nothing.

        Returns:
          A list of one tensor of the same shape.
        """
        self.check_size(images)
        x = images
        for convolution in self.convolutions:
            x = convolution(x)
        return [x + images if self.global_skip else x]

    @property
    def bytes_per_pixel(self):
        """Memory that restoring takes, as measured at 640x640."""
        return 7.5 * max(self._config["filters"])

    def tiler(self):
        """Exact tiles: each layer sees a pixel further."""
        return FiniteReach(self, reach(self.convolutions))

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        return {**self._config, "name": self.name}


VARIANTS = {
    "plain": {"filters": (64, 128, 256, 128, 64), "sigmoid": True},  # the project's "CNN"
    "plain_small": {"filters": (64, 128, 64), "sigmoid": False},  # its "diffusion model"
}


def build(experiment: Experiment) -> Plain:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `Plain`.
    """
    return Plain(**experiment.network)


def seed(model: str = "plain") -> Experiment:
    """The student project's training; "defocus" is the other blur of its data set.

    The project squeezes pictures to 256x256 and does not say how many it has.

    Args:
      model: a key of `VARIANTS`.
    """
    rate = 1e-3 if model == "plain" else 1e-4  # project
    return Experiment(
        model=model,
        recipe="seed",
        network=dict(VARIANTS[model]),
        dataset="blur_dataset",  # project; faces of celebrities in a third series
        config="motion",
        loss="mse",  # project
        steps=60 * 350 // 16,  # project: 60 epochs; all 350 scenes of the data set
        batch=16,  # project
        crop=256,  # project: the whole, squeezed
        augment=(),  # project
        learning_rate=rate,
        end_learning_rate=rate,
        schedule="constant",  # project
    )


def quick(model: str = "plain") -> Experiment:
    """A quarter as wide, with a global skip: five minutes on two CPU cores. Not the project's.

    Args:
      model: a key of `VARIANTS`.
    """
    filters = tuple(width // 4 for width in VARIANTS[model]["filters"])
    network = {"filters": filters, "sigmoid": False, "global_skip": True}
    return quick_training(model, network, "mse", 48, config="gaussian", steps=3500, batch=8)


RECIPES = {"seed": seed, "quick": quick}
COMPARED = True  # `restore-tf compare` trains its light recipe by default
