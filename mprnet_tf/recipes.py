"""Trainings of MPRNet: the paper's three tasks, and a light one for some minutes on a CPU.

Every number has its source beside it: "paper" is Zamir et al. 2021, "code" the behaviour of the
authors' published training, as described to us; the code itself was not read.
"""

from __future__ import annotations

import itertools

from mprnet_tf.model import TASKS, VARIANTS, MPRNet
from restore_tf.experiments.candidate import Candidate
from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training

__all__ = ["PLAN_CANDIDATES", "PLAN_INT8_BYTES", "PLAN_PROBES", "RECIPES", "VARIANTS", "build"]

_BATCH = 16  # paper, section 4.2
_GOPRO_PAIRS = 2103
_RAIN13K_PAIRS = 13712
# The paper does not say how many patches it cut from SIDD's 320 pictures; this many 512x512 crops
# are what later work uses. Assumed.
_SIDD_PATCHES = 30608


def build(experiment: Experiment) -> MPRNet:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `MPRNet`.
    """
    return MPRNet(**experiment.network)


def inference_options(experiment: Experiment, options: dict) -> dict:
    """Returns the constructor arguments of a user's options.

    Args:
      experiment: the run's.
      options: {name: value}; changed in place.
    """
    if options.get("local_attention") is True:
        options["local_attention"] = experiment.crop
    return options


def _steps(epochs, pairs):
    return epochs * pairs // _BATCH


def gopro(model: str = "mprnet") -> Experiment:
    """The paper's deblurring. Published: 32.66 dB / 0.959 on GoPro's test set.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="gopro",
        network=dict(TASKS["deblurring"]),
        dataset="gopro",
        config="blur",  # the linear average, what the papers use
        loss="charbonnier_edge",  # paper, equation 1
        steps=_steps(3000, _GOPRO_PAIRS),  # code: 3,000 epochs (paper: 4e5 iterations)
        batch=_BATCH,
        crop=256,  # paper, section 4.2
        augment=("flip_rotate", "saturation"),  # flips: paper, section 4.2; saturation: code
        learning_rate=2e-4,  # paper, section 4.2
        end_learning_rate=1e-6,  # paper, section 4.2
        schedule="cosine",
        warmup_steps=_steps(3, _GOPRO_PAIRS),  # code
    )


def sidd(model: str = "mprnet") -> Experiment:
    """The paper's denoising, on SIDD. Published: 39.71 dB / 0.958 on SIDD's validation set.

    Without SIDD: `--dataset synthetic --config noise25`, Gaussian noise on the embedded pictures.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="sidd",
        network=dict(TASKS["denoising"]),
        dataset="folder",  # input/ and target/ of patches cut from SIDD
        config="pairs",
        loss="charbonnier_clipped",  # code: without edge loss, outputs clipped
        steps=_steps(80, _SIDD_PATCHES),  # code
        # Code: the cosine is laid out over more epochs than are run, so it stops above 1e-6.
        schedule_steps=_steps(117, _SIDD_PATCHES),
        batch=_BATCH,
        crop=128,  # code
        augment=("flip_rotate",),  # paper, section 4.2
        learning_rate=2e-4,  # paper, section 4.2
        end_learning_rate=1e-6,  # paper, section 4.2
        schedule="cosine",
        warmup_steps=_steps(3, _SIDD_PATCHES),  # code
    )


def rain13k(model: str = "mprnet") -> Experiment:
    """The paper's deraining, on Rain13K.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="rain13k",
        network=dict(TASKS["deraining"]),
        dataset="folder",  # input/ and target/ of Rain13K
        config="pairs",
        loss="charbonnier_edge",  # paper, equation 1
        steps=_steps(250, _RAIN13K_PAIRS),  # code
        batch=_BATCH,
        crop=256,  # paper, section 4.2
        augment=("flip_rotate",),  # paper, section 4.2
        learning_rate=2e-4,  # paper, section 4.2
        end_learning_rate=1e-6,  # paper, section 4.2
        schedule="cosine",
        warmup_steps=_steps(3, _RAIN13K_PAIRS),  # code
    )


def quick(model: str = "mprnet") -> Experiment:
    """A light MPRNet on out-of-focus blur, for some minutes on two CPU cores. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    network = {"n_feat": 16, "scale_unetfeats": 8, "scale_orsnetfeats": 8, "num_cab": 2}
    return quick_training(model, network, "charbonnier_edge", crop=64, warmup_steps=50)


RECIPES = {"gopro": gopro, "sidd": sidd, "rain13k": rain13k, "quick": quick}


def _candidate(task, stages):
    n_feat = TASKS[task]["n_feat"]
    name = f"MPRNet n_feat {n_feat}, {stages} stage{'s' if stages > 1 else ''}"
    return Candidate(name, {**TASKS[task], "stages": stages})


# The candidates of `export.py --plan`, and small networks that it times to estimate theirs:
# (constructor arguments, side of the picture in pixels).
PLAN_CANDIDATES = [
    _candidate(*each)
    for each in itertools.product(("deraining", "denoising", "deblurring"), (1, 2, 3))
]
PLAN_PROBES = [
    ({"n_feat": 16, "scale_unetfeats": 8, "scale_orsnetfeats": 8, "stages": 1}, 128),
    ({**TASKS["deraining"], "stages": 1}, 128),
]
# Memory of the layers' int8 outputs, per pixel and channel at full resolution, as LiteRT lays them
# out.
PLAN_INT8_BYTES = 20.0
