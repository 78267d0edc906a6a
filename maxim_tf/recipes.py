"""Trainings of MAXIM: the paper's tasks, deblurring first, and a light one for minutes on a CPU.

The authors never published their training code. Every number has its source beside it: "paper" is
Tu et al. 2022 as we know it, not looked up again there; "ours" is a choice of ours where the
paper's number is not known to us.

Not built: MixUp. The paper mixes each pair with another one with probability 0.5; augmentations
here take one pair and a seed, so that sample n never depends on which others are in its batch.
"""

from __future__ import annotations

from maxim_tf.model import MAXIM, VARIANTS
from maxim_tf.published import PUBLISHED
from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training

__all__ = ["PUBLISHED", "RECIPES", "VARIANTS", "build"]


def build(experiment: Experiment) -> MAXIM:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `MAXIM`.
    """
    return MAXIM(**experiment.network)


def _recipe(model, recipe, stages, dataset, config):
    """The paper's training; `stages` of the plain "maxim", other variants say it themselves."""
    network = dict(VARIANTS[model])
    if model == "maxim":
        network["num_stages"] = stages
    return Experiment(
        model=model,
        recipe=recipe,
        network=network,
        dataset=dataset,
        config=config,
        loss="charbonnier_frequency",  # paper
        steps=500_000,  # ours
        batch=16,  # ours
        crop=256,  # paper
        augment=("flip_rotate",),  # paper: flips and 90-degree rotations; MixUp, see above
        learning_rate=2e-4,  # paper
        end_learning_rate=1e-7,  # paper
        schedule="cosine",  # paper
    )


def gopro(model: str = "maxim") -> Experiment:
    """The paper's deblurring. Published: 32.86 dB / 0.961 on GoPro's test set.

    Args:
      model: a key of `VARIANTS`.
    """
    # The linear average is what the papers use.
    return _recipe(model, "gopro", stages=3, dataset="gopro", config="blur")


def reds(model: str = "maxim") -> Experiment:
    """The paper's deblurring on REDS. Published: 28.93 dB / 0.865.

    As far as we know on the frames with JPEG damage of NTIRE 2021 (`train_blur_jpeg`), which the
    data set `reds` does not hold: pass their folders.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "reds", stages=3, dataset="folder", config="pairs")


def realblur_r(model: str = "maxim") -> Experiment:
    """The paper's deblurring on RealBlur-R. Published: 39.45 dB / 0.962.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "realblur_r", stages=3, dataset="realblur", config="r")


def realblur_j(model: str = "maxim") -> Experiment:
    """The paper's deblurring on RealBlur-J. Published: 32.84 dB / 0.935.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "realblur_j", stages=3, dataset="realblur", config="j")


def sidd(model: str = "maxim") -> Experiment:
    """The paper's denoising, on 320 pictures of SIDD. Published: 39.96 dB / 0.960.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "sidd", stages=3, dataset="folder", config="pairs")


def rain13k(model: str = "maxim") -> Experiment:
    """The paper's deraining, on 13,712 pictures. Published: 33.24 dB / 0.933, mean of five sets.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "rain13k", stages=2, dataset="folder", config="pairs")


def raindrop(model: str = "maxim") -> Experiment:
    """The paper's removal of raindrops. Published: 31.87 dB / 0.935.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "raindrop", stages=2, dataset="folder", config="pairs")


def reside_indoor(model: str = "maxim") -> Experiment:
    """The paper's dehazing, on RESIDE's rooms. Published: 38.11 dB / 0.991 on SOTS indoor.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "reside_indoor", stages=2, dataset="folder", config="pairs")


def reside_outdoor(model: str = "maxim") -> Experiment:
    """The paper's dehazing, outdoors. Published: 34.19 dB / 0.985 on SOTS outdoor.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "reside_outdoor", stages=2, dataset="folder", config="pairs")


def lol(model: str = "maxim") -> Experiment:
    """The paper's enhancement of dark pictures, on 485 of LOL. Published: 23.43 dB / 0.863.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "lol", stages=2, dataset="folder", config="pairs")


def fivek(model: str = "maxim") -> Experiment:
    """The paper's retouching, on 4,500 pictures of FiveK. Published: 26.15 dB / 0.945.

    Args:
      model: a key of `VARIANTS`.
    """
    return _recipe(model, "fivek", stages=2, dataset="folder", config="pairs")


def quick(model: str = "maxim") -> Experiment:
    """A light MAXIM on out-of-focus blur, for some minutes on two CPU cores. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    network = {
        "features": 8,
        "num_stages": 1,
        "num_groups": 1,
        "num_bottleneck_blocks": 1,
        "block_size_hr": 8,
        "block_size_lr": 4,
    }
    return quick_training(model, network, "charbonnier_frequency", crop=64)


RECIPES = {
    "gopro": gopro,
    "reds": reds,
    "realblur_r": realblur_r,
    "realblur_j": realblur_j,
    "sidd": sidd,
    "rain13k": rain13k,
    "raindrop": raindrop,
    "reside_indoor": reside_indoor,
    "reside_outdoor": reside_outdoor,
    "lol": lol,
    "fivek": fivek,
    "quick": quick,
}
