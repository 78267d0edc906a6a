"""Restores in three passes with fresh noise each; its loss draws noise, too."""

import keras
from keras import layers, ops

from restore_tf.networks import noise
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import BlendedTile
from toy_papers import tiny


@keras.saving.register_keras_serializable(package="toy_papers")
class Sampler(Restorer):
    size_multiple = 4
    draws_in_training = True
    blended_tile = BlendedTile(smallest=16, overlap=8)

    def __init__(self, passes=3, **kwargs):
        super().__init__(name="sampler", **kwargs)
        self.passes = passes
        # One pixel wide: tiles see all that matters, and any difference is the noise's.
        self.conv = layers.Conv2D(3, 1, name="conv", dtype="float32")

    def call(self, images, training=False):
        self.check_size(images)
        return [images, images + 0.1 * self.conv(images)]

    def restore_batch(self, images, seed=None, origin=None):
        seed = ops.zeros((2,), "int32") if seed is None else seed
        for step in range(self.passes):
            drawn = noise.normal(ops.shape(images), seed, origin, draw=step)
            images = self(images)[-1] + 0.1 * drawn
        return images

    def training_loss(self, degraded, sharp, seeds=None):
        level = noise.uniform_per_image(seeds)[:, None, None, None]
        drawn = noise.normal(ops.shape(degraded), seeds, draw=1)
        restored = self(degraded + level * drawn, training=True)[-1]
        return ops.mean(ops.square(sharp - restored), axis=(1, 2, 3))

    def get_config(self):
        return {"passes": self.passes}


VARIANTS = {"sampler": {}}
RECIPES = {"tiny": lambda model: tiny(model, "charbonnier_edge")}


def build(experiment):
    return Sampler(**experiment.network)
