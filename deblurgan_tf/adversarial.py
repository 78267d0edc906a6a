"""Adversarial losses of discriminators and generators.

A loss takes the logits of the sharp and the restored pictures, (batch, h, w, 1), and the means of
each over the GLOBAL batch; it returns one value per image, (batch,) float32.

RaGAN-LS (Jolicoeur-Martineau: "The relativistic discriminator", 2018; DeblurGAN-v2, equation 2)
compares each logit with the mean of the other kind. The means are passed as numbers, not as
functions of the weights: under tf.distribute, and in micro-batches, a replica sees but a part of
the batch. The gradient through the means has a closed form, which is added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from keras import ops


class Means(NamedTuple):
    """Mean logits of the global batch, scalars without gradients."""

    real: object
    fake: object


def _relativistic(real, fake, means, margin):
    """[mean (real - E fake - margin)^2 + mean (fake - E real + margin)^2] / 2 for each image."""
    first = _mean(ops.square(real - means.fake - margin))
    second = _mean(ops.square(fake - means.real + margin))
    # With m = E real - E fake - margin, E fake's part of the gradient is -m d(E fake), that of
    # E real m d(E real), both after the 1/2. `_only_gradient` has them and the value 0.
    gap = means.real - means.fake - margin
    through_means = gap * _only_gradient(_mean(real) - _mean(fake))
    return 0.5 * (first + second) + through_means


def _only_gradient(x):
    return x - ops.stop_gradient(x)


def _mean(logits):
    return ops.mean(logits, axis=(1, 2, 3))


def ragan_ls_critic(real, fake, means):
    """RaGAN-LS of a discriminator.

    Args:
      real: logits of the sharp pictures, (batch, h, w, 1).
      fake: logits of the restored pictures.
      means: of both over the global batch.

    Returns:
      (batch,) float32.
    """
    return _relativistic(real, fake, means, margin=1.0)


def ragan_ls_generator(real, fake, means):
    """RaGAN-LS of a generator: that of a discriminator with sharp and restored exchanged.

    Args:
      real: logits of the sharp pictures, (batch, h, w, 1).
      fake: logits of the restored pictures.
      means: of both over the global batch.

    Returns:
      (batch,) float32.
    """
    return _relativistic(real, fake, means, margin=-1.0)


def lsgan_critic(real, fake, means):
    """Least squares GAN (Mao et al., 2017) of a discriminator: 1 for sharp, 0 for restored.

    Args:
      real: logits of the sharp pictures, (batch, h, w, 1).
      fake: logits of the restored pictures.
      means: not used.

    Returns:
      (batch,) float32.
    """
    return 0.5 * (_mean(ops.square(real - 1.0)) + _mean(ops.square(fake)))


def lsgan_generator(real, fake, means):
    """Least squares GAN of a generator.

    Args:
      real: not used.
      fake: logits of the restored pictures, (batch, h, w, 1).
      means: not used.

    Returns:
      (batch,) float32.
    """
    return _mean(ops.square(fake - 1.0))


def bce_critic(real, fake, means):
    """Cross entropy (Goodfellow et al., 2014) of a discriminator.

    Args:
      real: logits of the sharp pictures, (batch, h, w, 1).
      fake: logits of the restored pictures.
      means: not used.

    Returns:
      (batch,) float32.
    """
    return _mean(ops.softplus(-real)) + _mean(ops.softplus(fake))


def bce_generator(real, fake, means):
    """Cross entropy of a generator, in the form that does not saturate.

    Args:
      real: not used.
      fake: logits of the restored pictures, (batch, h, w, 1).
      means: not used.

    Returns:
      (batch,) float32.
    """
    return _mean(ops.softplus(-fake))


@dataclasses.dataclass(frozen=True)
class Kind:
    """An adversarial loss: functions of (real, fake, means), one value per image each."""

    critic: Callable
    generator: Callable


KINDS = {
    "ragan_ls": Kind(ragan_ls_critic, ragan_ls_generator),
    "lsgan": Kind(lsgan_critic, lsgan_generator),
    "bce": Kind(bce_critic, bce_generator),
}
