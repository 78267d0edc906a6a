"""Augmentations of both pictures of a pair together, in NumPy.

Each takes the pictures of a pair, degraded first, and a random generator; both pictures get the
same change. Crops are uint8, or float32 in [0, 1] once an augmentation needs that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from restore_tf.datasets import cropping

# ITU-R BT.601 luma, with tf.image.rgb_to_grayscale's digits.
_LUMA = np.array([[0.2989], [0.5870], [0.1140]], np.float32)

Pictures = Sequence[np.ndarray]


def flip_rotate(pictures: Pictures, random: np.random.Generator) -> list[np.ndarray]:
    """Applies one of the square's eight symmetries: the identity by 2/9, others by 1/9 (MPRNet).

    Args:
      pictures: each (side, side, channels), of any type.
      random: for one draw.
    """
    symmetry = int(random.integers(9)) % 8  # 0 and 8 are both the identity
    return [cropping.turn(picture, symmetry) for picture in pictures]


def saturation(pictures: Pictures, random: np.random.Generator) -> list[np.ndarray]:
    """Scales the colour saturation of both pictures by 1 +- 0.2, with probability 1/3 (MPRNet).

    A blend with the gray picture; the factor is uniform and the same for both.

    Args:
      pictures: each (height, width, 3), uint8 or float32 in [0, 1].
      random: for one draw or two.

    Returns:
      float32 in [0, 1].
    """
    pictures = [as_float(picture) for picture in pictures]
    if random.random() >= 1 / 3:
        return pictures
    factor = np.float32(random.uniform(0.8, 1.2))
    grays = [gray(picture) for picture in pictures]
    return [
        np.clip(gray_picture + factor * (picture - gray_picture), 0, 1)
        for gray_picture, picture in zip(grays, pictures, strict=True)
    ]


class Noise(NamedTuple):
    """Gaussian noise on the degraded picture alone, neither clipped nor rounded.

    So DnCNN (Zhang et al., TIP 2017) and its successors train: noise that is clipped at black and
    white has a mean there, which a network would learn.

    Attributes:
      low: least sigma in levels of 255; each picture's is drawn uniformly.
      high: largest sigma in levels of 255.
      gray: whether all channels get the same noise.
    """

    low: float
    high: float
    gray: bool = False

    def add(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Adds noise to a picture; the sum may leave [0, 1].

        Args:
          picture: (height, width, channels) float32 in [0, 1].
          random: of sigma and of the noise.

        Returns:
          The noisy picture, float32.
        """
        sigma = np.float32(random.uniform(self.low, self.high) / 255)
        shape = (*picture.shape[:2], 1) if self.gray else picture.shape
        return picture + sigma * random.standard_normal(shape, dtype=np.float32)


def as_float(picture: np.ndarray) -> np.ndarray:
    """Converts a picture to float32 in [0, 1]; a float32 one comes back as it is.

    Args:
      picture: uint8 in [0, 255], or float32, of any shape.

    Returns:
      float32 of the same shape.
    """
    return picture / np.float32(255) if picture.dtype == np.uint8 else picture


def gray(picture: np.ndarray) -> np.ndarray:
    """Returns the luma (ITU-R BT.601) of RGB colours.

    Args:
      picture: (…, 3) float32.

    Returns:
      (…, 1) float32.
    """
    return picture @ _LUMA


AUGMENTATIONS: dict[str, Callable[[Pictures, np.random.Generator], list[np.ndarray]]] = {
    "flip_rotate": flip_rotate,
    "saturation": saturation,
}
