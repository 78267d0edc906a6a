"""Terms of losses: how far a restored picture is from the sharp one.

A term takes (sharp, restored), two tensors of one shape (batch, height, width, channels) in [0, 1],
and returns one value per image: (batch,) float32, whatever the layers compute in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from keras import ops

from restore_tf.errors import UserError
from restore_tf.networks import features


def difference(sharp, restored):
    """Returns restored minus sharp in float32.

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
    """
    return ops.cast(restored, "float32") - ops.cast(sharp, "float32")


def squared_error(sharp, restored):
    """Mean squared error over each image's pixels and channels; (batch,).

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
    """
    return ops.mean(ops.square(difference(sharp, restored)), axis=(1, 2, 3))


def negative_psnr(sharp, restored, epsilon=3e-5):
    """Minus the PSNR in dB of each image; (batch,).

    A decibel counts as much on a nearly sharp picture as on a blurred one, where the error itself
    makes the first a rounding error of the second: this keeps a network from harming what needs
    little.

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
      epsilon: added to the mean squared error; beyond 45 dB, at 3e-5, little more is asked for.
    """
    return 10 / math.log(10) * ops.log(squared_error(sharp, restored) + epsilon)


def absolute_error(sharp, restored):
    """Mean absolute error over each image's pixels and channels; (batch,).

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
    """
    return ops.mean(ops.abs(difference(sharp, restored)), axis=(1, 2, 3))


def charbonnier(sharp, restored, epsilon=1e-3):
    """Charbonnier penalty, mean of sqrt(difference^2 + epsilon^2); (batch,).

    MPRNet, equation 2, averaged over pixels and channels as its published training does.

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
      epsilon: in image units; 1e-3 in the paper.
    """
    return ops.mean(ops.sqrt(ops.square(difference(sharp, restored)) + epsilon**2), axis=(1, 2, 3))


def edge(sharp, restored):
    """Charbonnier penalty between Laplacians (MPRNet, equation 3); (batch,).

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
    """
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


def sobel(sharp, restored):
    """Mean squared error of the gradients' magnitudes by Sobel's filter; (batch,).

    Channel by channel, zeros outside of the picture. 1e-12 under the root: where a picture is flat
    the magnitude's gradient would be NaN.

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
    """
    error = _sobel_magnitude(restored) - _sobel_magnitude(sharp)
    return ops.mean(ops.square(error), axis=(1, 2, 3))


def _sobel_magnitude(images):
    padded = ops.pad(ops.cast(images, "float32"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    across = padded[:, :, 2:] - padded[:, :, :-2]
    down = padded[:, 2:] - padded[:, :-2]
    across = across[:, :-2] + 2.0 * across[:, 1:-1] + across[:, 2:]
    down = down[:, :, :-2] + 2.0 * down[:, :, 1:-1] + down[:, :, 2:]
    return ops.sqrt(ops.square(across) + ops.square(down) + 1e-12)


def frequency(sharp, restored):
    """Mean of |Re| + |Im| of the difference's 2-D Fourier transform, channel by channel; (batch,).

    MAXIM's: the L1 norm of the difference of Fourier transforms. We do not know what the paper
    averages over; here it is the mean over all elements of the unnormalised transform.

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      restored: of the same shape.
    """
    planes = ops.transpose(difference(sharp, restored), (0, 3, 1, 2))
    real, imaginary = ops.fft2((planes, ops.zeros_like(planes)))
    return ops.mean(ops.abs(real) + ops.abs(imaginary), axis=(1, 2, 3))


TERMS = {
    "mse": squared_error,
    "l1": absolute_error,
    "charbonnier": charbonnier,
    "psnr": negative_psnr,
    "edge": edge,
    "sobel": sobel,
    "frequency": frequency,
}

# With the features of a network behind a colon, see `features.extractor`.
PERCEPTUAL = {"perceptual": squared_error, "perceptual_l1": absolute_error}


def perceptual(name: str) -> Callable:
    """Returns the term that compares the features of two pictures (Johnson et al. 2016, eq. 2).

    Args:
      name: "perceptual:FEATURES" for the mean squared error of the features over their map and
        channels, "perceptual_l1:FEATURES" for the mean absolute error; the features are those that
        `features.extractor` names.

    Raises:
      UserError: no such features, or their weights are not on this machine: random ones would
        measure nothing.
    """
    kind, _, net = name.partition(":")
    try:
        extract = features.extractor(net)
    except UserError as error:
        raise UserError(f"loss {name}: {error}") from None

    def term(sharp, restored):
        # Both at once: networks take long to trace.
        pictures = [ops.cast(images, "float32") for images in (sharp, restored)]
        return PERCEPTUAL[kind](*ops.split(extract(ops.concatenate(pictures)), 2))

    return term
