"""How far the pictures differ that a sampling network draws for one degraded picture.

A sampler's picture is one of many that fit the degraded one. Where others differ from it, it shows
a guess. Each seed gives one picture, so this works for any network that draws noise, and for chains
that contain one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from restore_tf.inference.restore import restore

_SEEDS = 2**31
_PROBE = 32  # pixels


def draws_noise(model) -> bool:
    """Returns whether another seed gives another picture, by restoring a small one twice.

    Args:
      model: a `Restorer` or a `tflite_model.LiteModel`.
    """
    picture = np.random.default_rng(0).random((_PROBE, _PROBE, 3), np.float32)
    first, second = (restore(model, picture, seed=seed) for seed in (0, 1))
    return not np.array_equal(first, second)


def deviation(draw: Callable[[int], np.ndarray], seed: int, count: int) -> np.ndarray:
    """Draws pictures with the seeds `seed`, `seed` + 1, … and returns their standard deviation.

    Args:
      draw: function of a seed that returns a picture, (height, width, channels) or
        (height, width) float.
      seed: the first; after 2^31 - 1 comes 0.
      count: of the pictures, 2 or more.

    Returns:
      (height, width) float64: each pixel's standard deviation over the pictures (of `count` - 1
      degrees of freedom), the root of the mean of the channels' variances. In the pictures' unit.
    """
    mean = draw(seed).astype(np.float64)
    squares = np.zeros(mean.shape)
    for number in range(1, count):  # Welford's way: nothing cancels, two pictures are kept
        change = draw((seed + number) % _SEEDS) - mean
        mean += change / (number + 1)
        squares += change * change * (number / (number + 1))
    variances = squares.reshape(*squares.shape[:2], -1).mean(axis=-1) / (count - 1)
    return np.sqrt(variances)
