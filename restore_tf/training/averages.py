"""Moving averages of weights, which are evaluated and exported in their place."""

from __future__ import annotations

import contextlib

import keras
import numpy as np

from restore_tf.training.optimizers import average_momentum


class WeightAverage:
    """Exponential moving average of the weights (EMA): smoother, and usually better, than the last.

    It is evaluated and exported; the training itself goes on from the plain weights. Keras' own
    `use_ema` overwrites them, which is wrong for resuming.

    Args:
      model: the built network.
      momentum: of the average, for example 0.999; less in the first steps, see `average_momentum`.
      averages: the variables that hold it, one for each trainable variable of the model; made here
        where an optimizer does not bring them.
    """

    def __init__(self, model, momentum: float, averages=None):
        self._model = model
        self._momentum = momentum
        self._averages = averages or [
            # As an array: a TensorFlow variable would not be copied.
            keras.Variable(variable.numpy(), trainable=False, dtype=variable.dtype)
            for variable in model.trainable_variables
        ]

    def by_path(self) -> dict[str, keras.Variable]:
        """Returns {path of the model's variable: average}."""
        paths = [variable.path for variable in self._model.trainable_variables]
        return dict(zip(paths, self._averages, strict=True))

    def update(self, strategy, step) -> None:
        """Adds the current weights to the average, under a TensorFlow strategy.

        Call it outside of `strategy.run`.

        Args:
          strategy: the tf.distribute strategy that the model was made under.
          step: optimizer steps done, a scalar tensor.
        """
        momentum = average_momentum(self._momentum, step)

        def move(average, weight):
            average.assign(momentum * average + (1 - momentum) * weight)

        weights = [variable.value for variable in self._model.trainable_variables]
        for average, weight in zip(self._averages, weights, strict=True):
            strategy.extended.update(average.value, move, args=(weight,), group=False)

    @contextlib.contextmanager
    def in_place(self):
        """Within this context the model has the averages in place of its weights."""
        variables = self._model.trainable_variables
        weights = [np.array(variable.numpy()) for variable in variables]
        for variable, average in zip(variables, self._averages, strict=True):
            variable.assign(np.array(average.numpy()))
        try:
            yield
        finally:
            for variable, weight in zip(variables, weights, strict=True):
                variable.assign(weight)
