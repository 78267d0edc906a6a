"""What a training remembers: all that it needs to continue as if it had never stopped."""

from __future__ import annotations

import contextlib

import keras
import tensorflow as tf

from restore_tf.training.schedules import Scaled, learning_rate
from restore_tf.weights.run import by_path


class State:
    """Weights, optimizer, averages and counters of one training.

    The data's position and every random seed are functions of the step. Make it inside the
    strategy's scope.

    Args:
      experiment: the `Experiment`.
      model: its built network.
      loss_scaling: whether the optimizer scales the loss, as 16-bit floats ("mixed_float16") need.

    Attributes:
      model, optimizer: the network and the Keras optimizer.
      average: the `WeightAverage` where the experiment has an `ema_momentum`, else None.
      step: steps done. (The optimizer's own count leaves out steps that overflowed.)
      best_psnr: highest validation PSNR so far, in dB; -inf before the first.
      validations_since_best: what early stopping looks at.
      plateau: validations since the best one or the last cut of the learning rate.
      rate_factor: what a plateau has left of the learning rate, 1 at first.
    """

    def __init__(self, experiment, model, loss_scaling: bool = False):
        self.model = model
        self.step = _counter(0, tf.int64)
        self.best_psnr = _counter(float("-inf"), tf.float64)
        self.validations_since_best = _counter(0, tf.int64)
        self.plateau = _counter(0, tf.int64)
        self.rate_factor = _counter(1.0, tf.float32)
        self.learning_rate = Scaled(
            learning_rate(experiment), self.rate_factor, experiment.end_learning_rate
        )
        optimizer = keras.optimizers.Adam(
            self.learning_rate,
            beta_1=experiment.beta_1,
            beta_2=experiment.beta_2,
            epsilon=experiment.epsilon,
            name="adam",
        )
        if loss_scaling:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scaling")
        self.optimizer = optimizer
        self.optimizer.build(model.trainable_variables)
        momentum = experiment.ema_momentum
        self.average = None if momentum is None else WeightAverage(model, momentum)

    def saved(self) -> dict[str, dict[str, tf.Variable]]:
        """Returns {group: {name: TensorFlow variable}} of everything."""
        counters = ("step", "best_psnr", "validations_since_best", "plateau", "rate_factor")
        groups = {
            "model": by_path(self.model.variables),
            # Whole paths: a loss-scaling optimizer and the one inside both count iterations.
            "optimizer": {variable.path: variable.value for variable in self.optimizer.variables},
            "progress": {name: getattr(self, name) for name in counters},
        }
        if self.average:
            groups["average"] = self.average.by_path()
        return groups

    def variables(self) -> list[tf.Variable]:
        """Returns every saved variable, always in the same order."""
        return [variable for group in self.saved().values() for variable in group.values()]

    def judged_weights(self):
        """Within this context the model has the weights that are evaluated and exported."""
        return self.average.in_place() if self.average else contextlib.nullcontext()

    def note_validation(self, psnr: float, patience: int | None, factor: float) -> bool:
        """Takes a validation's PSNR into account; returns whether it is the best so far.

        Args:
          psnr: in dB.
          patience: after so many validations without a new best the learning rate is cut; None for
            never.
          factor: what the learning rate is then multiplied with.
        """
        best = psnr > self.best_psnr.numpy()
        if best:
            self.best_psnr.assign(psnr)
        since_best = 0 if best else int(self.validations_since_best.numpy()) + 1
        plateau = 0 if best else int(self.plateau.numpy()) + 1
        if patience is not None and plateau >= patience:
            self.rate_factor.assign(self.rate_factor.numpy() * factor)
            plateau = 0
        self.validations_since_best.assign(since_best)
        self.plateau.assign(plateau)
        return best


def _counter(value, dtype):
    return tf.Variable(value, dtype=dtype, trainable=False)


class WeightAverage:
    """Exponential moving average of the weights (EMA): smoother, and usually better, than the last.

    It is evaluated and exported; the training itself goes on from the plain weights. Keras' own
    `use_ema` overwrites them, which is wrong for resuming. As in tf.train.ExponentialMovingAverage
    the first steps average over fewer: the momentum after n steps is at most (1 + n) / (10 + n).

    Args:
      model: the built network.
      momentum: of the average, for example 0.999.
    """

    def __init__(self, model, momentum: float):
        self._model = model
        self._momentum = momentum
        self._averages = [
            tf.Variable(variable.value, trainable=False) for variable in model.trainable_variables
        ]

    def by_path(self) -> dict[str, tf.Variable]:
        """Returns {path as the model's: average}."""
        names = by_path(self._model.trainable_variables)
        return dict(zip(names, self._averages, strict=True))

    def update(self, strategy, step) -> None:
        """Adds the weights after `step` steps, a tensor; call it outside of `strategy.run`."""
        done = tf.cast(step, tf.float32)
        momentum = tf.minimum(self._momentum, (1 + done) / (10 + done))

        def move(average, weight):
            average.assign(momentum * average + (1 - momentum) * weight)

        weights = [variable.value for variable in self._model.trainable_variables]
        for average, weight in zip(self._averages, weights, strict=True):
            strategy.extended.update(average, move, args=(weight,), group=False)

    @contextlib.contextmanager
    def in_place(self):
        """Puts the averages into the model and, at the end, the weights back."""
        variables = self._model.trainable_variables
        weights = [variable.numpy() for variable in variables]
        for variable, average in zip(variables, self._averages, strict=True):
            variable.assign(average.numpy())
        try:
            yield
        finally:
            for variable, weight in zip(variables, weights, strict=True):
                variable.assign(weight)
