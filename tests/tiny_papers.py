"""Every paper's networks in a tiny form: what `conformance_test.py` and
`conformance_export_test.py` go through.

A new paper adds its row to PAPERS and nothing else.
"""

import dataclasses

import numpy as np

from baselines_tf import dncnn, edsr, plain, srcnn, unet
from deblurgan_tf import recipes as deblurgan
from diffusion_tf import recipes as diffusion
from maxim_tf import recipes as maxim
from mprnet_tf import recipes as mprnet
from restore_tf.experiments import experiment
from srn_tf import recipes as srn

# Constructor arguments that make each paper's network tiny, or that of one of its models.
TINY = {
    "srn": {"width": 4, "res_blocks": 1, "scales": 2},
    "mprnet": {
        "n_feat": 8,
        "scale_unetfeats": 4,
        "scale_orsnetfeats": 4,
        "num_cab": 1,
        "reduction": 1,
    },
    "maxim": {
        "features": 4,
        "num_stages": 1,  # TensorFlow takes half a minute to trace a training step of two
        "num_groups": 1,
        "num_bottleneck_blocks": 1,
        "block_size_hr": 4,
        "block_size_lr": 2,
    },
    "srcnn": {"kernels": (5, 1, 3), "filters": (4, 4), "global_skip": False},
    "dncnn": {"depth": 4, "width": 4, "bias": "ends", "residual": True},
    "unet": {"width": 2, "global_skip": False},
    "edsr": {"features": 4, "blocks": 1, "residual_scale": 1.0},
    "plain": {"filters": (4, 4), "global_skip": False},
    "deblurgan": {"stem": 4, "channels": (4, 4, 4, 4, 4, 4), "pyramid": 4, "heads": 4},
    "deblurgan_resnet": {"width": 4, "blocks": 1, "dropout": 0.5},
    "deblurgan_seed": {"width": 4, "blocks": 2},
    "diffusion": {
        "predictor": {"width": 4, "multipliers": [1, 2], "blocks": 1},
        "denoiser": {"width": 4, "multipliers": [1, 2], "blocks": 1},
        "steps": 2,
    },
}
PAPERS = {
    "srn": srn,
    "mprnet": mprnet,
    "maxim": maxim,
    "srcnn": srcnn,
    "dncnn": dncnn,
    "unet": unet,
    "edsr": edsr,
    "plain": plain,
    "deblurgan": deblurgan,
    "diffusion": diffusion,
}
TOYS = ("enlarger", "onlyluma", "sampler", "adversary")  # tiny as they are; see tests/toys
ADVERSARYS_LOSS = "charbonnier_clipped"  # no network's step is traced for this loss alone
# {name: (model, recipe)}; the toys must be announced before they are made.
CASES = {
    f"{model}/{recipe}": (model, recipe)
    for paper in PAPERS.values()
    for model in paper.VARIANTS
    for recipe in paper.RECIPES
} | {f"{toy}/tiny": (toy, "tiny") for toy in TOYS}


def tiny(case):
    """The recipe of a case with a tiny network."""
    model, recipe = CASES[case]
    full = experiment.load_recipe(model, recipe)
    network = {**full.network, **TINY.get(row(case), {})}
    return dataclasses.replace(full, network=network, batch=2, steps=2)


def paper(case):
    """The paper that a case belongs to."""
    return CASES[case][0].split("_")[0]


def row(case):
    """The row of `TINY` that a case is made by."""
    model, _ = CASES[case]
    return model if model in TINY else paper(case)


def representatives(fields):
    """The cases that have a field with a value that no earlier one of their row has.

    Args:
      fields: function of a case, no toy, that returns {field: value}. Every toy is one case.
    """
    chosen, seen = [], set()
    for case in CASES:
        found = {} if case.startswith(TOYS) else fields(case)
        values = {(row(case), field, repr(value)) for field, value in found.items()}
        if not values or not values <= seen:
            chosen.append(case)
        seen |= values
    return chosen


def training(case):
    """What a training step does beside the network, as a set."""
    recipe = tiny(case)
    clips = [recipe.recurrent_clip_norm is not None, recipe.global_clip_norm is not None]
    return {("loss", recipe.loss), ("clipped", *clips), ("optimizer", recipe.optimizer)}


def _steps():
    """The exported networks; cases with a loss, clips or optimizer that none of these has."""
    chosen, seen = [], {("loss", ADVERSARYS_LOSS)}
    for case in [*EXPORTED, *CASES]:
        found = set() if case.startswith(TOYS) else training(case)
        if not found <= seen or (case in EXPORTED and case not in chosen):
            chosen.append(case)
        seen |= found
    return chosen


# The first of every paper: its own training.
FIRST = list({paper(case): case for case in reversed(CASES)}.values())[::-1]
NETWORKS = representatives(lambda case: tiny(case).network or {"": ""})
# Networks that are not exported: every operation of theirs is one of the networks named here, which
# are; `conformance_export_test.py` looks. They differ in a number alone, or lack a layer.
REPRESENTED = {
    "srn/quick": ["srn/gopro", "srn/tiny"],  # with the recurrence of one, the skip of the other
    "srn_lstm/gopro": ["srn/gopro"],  # of one channel
    "srcnn_seed915/paper": ["srcnn/paper"],  # of three channels
    "dncnn/quick": ["dncnn/sigma25"],  # its batch norm, said rather than left to the default
    "dncnn_color/sigma25": ["dncnn/sigma25"],  # of three channels
    "dncnn_sr/sigma25": ["dncnn/sigma25", "dncnn_sr/quick"],  # one's batch norm, the other's scale
    "edsr_x3/div2k": ["edsr/div2k"],  # shuffles by 3 and not by 2
    "edsr_x4/div2k": ["edsr/div2k"],  # shuffles twice
    "plain/quick": ["plain/seed"],  # without its sigmoid
    "deblurgan_imagenet/gopro": ["deblurgan/gopro"],  # its backbone pads inside its convolutions
}
# A step of these takes long to trace for a second replica. MPRNet and MAXIM bring no step of their
# own, no clipping and no statistics of batches, which are what replicas must agree on. DeblurGAN's
# step on two replicas is compared with one device's in `papers/deblurgan_training_test.py`.
ONE_REPLICA = ("mprnet/gopro", "maxim/gopro", "deblurgan/gopro")
EXPORTED = [case for case in NETWORKS if case not in REPRESENTED]
STEPS = _steps()


def wake(model):
    """Draws the kernels that start at zero, before which layers neither show nor learn."""
    random = np.random.default_rng(4)
    for variable in model.trainable_variables:
        if variable.path.endswith("kernel") and not np.any(variable.numpy()):
            variable.assign(random.normal(0, 0.05, variable.shape))


def images(model, height=32, width=32, count=2):
    """Random images that a network takes."""
    return np.random.default_rng(0).random((count, height, width, model.channels), np.float32)
