"""One convolution over Y alone: colours pass by."""

import keras
from keras import layers

from restore_tf.networks.restorer import Restorer
from toy_papers import tiny


@keras.saving.register_keras_serializable(package="toy_papers")
class OnlyLuma(Restorer):
    channels = 1
    colour = "luminance"

    def __init__(self, **kwargs):
        super().__init__(name="onlyluma", **kwargs)
        self.conv = layers.Conv2D(1, 3, padding="same", name="conv", dtype="float32")

    def call(self, images, training=False):
        self.check_size(images)
        return [images + self.conv(images)]

    def get_config(self):
        return {}


VARIANTS = {"onlyluma": {}}
RECIPES = {"tiny": lambda model: tiny(model, "charbonnier_edge")}


def build(experiment):
    return OnlyLuma(**experiment.network)
