"""What both pictures of a pair go through together, each a pure function of a seed.

A pair is one tensor (2, height, width, channels), degraded first: one operation on it cannot treat
the two pictures differently.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

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
    # Drawn from nine: 0 and 8 are both the identity.
    draw = tf.random.stateless_uniform([], seed, 0, 9, tf.int32) % 8
    # In NumPy, where it takes a third of the time of TensorFlow's transpose and reverse.
    return python_call(turn, [pair, draw], pair.shape, pair.dtype)


def turn(pair: np.ndarray, symmetry: int) -> np.ndarray:
    """Returns the pair in one of the square's eight symmetries, counted from 0, the identity.

    Args:
      pair: (2, side, side, channels), square.
      symmetry: that many quarter turns counterclockwise; from 4 on mirrored left to right as well.
    """
    # A pixel moved as one piece is moved twice as fast as by its channels.
    pixels = np.ascontiguousarray(pair).view(f"V{pair.shape[-1] * pair.itemsize}")[..., 0]
    pixels = np.rot90(pixels, symmetry % 4, axes=(1, 2))
    if symmetry >= 4:
        pixels = pixels[:, :, ::-1]
    return np.ascontiguousarray(pixels)[..., None].view(pair.dtype)


def saturation(pair, seed):
    """Scales the colour saturation of both pictures by 1 +- 0.2, with probability 1/3 (MPRNet).

    A blend with the gray picture; the factor is uniform and the same for both. Returns float32.

    Args:
      pair: (2, height, width, 3), float in [0, 1] or uint8.
      seed: int64 tensor of shape (2,).
    """
    pair = tf.image.convert_image_dtype(pair, tf.float32)
    draws = tf.random.stateless_uniform([2], seed)
    factor = tf.where(draws[0] < 1 / 3, 0.8 + 0.4 * draws[1], 1.0)
    gray = tf.image.rgb_to_grayscale(pair)
    return tf.clip_by_value(gray + factor * (pair - gray), 0.0, 1.0)


AUGMENTATIONS = {"flip_rotate": flip_rotate, "saturation": saturation}
