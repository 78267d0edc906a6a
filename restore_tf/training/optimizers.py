"""Adam as trainings use it: on a schedule times a factor, and clipped by global norms."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from restore_tf.training.schedules import Scaled, learning_rate


class ScheduledAdam(keras.optimizers.Adam):
    """Adam on a schedule times a factor, which falls when validation no longer improves.

    Callbacks such as ReduceLROnPlateau may set `learning_rate` to a number: that changes the
    factor, and the rate goes on along the schedule from there.

    Args:
      schedule: a Keras schedule.
      lowest: the factor takes no rate below this one.
      kwargs: Adam's.

    Attributes:
      schedule: the `Scaled` schedule.
      rate_factor: its factor, 1 at first. It belongs to the optimizer because JAX passes to a
        compiled step the optimizer's own variables, and takes all others for constants.
    """

    def __init__(self, schedule, lowest: float, **kwargs):
        scaled = Scaled(schedule, lowest)
        super().__init__(scaled, **kwargs)
        self.schedule = scaled
        scaled.factor = self.rate_factor = self.add_variable(
            (), initializer="ones", aggregation="only_first_replica", name="rate_factor"
        )

    @property
    def learning_rate(self):
        """The rate of the next update; see the class for what setting it does."""
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        self.rate_factor.assign(rate / self.schedule.schedule(self.iterations))


class ClippedAdam(ScheduledAdam):
    """`ScheduledAdam` that clips gradients and averages weights: all of a step on one device.

    Args:
      schedule: a Keras schedule.
      lowest: the factor takes no rate below this one.
      limits: what to clip, as `clip_limits` returns it.
      momentum: of the moving average of the weights, see `WeightAverage`, or None.
      kwargs: Adam's.

    Attributes:
      averages: one variable for each weight; empty without a momentum.
    """

    def __init__(self, schedule, lowest: float, limits=(), momentum=None, **kwargs):
        super().__init__(schedule, lowest, **kwargs)
        self._limits, self._momentum = limits, momentum
        self.averages: list = []

    def build(self, variables):
        """Makes the variables of Adam and of the average, which starts at the weights.

        Args:
          variables: the trainable variables.
        """
        super().build(variables)
        # In a function: variables of an attribute Keras would take for the optimizer's own.
        self._weights = lambda: variables
        if self._momentum is not None:
            self.averages = self.add_optimizer_variables(variables, "average")
            for average, weight in zip(self.averages, variables, strict=True):
                average.assign(np.array(weight.numpy()))  # JAX would not copy a variable

    def apply(self, grads, trainable_variables=None):
        """Clips, updates as Adam does, then averages.

        Args:
          grads: one for each trainable variable.
          trainable_variables: those; None for the ones that the optimizer was built with.
        """
        grads = list(grads)
        for places, limit in self._limits:
            norm = ops.sqrt(sum(ops.sum(ops.square(grads[i])) for i in places))
            for i in places:
                grads[i] = grads[i] * (limit / ops.maximum(norm, limit))
        super().apply(grads, trainable_variables)
        if self._momentum is None:
            return
        momentum = average_momentum(self._momentum, self.iterations)
        for average, weight in zip(self.averages, self._weights(), strict=True):
            average.assign(momentum * average + (1 - momentum) * weight)


def average_momentum(momentum: float, step):
    """Returns the momentum of a moving average of weights after some steps.

    As in tf.train.ExponentialMovingAverage the first steps average over fewer: after n steps the
    momentum is at most (1 + n) / (10 + n).

    Args:
      momentum: the largest, such as 0.999.
      step: optimizer steps done, a scalar tensor.

    Returns:
      A scalar tensor.
    """
    done = ops.cast(step, "float32")
    return ops.minimum(momentum, (1 + done) / (10 + done))


def make_optimizer(experiment, model, loss_scaling: bool = False, kind=ScheduledAdam, **more):
    """Returns an experiment's optimizer for a built network.

    Args:
      experiment: the `Experiment`: its learning rates and Adam's numbers.
      model: the network.
      loss_scaling: whether it scales the loss, as 16-bit floats ("mixed_float16") need.
      kind: the class.
      more: arguments of the class beside its schedule and Adam's.
    """
    optimizer = kind(
        learning_rate(experiment),
        experiment.end_learning_rate,
        beta_1=experiment.beta_1,
        beta_2=experiment.beta_2,
        epsilon=experiment.epsilon,
        name="adam",
        **more,
    )
    if loss_scaling:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scaling")
    optimizer.build(model.trainable_variables)
    return optimizer


def clip_limits(experiment, model) -> list[tuple[list[int], float]]:
    """Returns how gradients are clipped, in order.

    First the model's recurrent weights alone (`recurrent_variables`, where it has some), then all
    together, each where the experiment asks for it.

    Args:
      experiment: the `Experiment`.
      model: the built network.

    Returns:
      (indices into the trainable variables, largest global norm) of each clipping.
    """
    recurrent = {id(variable) for variable in getattr(model, "recurrent_variables", ())}
    everything = list(range(len(model.trainable_variables)))
    some = [i for i in everything if id(model.trainable_variables[i]) in recurrent]
    limits = [(some, experiment.recurrent_clip_norm), (everything, experiment.global_clip_norm)]
    return [(places, limit) for places, limit in limits if places and limit is not None]
