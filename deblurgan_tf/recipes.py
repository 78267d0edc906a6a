"""Trainings of DeblurGAN-v2, of DeblurGAN's generator, and of a student project's.

Every number has its source beside it: "v2" is Kupyn et al. 2019, "v1" Kupyn et al. 2018, "code" the
authors' published training of the same, "project" the student's notebook, "ours" a choice of ours.

Both papers compare features of VGG19, which this package does not contain. Without them Charbonnier
and edge loss carry the content; README.md says how to add features.

The best weights are those of the lowest LPIPS where its weights are installed, else the last: PSNR
would choose those that an adversary has changed least.
"""

from __future__ import annotations

import dataclasses

from deblurgan_tf import discriminators
from deblurgan_tf.adversary import Adversary
from deblurgan_tf.model import GENERATORS, VARIANTS
from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training
from restore_tf.networks import pretrained
from restore_tf.system.log import logger

__all__ = ["COMPARED", "RECIPES", "VARIANTS", "build", "make_parts", "make_step"]

_GOPRO_PAIRS = 2103
_BATCH = 4  # ours; code: 1, with means over its last 50 batches, which we do not build


def build(experiment: Experiment):
    """Returns the experiment's generator.

    Args:
      experiment: its `network` holds the generator's arguments, its `training` an `Adversary`'s.

    Raises:
      UserError: `experiment.training` does not describe an adversary.
    """
    Adversary.from_experiment(experiment)
    return GENERATORS[experiment.model](**experiment.network)


def make_parts(experiment: Experiment) -> dict:
    """Returns {name: built discriminator}; see `restore_tf.training.state.State`.

    Args:
      experiment: its `training` holds an `Adversary`'s fields.
    """
    adversary = Adversary.from_experiment(experiment)
    return discriminators.make(adversary.discriminators, adversary.width)


def make_step(experiment: Experiment, strategy, state, accumulate: int = 1):
    """Returns a step that updates the discriminators, then the generator, once each.

    Its losses: "loss", the generator's, and for each discriminator NAME its own, NAME, and its mean
    logits of sharp and of restored pictures, NAME_real and NAME_fake. Steps of the warm-up have
    "loss" alone.

    Args:
      experiment: its `training` holds an `Adversary`'s fields.
      strategy: the tf.distribute strategy that `state` was made under.
      state: the `State`, with the parts of `make_parts`.
      accumulate: micro-batches that each replica's images are cut into.
    """
    from deblurgan_tf import step  # TensorFlow's; the networks run on every Keras backend

    adversary = Adversary.from_experiment(experiment)
    if adversary.warmup >= experiment.steps:
        logger.warning(
            "training.warmup %d: the discriminators never reach the generator in %d steps; pass "
            "more --steps, or a smaller --set training.warmup.",
            adversary.warmup,
            experiment.steps,
        )
    return step.make_step(adversary, strategy, state, accumulate)


def gopro(model: str = "deblurgan") -> Experiment:
    """The papers' trainings on GoPro. Published on its test set: v2 28.17 dB, v1 28.70 dB.

    Args:
      model: a key of `VARIANTS`.
    """
    if model == "deblurgan_resnet":
        return _gopro_2018(model)
    if model == "deblurgan_seed":
        return _gopro_seed(model)
    epoch = 1000  # pictures; code
    return Experiment(
        model=model,
        recipe="gopro",
        network=dict(VARIANTS[model]),
        dataset="gopro",
        config="blur",  # the linear average; v2, table 1. v2 trains on DVD and NFS, too
        loss="charbonnier_edge",  # ours; code: 10 mse + 0.006 of VGG19's features
        steps=200 * epoch,  # code: 200 epochs, batches of 1; v2: 300 epochs
        batch=_BATCH,
        crop=256,  # code
        augment=("flip_rotate",),  # ours; code distorts and corrupts the pictures besides
        learning_rate=1e-4,  # v2
        end_learning_rate=1e-7,  # code means this; a slip in its slope ends at 2.5e-5
        schedule="polynomial",  # linear; code
        constant_steps=50 * epoch,  # code; v2: half of the training
        beta_1=0.9,  # code
        beta_2=0.999,  # code
        best_metric=_best_metric(),
        training=_against(
            kind="ragan_ls",  # v2, equation 2
            weight=0.001,  # code; v2: 0.01
            discriminators="double",  # v2, section 3.3
            width=64,  # code
        ),
    )


def _gopro_2018(model):
    """The 2018 generator by its schedule, with v2's losses: WGAN-GP is not built."""
    steps = 300 * _GOPRO_PAIRS // _BATCH  # v1: 300 epochs, batches of 1
    return Experiment(
        model=model,
        recipe="gopro",
        network={**VARIANTS[model], "dropout": 0.5},  # v1
        dataset="gopro",
        config="blur",
        loss="charbonnier_edge",  # ours; v1: 100 times VGG19's features
        steps=steps,
        batch=_BATCH,
        crop=256,  # v1. code shrinks GoPro to 640 x 360 before
        augment=("flip_rotate",),  # code: flips
        learning_rate=1e-4,  # v1
        end_learning_rate=0.0,  # v1
        schedule="polynomial",  # v1: linear
        constant_steps=steps // 2,  # v1: 150 epochs, then 150 of decay
        beta_1=0.5,  # code
        beta_2=0.999,  # code
        best_metric=_best_metric(),
        training=_against(kind="ragan_ls", weight=0.001, discriminators="double", width=64),  # v2
    )


def _gopro_seed(model):
    """The project's, repaired: on pairs, and with a discriminator that reaches the generator."""
    return Experiment(
        model=model,
        recipe="gopro",
        network=dict(VARIANTS[model]),
        dataset="gopro",  # ours; project: sharp pictures alone
        config="blur",
        loss="mse",  # project, with features of VGG19 besides
        steps=60 * _GOPRO_PAIRS // 4,  # project: 60 epochs
        batch=4,  # project
        crop=128,  # project: whole pictures shrunk to this
        learning_rate=2e-4,  # project
        end_learning_rate=2e-4,
        schedule="constant",  # project
        best_metric=_best_metric(),
        training=_against(
            kind="bce",  # project
            weight=0.001,  # ours; project: 0
            discriminators="seed",
            width=64,  # project
        ),
    )


_LIGHT = {
    "deblurgan": {"stem": 16, "channels": (8, 12, 16, 24, 32, 48), "pyramid": 32, "heads": 16},
    "deblurgan_resnet": {"width": 16, "blocks": 3},
    "deblurgan_seed": {"width": 16, "blocks": 4},
}


def quick(model: str = "deblurgan") -> Experiment:
    """A light generator on out-of-focus blur, for minutes on two CPU cores. Not the papers'.

    Args:
      model: a key of `VARIANTS`.
    """
    light = _LIGHT.get(model, _LIGHT["deblurgan"])
    return quick_training(
        model,
        {**VARIANTS[model], **light},
        "l1",
        64,
        best_metric=_best_metric(),
        training=_against(
            kind="ragan_ls", weight=0.001, discriminators="patch", width=16, warmup=300
        ),
    )


def _best_metric():
    return "lpips" if pretrained.is_installed() else "last"


def _against(**arguments):
    """Everything that a training against discriminators takes, so that --set knows it."""
    return dataclasses.asdict(Adversary(**arguments))


RECIPES = {"gopro": gopro, "quick": quick}
COMPARED = True  # `restore-tf compare` trains its light recipe by default
