"""Discriminators: networks that judge pictures patch by patch while a generator trains.

Kupyn et al. 2018, section 3 (PatchGAN of Isola et al., "Image-to-Image Translation with Conditional
Adversarial Networks", 2017), and Kupyn et al. 2019, section 3.3 (two of them at two scales).

They see the sharp or the restored picture alone, not the pair, and are no part of what is exported.
"""

from __future__ import annotations

import keras
from keras import ops

from deblurgan_tf.blocks import PaddedConv, PictureNorm, drawn
from restore_tf.errors import UserError

SLOPE = 0.2  # of the leaky ReLUs
_MOST = 8  # times the first layer's channels
_DEVIATION = 0.02  # of the weights at first; code of 2018


class Discriminator(keras.Model):
    """The base class of discriminators: pictures in, logits of patches out."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.autocast = False  # pictures stay float32, see `Restorer`

    def build(self, input_shape=None):
        """Creates every weight by one call on a small picture."""
        if not self.built:
            self.built = True  # first, because the call below asks for it again
            self(ops.zeros((1, 32, 32, 3)))

    def export(self, filepath, *args, **kwargs):
        """Refuses to export: a discriminator restores nothing.

        Args:
          filepath: where to.
          *args: of Keras.
          **kwargs: of Keras.

        Raises:
          UserError: always.
        """
        raise UserError(
            f"{filepath}: {self.name} is a discriminator, which restores nothing; export the run's "
            "generator, by export.py."
        )


class PatchDiscriminator(Discriminator):
    """PatchGAN: 4x4 convolutions padded by 2, instance norms, leaky ReLUs.

    Args:
      width: channels of the first layer; they double up to eight times as many.
      strided: convolutions with stride 2. With 3 a logit sees 70 x 70 pixels, with 5 nearly all of
        a crop of 256.
    """

    def __init__(self, width=64, strided=3, **kwargs):
        super().__init__(**kwargs)
        widths = [width * min(2**level, _MOST) for level in range(strided + 1)]
        self.convolutions = [
            _judging(filters, 2 if number < strided else 1, f"conv{number + 1}")
            for number, filters in enumerate(widths)
        ]
        self.norms = [PictureNorm(name=f"norm{number + 2}") for number in range(strided)]
        self.logits = _judging(1, 1, "logits", dtype="float32")

    def call(self, images, training=False):
        """Judges pictures.

        Args:
          images: (batch, height, width, 3) in [0, 1].
          training: changes nothing.

        Returns:
          Logits (batch, h, w, 1).
        """
        first, *others = self.convolutions
        x = ops.leaky_relu(first(2.0 * images - 1.0), SLOPE)
        for convolution, norm in zip(others, self.norms, strict=True):
            x = ops.leaky_relu(norm(convolution(x)), SLOPE)
        return self.logits(x)


def _judging(filters, strides, name, **kwargs):
    initializer = drawn(_DEVIATION)
    return PaddedConv(
        filters, 4, strides, padding=2, kernel_initializer=initializer, name=name, **kwargs
    )


class SeedDiscriminator(Discriminator):
    """The student project's: 4x4 convolutions padded by 1, norms with scale and shift.

    The project's norms are batch norms. Here they take each picture's statistics, so that devices
    and micro-batches change nothing.

    Args:
      width: channels of the first layer; twice, four and eight times as many follow.
    """

    def __init__(self, width=64, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [
            PaddedConv(width * 2**level, 4, 2, padding=1, name=f"conv{level + 1}")
            for level in range(4)
        ]
        self.norms = [PictureNorm(affine=True, name=f"norm{number}") for number in (2, 3, 4)]
        self.logits = PaddedConv(1, 3, name="logits", dtype="float32")

    def call(self, images, training=False):
        """Judges pictures.

        Args:
          images: (batch, height, width, 3) in [0, 1].
          training: changes nothing.

        Returns:
          Logits (batch, height / 16, width / 16, 1).
        """
        first, *others = self.convolutions
        x = ops.leaky_relu(first(images), SLOPE)
        for convolution, norm in zip(others, self.norms, strict=True):
            x = ops.leaky_relu(norm(convolution(x)), SLOPE)
        return self.logits(x)


def _built(network):
    network.build()
    return network


def make(which: str, width: int) -> dict[str, Discriminator]:
    """Returns {name: built discriminator}.

    Args:
      which: "double" for the two of DeblurGAN-v2, "patch" for the first of them, "seed".
      width: channels of the first layer.
    """
    if which == "seed":
        return {"seed": _built(SeedDiscriminator(width, name="seed"))}
    found = {"patch": _built(PatchDiscriminator(width, name="patch"))}
    if which == "double":
        found["full"] = _built(PatchDiscriminator(width, strided=5, name="full"))
    return found
