"""Noise levels and the sampling step of diffusion models.

`level` is alpha-bar, the share of signal power: a noisy image is

    x = sqrt(level) target + sqrt(1 - level) noise

with standard normal noise and a target of about unit variance. All functions take Keras
tensors and NumPy arrays, and compute in their precision.
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

LOWEST, HIGHEST = 1e-4, 0.9999  # levels that training and sampling keep between
_OFFSET = 0.008  # keeps the first steps from being too small (Nichol and Dhariwal, equation 17)


def cosine_level(time, lowest: float = LOWEST, highest: float = HIGHEST):
    """Returns the levels of the cosine schedule (Nichol and Dhariwal 2021, equation 17), clipped.

    Args:
      time: in [0, 1]: 0 is the clean image, 1 is noise alone. A tensor, an array or a number.
      lowest: levels are at least this; 0 for the schedule itself.
      highest: levels are at most this; 1 for the schedule itself.
    """
    library = np if isinstance(time, (np.ndarray, float)) else ops
    angle = (time + _OFFSET) / (1 + _OFFSET) * (math.pi / 2)
    first = math.cos(_OFFSET / (1 + _OFFSET) * math.pi / 2)
    return library.clip((library.cos(angle) / first) ** 2, lowest, highest)


def linear_levels(steps: int = 2000, first: float = 1e-6, last: float = 1e-2) -> np.ndarray:
    """Returns the levels of linearly rising noise variances: SR3's and Palette's.

    Args:
      steps: number of levels.
      first: variance of the first step.
      last: variance of the last step.

    Returns:
      (steps,) float64.
    """
    return np.cumprod(1.0 - np.linspace(first, last, steps))


def sampling_levels(steps: int) -> list[float]:
    """Returns `steps` + 1 levels of the cosine schedule, from noise to clean.

    The last one is `HIGHEST`, which leaves a hundredth of noise; `Diffusion` ends at 1, where the
    step gives the predicted target itself.

    Args:
      steps: evaluations of the denoiser.
    """
    return [float(level) for level in cosine_level(np.linspace(1.0, 0.0, steps + 1))]


def velocity(target, noise, level):
    """Returns the network's target, v = sqrt(level) noise - sqrt(1 - level) target.

    Salimans and Ho 2022. Unlike the noise it is informative at every level, so few steps do.

    Args:
      target: of any shape.
      noise: of the same shape.
      level: in (0, 1), a number or of a shape that broadcasts.
    """
    return level**0.5 * noise - (1 - level) ** 0.5 * target


def target_of(noisy, velocity, level):
    """Returns the target of a velocity.

    Args:
      noisy: the noisy image, of any shape.
      velocity: of the same shape.
      level: as for `velocity`.
    """
    return level**0.5 * noisy - (1 - level) ** 0.5 * velocity


def noise_of(noisy, velocity, level):
    """Returns the noise of a velocity.

    Args:
      noisy: the noisy image, of any shape.
      velocity: of the same shape.
      level: as for `velocity`.
    """
    return (1 - level) ** 0.5 * noisy + level**0.5 * velocity


def step(target, noise, level, following, eta=0.0, fresh=0.0):
    """Returns the result of one DDIM step (Song et al. 2021, equation 12).

    Args:
      target: as predicted at `level`.
      noise: as predicted at `level`.
      level: the noise level before the step.
      following: the level after it, above `level`.
      eta: 0 for a deterministic step, 1 for DDPM's.
      fresh: standard normal noise, needed where eta is not 0.
    """
    spread = eta * ((1 - following) / (1 - level)) ** 0.5 * (1 - level / following) ** 0.5
    return following**0.5 * target + (1 - following - spread**2) ** 0.5 * noise + spread * fresh
