"""Two networks, each with an optimizer of its own, and a step of their own that trains both."""

import keras
from keras import layers, ops

from restore_tf.networks.restorer import Restorer
from toy_papers import tiny


@keras.saving.register_keras_serializable(package="toy_papers")
class Generator(Restorer):
    def __init__(self, **kwargs):
        super().__init__(name="adversary", **kwargs)
        self.conv1 = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")
        self.conv2 = layers.Conv2D(3, 3, padding="same", name="conv2", dtype="float32")

    def call(self, images, training=False):
        return [images + self.conv2(self.conv1(images))]

    def get_config(self):
        return {}


def critic():
    """Judges patches: 1 for sharp ones, 0 for restored ones."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 4, 2, activation="leaky_relu", name="conv1"),
            layers.Conv2D(1, 3, name="conv2", dtype="float32"),
        ],
        name="critic",
    )


VARIANTS = {"adversary": {}}
RECIPES = {"tiny": lambda model: tiny(model, "charbonnier_clipped")}


def build(experiment):
    return Generator(**experiment.network)


def make_parts(experiment):
    return {"critic": critic()}


def make_step(experiment, strategy, state, accumulate):
    generator, critic = state.main, state.parts["critic"]

    def judged(images, wanted):
        return ops.mean(ops.square(critic.model(images) - wanted), axis=(1, 2, 3))

    def critic_loss(degraded, sharp, seeds):
        restored = ops.stop_gradient(generator.model(degraded, training=True)[-1])
        return judged(sharp, 1.0) + judged(restored, 0.0)

    def generator_loss(degraded, sharp, seeds):
        stages = generator.model(degraded, training=True)
        return generator.model.stages_loss(sharp, stages) + 0.1 * judged(stages[-1], 1.0)

    def replica_step(batch):
        return {
            "critic": critic.minimize(critic_loss, batch, accumulate),
            "loss": generator.minimize(generator_loss, batch, accumulate),
        }

    return state.compiled(strategy, replica_step)
