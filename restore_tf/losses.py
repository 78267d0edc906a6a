"""Losses, each one value per image.

A loss takes (sharp, stages): the sharp images (batch, height, width, channels) in [0, 1] and the
list that a `Restorer` returns. It returns (batch,) float32. The training loop reduces it once, by
the global batch: a loss that reduced by itself would be counted once per replica under
`tf.distribute`, so that updates come out as many times too large as there are replicas.
"""

from __future__ import annotations

from keras import ops

from restore_tf.errors import UserError
from restore_tf.layers import legacy_downsample


def squared_error(sharp, restored):
    """Mean squared error over each image's pixels and channels; (batch,)."""
    difference = ops.cast(restored, "float32") - ops.cast(sharp, "float32")
    return ops.mean(ops.square(difference), axis=(1, 2, 3))


def multi_scale_squared_error(sharp, stages):
    """Squared error summed over scales, all weights 1 (SRN, section 3.3, equation 6).

    Args:
      sharp: (batch, height, width, channels).
      stages: coarse to fine, each twice the size of the one before, the last as large as `sharp`.
        The sharp image is brought to each scale by TF1's resize, as the network's input is.
    """
    return sum(
        squared_error(legacy_downsample(sharp, 2**exponent), restored)
        for exponent, restored in zip(reversed(range(len(stages))), stages, strict=True)
    )


LOSSES = {"multi_scale_squared_error": multi_scale_squared_error}


def get(name: str):
    """Returns the loss of that name.

    Raises:
      UserError: there is none; lists those there are.
    """
    if name not in LOSSES:
        raise UserError(f"loss {name}: no such loss; there are {', '.join(LOSSES)}.")
    return LOSSES[name]
