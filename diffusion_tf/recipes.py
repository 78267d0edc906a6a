"""Trainings of the predict-and-refine diffusion model.

After Whang et al. 2022. We could not check the paper's numbers: these are ours, for one machine.
"""

from __future__ import annotations

import dataclasses

from diffusion_tf.model import TOY, VARIANTS, Diffusion
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments.experiment import Experiment
from restore_tf.experiments.quick import quick_training


def build(experiment: Experiment) -> Diffusion:
    """Returns the experiment's network.

    A predictor of another paper is given in `network` as {"model": …, "network": …}.

    Args:
      experiment: its `network` holds the arguments of `Diffusion`.
    """
    arguments = dict(experiment.network)
    predictor = arguments["predictor"]
    if "model" in predictor:
        other = dataclasses.replace(
            experiment, model=predictor["model"], network=predictor["network"]
        )
        arguments["predictor"] = experiments.construct(other)
    return Diffusion(**arguments)


def with_predictor(experiment: Experiment, predictor: Experiment) -> Experiment:
    """Returns the experiment with another run's network, frozen, as its first pass.

    Args:
      experiment: of a `Diffusion`.
      predictor: the other run's.
    """
    named = {"model": predictor.model, "network": dict(predictor.network)}
    network = {**experiment.network, "predictor": named}
    return dataclasses.replace(experiment, network=network)


def gopro(model: str = "diffusion") -> Experiment:
    """GoPro, for one machine with a large accelerator.

    Args:
      model: a key of `VARIANTS`.
    """
    return Experiment(
        model=model,
        recipe="gopro",
        network=dict(VARIANTS[model]),
        dataset="gopro",
        config="blur",
        loss="l1",  # of the predictor; the denoiser's is the model's own
        steps=500_000,
        batch=64,
        crop=128,
        augment=("flip_rotate",),
        learning_rate=1e-4,
        end_learning_rate=1e-4,
        schedule="constant",
        warmup_steps=5_000,
        ema_momentum=0.9999,
    )


def quick(model: str = "diffusion") -> Experiment:
    """Small networks on out-of-focus blur, for ten minutes on two CPU cores. Not the paper's.

    Args:
      model: a key of `VARIANTS`.
    """
    return quick_training(model, TOY, "l1", 64, batch=8, ema_momentum=0.99)


RECIPES = {"gopro": gopro, "quick": quick}
COMPARED = True  # `restore-tf compare` trains its light recipe by default
