"""Steps of a chain that have no weights, as networks: unsharp masking.

A chain names them by a word and numbers, such as "unsharp:2:1.5:3".
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from restore_tf.errors import UserError
from restore_tf.networks.layers import pad_edges
from restore_tf.networks.reach import Reach
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import FiniteReach

_SIGMAS = 4  # a Gaussian's weight beyond is below 1e-4


@keras.saving.register_keras_serializable(package="restore_tf")
class Unsharp(Restorer):
    """Unsharp masking: x + amount * (x - blurred x), where the difference exceeds a threshold.

    As Pillow's `UnsharpMask`, but in floats: a true Gaussian, where Pillow takes three box blurs,
    and neither rounded nor clipped on the way. Edges are repeated once; Pillow repeats those of
    each box blur, and is up to a dozen levels off there.

    Args:
      radius: the Gaussian's sigma, in pixels.
      amount: 1.5 is what Pillow calls 150 percent.
      threshold: smaller differences are left alone, in levels of 8 bits.
      channels: of the images, 1 or 3; every channel is sharpened by itself.
      colour: the chain's, see `Restorer`.
    """

    bytes_per_pixel = 40.0  # measured at 1500x2000: 32

    def __init__(self, radius=2.0, amount=1.5, threshold=3.0, channels=3, colour="rgb", **kwargs):
        kwargs.setdefault("name", "unsharp")
        super().__init__(**kwargs)
        self.radius, self.amount, self.threshold = radius, amount, threshold
        self.channels, self.colour = channels, colour
        self.continuous = threshold == 0
        self._reach = math.ceil(_SIGMAS * radius)
        offsets = np.arange(-self._reach, self._reach + 1)
        taps = np.exp(-0.5 * (offsets / radius) ** 2)
        self._taps = (taps / taps.sum()).astype(np.float32)

    def call(self, images, training=False):
        """Sharpens a batch; the one stage.

        Args:
          images: (batch, height, width, channels) in [0, 1].
          training: changes nothing.

        Returns:
          A list of one float32 tensor of the same shape.
        """
        self.check_size(images)
        images = ops.cast(images, "float32")
        blurred = pad_edges(images, self._reach)
        for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
            kernel = np.tile(self._taps.reshape(shape), (1, 1, self.channels, 1))
            blurred = ops.depthwise_conv(blurred, ops.convert_to_tensor(kernel), padding="valid")
        difference = images - blurred
        sharpened = images + self.amount * difference
        if not self.threshold:
            return [sharpened]
        exceeds = ops.abs(difference) > self.threshold / 255
        return [ops.where(exceeds, sharpened, images)]

    def tiler(self):
        """Exact tiles: the Gaussian is cut off."""
        return FiniteReach(self, Reach(self._reach, 1))

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        names = ("radius", "amount", "threshold", "channels", "colour", "name")
        return {name: getattr(self, name) for name in names}


_UNSHARP = "unsharp:RADIUS:AMOUNT:THRESHOLD, such as unsharp:2:1.5:3"
_LIMITS = ((0.1, 50), (0.01, 5), (0, 255))  # 5: an amount of 150 is meant as percent


def is_step(link: str) -> bool:
    """Returns whether a chain's link names a step rather than a run.

    Args:
      link: such as "unsharp:2:1.5:3" or a run directory.
    """
    return link == "unsharp" or link.startswith("unsharp:")


def step_network(link: str, channels: int = 3, colour: str = "rgb") -> Restorer:
    """Returns the network of a step such as "unsharp:2:1.5:3".

    Args:
      link: the step; see `is_step`.
      channels: of the chain's images, 1 or 3.
      colour: the chain's, see `Restorer`.

    Raises:
      UserError: numbers that are missing or out of range.
    """
    try:
        numbers = [float(text) for text in link.split(":")[1:]]
    except ValueError:
        numbers = []
    within = [low <= number <= high for number, (low, high) in zip(numbers, _LIMITS, strict=False)]
    if len(numbers) != len(_LIMITS) or not all(within):
        raise UserError(
            f"{link}: expected {_UNSHARP}; the Gaussian's sigma from 0.1 to 50 pixels, an amount "
            "up to 5 (1.5 is 150 percent), a threshold from 0 to 255 levels."
        )
    sigma, amount, threshold = numbers
    return Unsharp(sigma, amount, threshold, channels=channels, colour=colour)
