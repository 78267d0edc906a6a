"""The recipe's loss on the validation pictures, where it chooses the best weights."""

from __future__ import annotations

import keras
import numpy as np

from restore_tf.datasets.numpy_pairs import Batches
from restore_tf.datasets.sources import MemorySource
from restore_tf.errors import UserError
from restore_tf.networks.restorer import Restorer
from restore_tf.training.phases import phases


class ValidationLoss:
    """Mean loss of one crop of each validation picture, always the same ones.

    Crops, because stages and losses are made for those of the training. A network with a loss of
    its own draws the same noise for it every time.

    Args:
      model: the network being trained, compiled with its loss.
      pairs: (degraded, sharp) of each picture, (height, width, 3) uint8.
      experiment: the `Experiment`; its last crop size is taken, or less where a picture is smaller.
      seed: of the crops' places.

    Raises:
      UserError: a picture is smaller than the network takes.
    """

    def __init__(self, model, pairs, experiment, seed: int):
        names = [f"validation picture {number}" for number in range(1, len(pairs) + 1)]
        scale = model.output_scale
        source = MemorySource(names, pairs, scale)
        side = min(phases(experiment)[-1].crop, *(min(size) for size in source.sizes))
        crop = side // model.size_multiple * model.size_multiple
        if not crop:
            raise UserError(
                f"best_metric loss: a validation picture of {side} pixels is smaller than the "
                f"{model.size_multiple} that {model.name} takes; leave it out."
            )
        batches = Batches(
            source,
            crop=crop,
            batch=len(pairs),
            steps=1,
            seed=seed,
            channels=model.channels,
            output_scale=scale,
        )
        self._batch = batches[0]
        self._function = _compiled(_Loss(model))

    def __call__(self) -> float:
        """Returns the loss that the network's weights have now."""
        return float(np.mean(self._function(self._batch)))


class _Loss(keras.Model):
    """A restorer's loss when it does not train, as a model's output, for Keras to compile."""

    def __init__(self, restorer):
        super().__init__(name="validation_loss")
        self.restorer = restorer
        self.autocast = False  # images stay float32, see `Restorer`
        self.built = True

    def call(self, batch):
        """Returns the loss of each image.

        Args:
          batch: (degraded, sharp, seeds): images (batch, height, width, channels) in [0, 1], int32
            (batch, 2).

        Returns:
          (batch,) float32.
        """
        degraded, sharp, _ = batch
        if type(self.restorer).training_loss is not Restorer.training_loss:
            return self.restorer.training_loss(*batch)
        return self.restorer.stages_loss(sharp, self.restorer(degraded, training=False))


def _compiled(model):
    """A function of a batch of arrays, compiled once."""
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    function = tf.function(model.call, autograph=False)  # whatever strategy its variables are of
    return lambda batch: function(tuple(map(tf.constant, batch))).numpy()
