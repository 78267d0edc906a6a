"""Random numbers that depend on a seed and on a pixel's place, and on nothing else.

A sampler's picture must be the same whatever the tiles, the batch and the machine, and a loss that
draws noise must be the same however a batch is split over replicas. So each number is a hash of
(seed, draw, row, column, channel) rather than the next one of a stream.

The hash is Chris Wellons' 32-bit mixer "lowbias32" (public domain), applied once per coordinate; in
int32, whose products wrap around on every Keras backend.
"""

from __future__ import annotations

import math

from keras import ops

_MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)
_LOW_24_BITS = 0xFFFFFF


def normal(shape, seed, origin=None, draw: int = 0):
    """Draws standard normal numbers for images or tiles of them.

    Args:
      shape: (batch, height, width, channels) of what is returned; ints or scalar tensors.
      seed: int32 tensor (2,), one for all images, or (batch, 2).
      origin: int32 tensor (batch, 2), (top, left) of each image within its picture; None for zeros.
      draw: which of several independent fields, such as the step of a sampler.

    Returns:
      (batch, height, width, channels) float32.
    """
    first, second = (uniform(shape, seed, origin, 2 * draw + part) for part in range(2))
    # Box and Muller: two uniform numbers make a normal one.
    return ops.sqrt(-2.0 * ops.log(first)) * ops.cos(2.0 * math.pi * second)


def uniform(shape, seed, origin=None, draw: int = 0):
    """Draws numbers uniform in (0, 1), both ends excluded.

    Args:
      shape: (batch, height, width, channels) of what is returned; ints or scalar tensors.
      seed: int32 tensor (2,), one for all images, or (batch, 2).
      origin: int32 tensor (batch, 2), (top, left) of each image within its picture; None for zeros.
      draw: which of several independent fields.

    Returns:
      (batch, height, width, channels) float32.
    """
    _, height, width, channels = shape
    rows, columns = _places(height, width, origin)
    state = _seed_state(seed, draw)[:, None, None, None]
    for place in (rows[..., None, None], columns[:, None, :, None], _range(channels)):
        state = _mix(state + place)
    bits = ops.bitwise_and(state, _LOW_24_BITS)
    # One seed and no origin make one field, for all images alike.
    return ops.broadcast_to((ops.cast(bits, "float32") + 0.5) * (1 / (_LOW_24_BITS + 1)), shape)


def uniform_per_image(seeds, draw: int = 0):
    """Draws one number uniform in (0, 1) for each image.

    Args:
      seeds: int32 (batch, 2).
      draw: which of several independent draws.

    Returns:
      (batch,) float32.
    """
    bits = ops.bitwise_and(_mix(_seed_state(seeds, draw)), _LOW_24_BITS)
    return (ops.cast(bits, "float32") + 0.5) * (1 / (_LOW_24_BITS + 1))


def _places(height, width, origin):
    """Rows and columns within the picture: (batch or 1, height) and (batch or 1, width) int32."""
    rows, columns = _range(height)[None], _range(width)[None]
    if origin is None:
        return rows, columns
    return rows + origin[:, :1], columns + origin[:, 1:]


def _seed_state(seed, draw):
    """(batch or 1,) int32."""
    seed = ops.reshape(ops.cast(seed, "int32"), (-1, 2))
    return _mix(_mix(_mix(seed[:, 0] + 0x9E3779B) + seed[:, 1]) + draw)


def _range(count):
    return ops.arange(count, dtype="int32")


def _mix(x):
    x = ops.bitwise_xor(x, _shifted(x, 16)) * _MULTIPLIERS[0]
    x = ops.bitwise_xor(x, _shifted(x, 15)) * _MULTIPLIERS[1]
    return ops.bitwise_xor(x, _shifted(x, 16))


def _shifted(x, bits):
    """x >> bits as of an unsigned number: the sign does not move in."""
    return ops.bitwise_and(ops.right_shift(x, bits), (1 << (32 - bits)) - 1)
