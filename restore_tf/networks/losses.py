"""Losses, each one value per image.

A loss takes (sharp, stages): the sharp images (batch, height, width, channels) in [0, 1] and the
list that a `Restorer` returns. It returns (batch,) float32. The training loop reduces it once, by
the global batch: a loss that reduced by itself would be counted once per replica under
`tf.distribute`, so that updates come out as many times too large as there are replicas.
"""

from __future__ import annotations

from keras import ops

from restore_tf.errors import UserError
from restore_tf.networks.layers import antialiased_downsample, legacy_downsample


def squared_error(sharp, restored):
    """Mean squared error over each image's pixels and channels; (batch,)."""
    difference = ops.cast(restored, "float32") - ops.cast(sharp, "float32")
    return ops.mean(ops.square(difference), axis=(1, 2, 3))


def multi_scale_squared_error(sharp, stages):
    """Squared error summed over scales, all weights 1 (SRN, section 3.3).

    Args:
      sharp: (batch, height, width, channels).
      stages: coarse to fine, each twice the size of the one before, the last as large as `sharp`.
        The sharp image is brought to each scale by TF1's resize, as the network's input is.
    """
    return sum(
        squared_error(legacy_downsample(sharp, 2**exponent), restored)
        for exponent, restored in zip(reversed(range(len(stages))), stages, strict=True)
    )


def charbonnier(sharp, restored, epsilon=1e-3):
    """Charbonnier penalty, mean of sqrt(difference^2 + epsilon^2); (batch,).

    MPRNet, equation 2, averaged over pixels and channels as its published training
    does.

    Args:
      sharp, restored: (batch, height, width, channels) in [0, 1].
      epsilon: in image units; 1e-3 in the paper.
    """
    difference = ops.cast(restored, "float32") - ops.cast(sharp, "float32")
    return ops.mean(ops.sqrt(ops.square(difference) + epsilon**2), axis=(1, 2, 3))


def edge(sharp, restored):
    """Charbonnier penalty between Laplacians (MPRNet, equation 3); (batch,)."""
    return charbonnier(
        _laplacian(ops.cast(sharp, "float32")), _laplacian(ops.cast(restored, "float32"))
    )


def _laplacian(images):
    """What a level of a Laplacian pyramid keeps: x - G(up(down(G(x))))."""
    blurred = _gaussian(images)
    # Taking every second row and column and putting them back among zeros is a mask.
    rows, columns = (
        ops.cast(ops.arange(side, dtype="int32") % 2 == 0, images.dtype)
        for side in ops.shape(images)[1:3]
    )
    mask = 4.0 * rows[:, None, None] * columns[None, :, None]
    return images - _gaussian(blurred * mask)


def _gaussian(images):
    """Burt and Adelson's 5-tap filter along rows and columns, edges replicated."""
    for axis in (1, 2):
        first, last = (
            (images[:, :1], images[:, -1:]) if axis == 1 else (images[:, :, :1], images[:, :, -1:])
        )
        padded = ops.concatenate([first, first, images, last, last], axis=axis)
        side = ops.shape(images)[axis]
        images = sum(
            weight * (padded[:, k : k + side] if axis == 1 else padded[:, :, k : k + side])
            for k, weight in enumerate((0.05, 0.25, 0.4, 0.25, 0.05))
        )
    return images


def charbonnier_edge(sharp, stages):
    """Charbonnier plus 0.05 times edge loss, summed over stages (MPRNet, equation 1)."""
    return sum(charbonnier(sharp, stage) + 0.05 * edge(sharp, stage) for stage in stages)


def charbonnier_clipped(sharp, stages):
    """Charbonnier on outputs clipped to [0, 1], summed over stages: MPRNet's denoising training."""
    return sum(charbonnier(sharp, ops.clip(stage, 0.0, 1.0)) for stage in stages)


def charbonnier_frequency(sharp, stages):
    """Charbonnier plus 0.1 times frequency loss, summed over stages and scales (MAXIM).

    Args:
      sharp: (batch, height, width, channels), of known height and width.
      stages: pictures of the size of `sharp`, or a half or a quarter of it, in any order. The sharp
        image is brought to each scale by bilinear resize with antialiasing.
    """
    targets, total = {1: sharp}, 0.0
    for restored in stages:
        factor = sharp.shape[1] // restored.shape[1]
        if factor not in targets:
            targets[factor] = antialiased_downsample(ops.cast(sharp, "float32"), factor)
        target = targets[factor]
        total = total + charbonnier(target, restored) + 0.1 * frequency(target, restored)
    return total


def frequency(sharp, restored):
    """Mean of |Re| + |Im| of the difference's 2-D Fourier transform, channel by channel; (batch,).

    MAXIM, section 3.4: the L1 norm of the difference of Fourier transforms. The paper does not
    say over what it is averaged; here it is the unnormalised transform's mean over all elements.

    Args:
      sharp, restored: (batch, height, width, channels) in [0, 1].
    """
    difference = ops.cast(restored, "float32") - ops.cast(sharp, "float32")
    planes = ops.transpose(difference, (0, 3, 1, 2))
    real, imaginary = ops.fft2((planes, ops.zeros_like(planes)))
    return ops.mean(ops.abs(real) + ops.abs(imaginary), axis=(1, 2, 3))


def mse(sharp, stages):
    """Mean squared error, summed over stages of the size of `sharp`."""
    return sum(squared_error(sharp, stage) for stage in stages)


def l1(sharp, stages):
    """Mean absolute error, summed over stages of the size of `sharp`."""
    target = ops.cast(sharp, "float32")
    return sum(
        ops.mean(ops.abs(ops.cast(stage, "float32") - target), axis=(1, 2, 3)) for stage in stages
    )


LOSSES = {
    "mse": mse,
    "l1": l1,
    "multi_scale_squared_error": multi_scale_squared_error,
    "charbonnier_edge": charbonnier_edge,
    "charbonnier_clipped": charbonnier_clipped,
    "charbonnier_frequency": charbonnier_frequency,
}


def get(name: str):
    """Returns the loss of that name.

    Raises:
      UserError: there is none; lists those there are.
    """
    if name not in LOSSES:
        raise UserError(f"loss {name}: no such loss; there are {', '.join(LOSSES)}.")
    return LOSSES[name]
