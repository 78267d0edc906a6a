"""Networks and steps that a picture passes one after the other, as one network.

Between its links a picture is float and may leave [0, 1], unless `eight_bit` rounds and clips it as
files would. Each link gets the picture padded to its own `size_multiple`, in its own way, and is
cropped after, so that a chain gives what its links give one by one. `restore_tf.inference` takes
the links in turn, each over the whole picture and in tiles of its own; `restore_batch` is the same
in one graph, for exports.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from restore_tf.errors import UserError
from restore_tf.networks.padding import pad_to_multiple
from restore_tf.networks.restorer import Restorer


@keras.saving.register_keras_serializable(package="restore_tf")
class Chain(Restorer):
    """A chain of networks: each link takes what the one before gave; its stages are the links'.

    Args:
      links: `Restorer`s, in order, all of the same channels and colour.
      eight_bit: round and clip to 8 bits between the links.

    Raises:
      UserError: no links, or links that do not fit together; names them.
    """

    def __init__(self, links: Sequence[Restorer], eight_bit: bool = False, **kwargs):
        kwargs.setdefault("name", "chain")
        _check(links)
        super().__init__(**kwargs)
        self.links = list(links)
        self.eight_bit = eight_bit
        first = links[0]
        self.channels, self.colour, self.padding = first.channels, first.colour, first.padding
        self.output_scale = math.prod(link.output_scale for link in links)
        self.evaluations = sum(link.evaluations for link in links)
        self.continuous = not eight_bit and all(link.continuous for link in links)

    def build(self, input_shape=None):
        """Builds every link; the variables' paths begin with the link's number."""
        if self.built:
            return
        self.built = True
        for number, link in enumerate(self.links, 1):
            with keras.name_scope(f"link{number}"):
                link.build()

    def call(self, images, training=False):
        """Restores with each link in turn; in training without rounding, which has no gradient.

        Args:
          images: (batch, height, width, channels) in [0, 1]; sides are multiples of
            `size_multiple`.
          training: whether this is a training step.

        Returns:
          Each link's restored images, first to last.
        """
        self.check_size(images)

        def restore_link(link, padded, scale):
            return link(padded, training=training)[-1]

        return self._pass(images, restore_link, self.eight_bit and not training)

    def restore_batch(self, images, seed=None, origin=None):
        """Restores (batch, height, width, channels) with all links in one graph; see `Restorer`."""

        def restore_link(link, padded, scale):
            return link.restore_batch(padded, seed, None if origin is None else scale * origin)

        return self._pass(images, restore_link, self.eight_bit)[-1]

    def _pass(self, images, restore_link, eight_bit):
        """Each link's output; `restore_link` gets a link, its padded input and the scale."""
        stages, scale = [], 1
        for link in self.links:
            if stages and eight_bit:
                images = ops.round(ops.clip(images, 0.0, 1.0) * 255.0) / 255.0
            padded = pad_to_multiple(images, link.size_multiple, link.padding)
            height, width = (link.output_scale * side for side in ops.shape(images)[1:3])
            restored = restore_link(link, padded, scale)
            images = restored if padded is images else restored[:, :height, :width]
            stages.append(images)
            scale *= link.output_scale
        return stages

    def between(self, images: np.ndarray) -> np.ndarray:
        """Returns what the next link gets: the images, rounded to 8 bits where `eight_bit` says so.

        Args:
          images: float32 of any shape, what a link gave.

        Returns:
          float32 of the same shape.
        """
        if not self.eight_bit:
            return images
        return np.rint(np.clip(images, 0.0, 1.0) * 255).astype(np.uint8).astype(np.float32) / 255

    def training_loss(self, degraded, sharp, seeds=None):
        """Loss of the last stage alone: stages of another size have no sharp partner.

        Args:
          degraded: (batch, height, width, channels) in [0, 1].
          sharp: its sharp partners, `output_scale` times as high and wide.
          seeds: not used.

        Returns:
          One value per image, (batch,).
        """
        return self.stages_loss(sharp, self(degraded, training=True)[-1:])

    @property
    def bytes_per_pixel(self):
        """Memory that the link takes that takes the most, per pixel of the degraded picture."""
        scales = np.cumprod([1, *(link.output_scale for link in self.links[:-1])])
        return max(
            link.bytes_per_pixel * int(scale) ** 2
            for link, scale in zip(self.links, scales, strict=True)
        )

    def for_inference(self):
        """Prepares all links for inference; see `Restorer`."""
        for link in self.links:
            link.for_inference()
        return super().for_inference()

    @contextlib.contextmanager
    def with_folded_weights(self):
        """Folds the weights of all links; see `Restorer`."""
        with contextlib.ExitStack() as stack:
            for link in self.links:
                stack.enter_context(link.with_folded_weights())
            yield

    def get_config(self):
        """The constructor's arguments, for Keras' serialisation."""
        links = [keras.saving.serialize_keras_object(link) for link in self.links]
        return {"links": links, "eight_bit": self.eight_bit, "name": self.name}

    @classmethod
    def from_config(cls, config):
        """Makes the chain and its links from what `get_config` returned.

        Args:
          config: of `get_config`.
        """
        links = [keras.saving.deserialize_keras_object(link) for link in config["links"]]
        return cls(**{**config, "links": links})


def _check(links):
    if not links:
        raise UserError("a chain has no links; name at least one run.")
    first = links[0]
    for number, link in enumerate(links[1:], 2):
        if (link.channels, link.colour) != (first.channels, first.colour):
            raise UserError(
                f"link {number}, {link.name}, takes {_pictures(link)}, but link 1, {first.name}, "
                f"{_pictures(first)}; the links of a chain must take the same."
            )


def _pictures(link):
    return f"pictures of {link.channels} channel{'s'[: link.channels - 1]} ({link.colour})"
