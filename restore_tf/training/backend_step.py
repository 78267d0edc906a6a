"""One training step on any of Keras' backends, by `train_on_batch`."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


def make_step(state):
    """Returns a function that updates the weights once.

    Args:
      state: the `State`, with an optimizer that clips and averages by itself; its restorer is
        compiled with the experiment's loss.

    Returns:
      A function of a batch of (degraded, sharp, seeds) that returns {"loss": the batch's mean}.
      Keras fetches it from the device at every step.
    """
    model = _Loss(state.model)
    # Where XLA is a choice, on TensorFlow, it compiles anew for every size of crops.
    jit = "auto" if keras.backend.backend() == "jax" else False
    model.compile(optimizer=state.main.optimizer, jit_compile=jit)

    def step(batch):
        return model.train_on_batch(tuple(batch), return_dict=True)

    return step


def read(losses) -> dict[str, np.ndarray]:
    """Returns the losses of several steps as arrays.

    Args:
      losses: {name: loss} of each step.

    Returns:
      {name: (steps,) float32}.
    """
    return {name: np.array([one[name] for one in losses], np.float32) for name in losses[0]}


class _Loss(keras.Model):
    """A restorer's training loss as a Keras model's output, for Keras to lower."""

    def __init__(self, restorer):
        super().__init__(name="loss")
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
        return self.restorer.training_loss(*batch)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the mean over the batch; Keras calls this.

        Args:
          x: not used.
          y: not used.
          y_pred: the loss of each image, (batch,).
          sample_weight: not used.
          training: not used.
        """
        return ops.mean(y_pred)
