"""Two convolutions and a shuffle to twice the size: pictures come out larger."""

import keras
from keras import layers, ops

from restore_tf.networks.reach import reach
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import FiniteReach
from toy_papers import tiny


@keras.saving.register_keras_serializable(package="toy_papers")
class Enlarger(Restorer):
    output_scale = 2

    def __init__(self, width=4, **kwargs):
        super().__init__(name="enlarger", **kwargs)
        self.width = width
        self.conv1 = layers.Conv2D(width, 3, padding="same", activation="relu", name="conv1")
        self.conv2 = layers.Conv2D(12, 3, padding="same", name="conv2", dtype="float32")

    def call(self, images, training=False):
        x = self.conv2(self.conv1(images))
        batch, height, width, _ = ops.shape(x)
        x = ops.reshape(x, (batch, height, width, 2, 2, 3))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (batch, 2 * height, 2 * width, 3))
        return [x + ops.repeat(ops.repeat(images, 2, axis=1), 2, axis=2)]

    def tiler(self):
        return FiniteReach(self, reach([self.conv1, self.conv2]))

    def get_config(self):
        return {"width": self.width}


VARIANTS = {"enlarger": {}}
RECIPES = {"tiny": lambda model: tiny(model, "charbonnier_edge")}


def build(experiment):
    return Enlarger(**experiment.network)
