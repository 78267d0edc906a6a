"""What both pictures of a pair go through together, each a pure function of a seed.

A pair is one tensor (2, height, width, channels), degraded first: one operation on it cannot treat
the two pictures differently.
"""

from __future__ import annotations

import tensorflow as tf

from restore_tf.datasets import cropping
from restore_tf.datasets.python_calls import python_call


def paired_crop(pair, crop: int, seed):
    """Cuts the same random square out of both pictures.

    Args:
      pair: (2, height, width, channels), height and width at least `crop`.
      crop: side of the square, in pixels.
      seed: int64 tensor of shape (2,).
    """
    room = tf.shape(pair)[1:3] - crop
    corner = crop_draw(seed) % (room + 1)
    return pair[:, corner[0] : corner[0] + crop, corner[1] : corner[1] + crop]


def crop_draw(seed):
    """Two random int32 in [0, 2^31 - 1) from which a picture's size makes a crop's corner.

    Args:
      seed: int64 tensor of shape (2,).
    """
    return tf.random.stateless_uniform([2], seed, 0, tf.int32.max, tf.int32)


def flip_rotate(pair, seed):
    """One of the square's eight symmetries: identity with probability 2/9, each other 1/9 (MPRNet).

    Args:
      pair: (2, side, side, channels), square, of any type.
      seed: int64 tensor of shape (2,).
    """
    return python_call(cropping.turn, [pair, symmetry_draw(seed)], pair.shape, pair.dtype)


def symmetry_draw(seed):
    """Which of the square's symmetries `flip_rotate` takes, see `cropping.turn`.

    Args:
      seed: int64 tensor of shape (2,).
    """
    # Drawn from nine: 0 and 8 are both the identity.
    return tf.random.stateless_uniform([], seed, 0, 9, tf.int32) % 8


def saturation(pair, seed):
    """Scales the colour saturation of both pictures by 1 +- 0.2, with probability 1/3 (MPRNet).

    A blend with the gray picture; the factor is uniform and the same for both.

    Args:
      pair: (2, height, width, 3) float in [0, 1].
      seed: int64 tensor of shape (2,).
    """
    draws = tf.random.stateless_uniform([2], seed)
    factor = tf.where(draws[0] < 1 / 3, 0.8 + 0.4 * draws[1], 1.0)
    gray = tf.image.rgb_to_grayscale(pair)
    return tf.clip_by_value(gray + factor * (pair - gray), 0.0, 1.0)


AUGMENTATIONS = {"flip_rotate": flip_rotate, "saturation": saturation}
