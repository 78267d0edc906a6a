"""Trainings of SRN-DeblurNet: the paper's, and a light one for ten minutes on a CPU.

Every number has its source beside it: "paper" is Tao et al. 2018, "code" the authors' published
TensorFlow 1 implementation.
"""

from __future__ import annotations

import itertools

from restore_tf.experiments.candidate import Candidate
from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training
from srn_tf.model import SRN, VARIANTS

_GOPRO_TRAINING_PAIRS = 2103


def build(experiment: Experiment) -> SRN:
    """Returns the experiment's network.

    Args:
      experiment: its `network` holds the arguments of `SRN`.
    """
    return SRN(**experiment.network)


def gopro(model: str = "srn") -> Experiment:
    """The paper's training on GoPro. Published: 30.26 dB / 0.9342 on the test set.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="gopro",
        network=dict(VARIANTS[model]),
        dataset="gopro",
        config="blur",  # the linear average, what the papers use
        loss="multi_scale_squared_error",  # paper, section 3.3, kappa = 1
        # Paper, section 4: 2,000 epochs. (Code: 4,000; its released weights are of step 523,000.)
        steps=2000 * _GOPRO_TRAINING_PAIRS // 16,
        batch=16,  # paper, section 4
        crop=256,  # paper, section 4
        augment=(),  # paper: random crops alone
        learning_rate=1e-4,  # paper, section 4
        end_learning_rate=1e-6,  # paper, section 4; code: 0
        schedule="polynomial",
        decay_power=0.3,  # paper, section 4
        beta_1=0.9,  # paper, section 4
        beta_2=0.999,  # paper, section 4
        epsilon=1e-8,  # paper, section 4
        recurrent_clip_norm=3.0,  # paper, section 4; code: written but switched off
    )


def quick(model: str = "srn") -> Experiment:
    """A light SRN on out-of-focus blur, for ten minutes on two CPU cores. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    network = {**VARIANTS[model], "width": 8, "res_blocks": 2, "global_skip": True}
    loss = "multi_scale_squared_error"
    return quick_training(model, network, loss, crop=96, recurrent_clip_norm=3.0)


def light(model: str = "srn") -> Experiment:
    """A light SRN for photos of every kind: 565,000 multiplications a pixel. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    return _photo_training(model, "light", {"width": 32, "res_blocks": 1})


def tiny(model: str = "srn") -> Experiment:
    """As `light`, with 117,000 multiplications a pixel: features at half the size.

    Args:
      model: a key of `VARIANTS`.
    """
    network = {"width": 32, "res_blocks": 1, "stride": 2, "recurrent": False}
    return _photo_training(model, "tiny", network)


def _photo_training(model, recipe, network):
    """On shots of every kind, so that nothing is harmed."""
    return Experiment(
        model=model,
        recipe=recipe,
        network={**VARIANTS[model], **network, "global_skip": True, "gate": True},
        dataset="synthetic",
        config="photo",
        loss="charbonnier + 0.05*edge",
        steps=17_000,
        progressive=[(0, 64, 4), (3000, 96, 4), (11_000, 192, 2)],  # many small steps first
        batch=2,
        crop=192,  # the whole of a shot: the gate is fitted to these, and must see what is sharp
        augment=("flip_rotate",),
        optimizer="muon",
        learning_rate=5e-4,  # at 1e-3 the gains of the first five minutes were lost again
        end_learning_rate=1e-6,
        recurrent_clip_norm=3.0,
        global_clip_norm=0.5,
        ema_momentum=0.999,
    )


RECIPES = {"gopro": gopro, "quick": quick, "tiny": tiny, "light": light}
COMPARED = True  # `restore-tf compare` trains its light recipe by default


def _candidate(width, scales, res_blocks):
    names = [
        f"SRN width {width}",
        f"{scales} scale{'s' if scales > 1 else ''}",
        f"{res_blocks} ResBlock{'s' if res_blocks > 1 else ''}",
    ]
    return Candidate(
        ", ".join(names),
        {"width": width, "scales": scales, "res_blocks": res_blocks},
        # Scales share their layers; each has a quarter of the pixels of the next finer one.
        counted={"scales": 1},
        repeated=sum(4.0**-scale for scale in range(scales)),
    )


# The candidates of `export.py --plan`, and small networks that it times to estimate theirs:
# (constructor arguments, side of the picture in pixels).
PLAN_CANDIDATES = [
    _candidate(*each) for each in itertools.product((8, 16, 24, 32), (1, 2, 3), (1, 2, 3))
]
PLAN_PROBES = [({"width": width, "scales": 1, "res_blocks": 1}, 256) for width in (8, 32)]
# Memory of the layers' int8 outputs, per pixel and channel at full resolution, as LiteRT lays them
# out.
PLAN_INT8_BYTES = 11.0
