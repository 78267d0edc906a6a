"""The training behind every paper's recipe "quick": a light network, trained in minutes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_tf.experiments.experiment import Experiment


def quick_training(
    model: str, network: Mapping[str, Any], loss: str, crop: int, **changes: Any
) -> Experiment:
    """Returns a training on built-in pictures that takes minutes on two CPU cores; not a paper's.

    It deblurs out-of-focus pictures unless `changes` name another config: free camera shake takes
    hours to learn, blur of a fixed, round shape takes minutes.

    Args:
      model: a paper's name or one of its variants.
      network: arguments of its constructor that make it light.
      loss: name of a loss of `networks.losses`.
      crop: side of the crops, in pixels.
      changes: other fields of the `Experiment`.
    """
    fields: dict[str, Any] = {
        "dataset": "synthetic",
        "config": "defocus",
        "steps": 2000,
        "batch": 4,
        "augment": ("flip_rotate",),
        "learning_rate": 1e-3,
        "end_learning_rate": 1e-5,
        "schedule": "cosine",
    } | changes
    return Experiment(
        model=model, recipe="quick", network=dict(network), loss=loss, crop=crop, **fields
    )
