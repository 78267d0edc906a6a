"""Adam and Muon as trainings use them: on a schedule times a factor, clipped by global norms."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from restore_tf.training.schedules import Scaled, learning_rate


class _Scheduled(keras.optimizers.Optimizer):
    """An optimizer on a schedule times a factor, which falls when validation no longer improves.

    Callbacks such as ReduceLROnPlateau may set `learning_rate` to a number: that changes the
    factor, and the rate goes on along the schedule from there.

    Args:
      schedule: a Keras schedule.
      lowest: the factor takes no rate below this one.
      kwargs: the optimizer's.

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


class _Clipped(keras.optimizers.Optimizer):
    """Clips gradients and averages weights as well: all of a step on one device.

    Args:
      schedule: a Keras schedule.
      lowest: the factor takes no rate below this one.
      limits: what to clip, as `clip_limits` returns it.
      momentum: of the moving average of the weights, see `WeightAverage`, or None.
      kwargs: the optimizer's.

    Attributes:
      averages: one variable for each weight; empty without a momentum.
    """

    def __init__(self, schedule, lowest: float, limits=(), momentum=None, **kwargs):
        super().__init__(schedule, lowest, **kwargs)
        self._limits, self._momentum = limits, momentum
        self.averages: list = []

    def build(self, variables):
        """Makes the variables of the optimizer and of the average, which starts at the weights.

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
        """Clips, updates, then averages.

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


class KernelMuon(keras.optimizers.Muon):
    """Muon on the kernels of convolutions; Adam on all else.

    A kernel (height, width, a, b) is a matrix of height * width * a rows, which is what Muon
    (https://kellerjordan.github.io/posts/muon) makes orthogonal. Keras' own passes matrices alone
    to it. Kernels of few channels, such as the first and the last, are Adam's.
    """

    _LEAST_CHANNELS = 16

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4 or min(variable.shape[2:]) < self._LEAST_CHANNELS

    def zeropower_via_newtonschulz5(self, x, steps):
        """The nearest orthogonal matrix, about: Keras' iteration in half its time.

        For the matrix X let G be its square X^T X, and q the polynomial of a step, which makes
        X q(G) of X, and so q(G) G q(G) of G. So the tall X need not be touched in between. It is,
        once: a rounding error that leaves G with an eigenvalue below 0 grows twelvefold with each
        step, too much in five of them where a device multiplies in TF32.

        Args:
          x: the momentum of a kernel, (height, width, a, b).
          steps: of the iteration.
        """
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        wide = matrix.shape[0] < matrix.shape[1]
        if wide:
            matrix = ops.transpose(matrix)
        matrix = matrix / (ops.norm(matrix) + 1e-7)
        for some in (steps // 2, steps - steps // 2):
            matrix = self._iterated(matrix, some)
        return ops.reshape(ops.transpose(matrix) if wide else matrix, x.shape)

    def _iterated(self, matrix, steps):
        """A tall matrix after some steps."""
        one = ops.eye(matrix.shape[1], dtype=matrix.dtype)
        square, product = ops.transpose(matrix) @ matrix, one
        for left in reversed(range(steps)):
            turn = self.muon_a * one + self.muon_b * square + self.muon_c * square @ square
            product = product @ turn
            if left:
                square = turn @ square @ turn
        return matrix @ product

    def lr_adjust(self, x):
        """As Keras does for a matrix: updates as large as Adam's (arXiv 2502.16982).

        Args:
          x: the update of a kernel, (height, width, a, b).
        """
        rows = x.shape[0] * x.shape[1] * x.shape[2]
        return x * (self.rms_rate * max(rows, x.shape[3]) ** 0.5)


class ScheduledAdam(_Scheduled, keras.optimizers.Adam):
    """Adam on a schedule."""


class ScheduledMuon(_Scheduled, KernelMuon):
    """Muon on a schedule."""


class ClippedAdam(_Clipped, ScheduledAdam):
    """Adam on a schedule that clips and averages by itself."""


class ClippedMuon(_Clipped, ScheduledMuon):
    """Muon on a schedule that clips and averages by itself."""


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


def make_optimizer(experiment, model, loss_scaling: bool = False, clipped: bool = False):
    """Returns an experiment's optimizer for a built network.

    Args:
      experiment: the `Experiment`: its optimizer, learning rates and Adam's numbers.
      model: the network.
      loss_scaling: whether it scales the loss, as 16-bit floats ("mixed_float16") need.
      clipped: whether it clips and averages by itself, as the experiment says.
    """
    kinds = {
        "adam": (ScheduledAdam, ClippedAdam),
        "muon": (ScheduledMuon, ClippedMuon),
    }
    adam = {"beta_1": experiment.beta_1, "beta_2": experiment.beta_2}
    if experiment.optimizer == "muon":
        adam = {f"adam_{name}": value for name, value in adam.items()}
        adam |= {"weight_decay": None, "adam_weight_decay": None}
    limits = {"limits": clip_limits(experiment, model), "momentum": experiment.ema_momentum}
    optimizer = kinds[experiment.optimizer][clipped](
        learning_rate(experiment),
        experiment.end_learning_rate,
        epsilon=experiment.epsilon,
        name=experiment.optimizer,
        **adam,
        **(limits if clipped else {}),
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
