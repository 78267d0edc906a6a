"""The state of a training: all that it needs to continue as if it was never stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras

from restore_tf.training.averages import WeightAverage
from restore_tf.training.optimizers import clip_limits, make_optimizer

MAIN = "restorer"  # the part that is validated, averaged and exported
_BEST = "best_psnr"  # its name in checkpoints, whatever the metric


@dataclasses.dataclass
class Part:
    """One network of a training, and what trains it.

    Attributes:
      model: the built network.
      optimizer: its own; with 16-bit floats it scales its own loss.
      average: the `WeightAverage` of the main network where the experiment has an `ema_momentum`.
      clip_limits: how its gradients are clipped, see `optimizers.clip_limits`.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    average: WeightAverage | None = None
    clip_limits: Sequence[tuple[list[int], float]] = ()

    @property
    def plain_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer without its loss scaling."""
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    def minimize(self, loss: Callable, batch, accumulate: int = 1):
        """Updates the weights once; for use in a step on TensorFlow, see `step.minimize`.

        Args:
          loss: function of a batch's tensors that returns one value per image.
          batch: this replica's tensors, such as (degraded, sharp, seeds).
          accumulate: micro-batches that the batch is cut into.

        Returns:
          This replica's share of the loss.
        """
        from restore_tf.training import step

        return step.minimize(self, loss, batch, accumulate)

    def apply(self, gradients) -> None:
        """Updates the weights by given gradients; see `step.apply`.

        Args:
          gradients: of this replica's share of the loss, one for each trainable variable.
        """
        from restore_tf.training import step

        step.apply(self, gradients)


class State:
    """Networks, optimizers, averages and counters of one training.

    The data's position and every random seed are functions of the step. Make it inside the
    strategy's scope.

    Args:
      experiment: the `Experiment`.
      model: the built `Restorer`.
      loss_scaling: whether optimizers scale the loss, as 16-bit floats ("mixed_float16") need.
      others: {name: built network} that train beside it, such as a discriminator.
      make: returns a network's optimizer, as `optimizers.make_optimizer` does.

    Attributes:
      parts: {name: `Part`}; the restorer's name is `MAIN`.
      step: steps done. (An optimizer's own count leaves out steps that overflowed.)
      best_score: the best validation's so far; -inf before the first.
      validations_since_best: what early stopping looks at.
      plateau: validations since the best one or the last cut of the learning rate.
    """

    def __init__(self, experiment, model, loss_scaling=False, others=None, make=make_optimizer):
        networks = {MAIN: model, **_checked(others or {})}
        self.parts = {
            name: Part(
                network,
                make(experiment, network, loss_scaling),
                clip_limits=clip_limits(experiment, network),
            )
            for name, network in networks.items()
        }
        if experiment.ema_momentum is not None:
            averages = getattr(self.main.plain_optimizer, "averages", None)
            self.main.average = WeightAverage(model, experiment.ema_momentum, averages)
        self.step = 0
        self.best_score = -math.inf
        self.validations_since_best = 0
        self.plateau = 0

    @property
    def main(self) -> Part:
        """The restorer and what trains it."""
        return self.parts[MAIN]

    @property
    def model(self) -> keras.Model:
        """The restorer itself."""
        return self.main.model

    def learning_rate(self, step: int) -> float:
        """Returns the restorer's learning rate of the update that follows `step` updates.

        Args:
          step: updates done.
        """
        return float(self.main.plain_optimizer.schedule(step))

    def compiled(self, strategy, replica_step: Callable) -> Callable:
        """Returns a step on TensorFlow from what one replica does; see `step.compiled`.

        Args:
          strategy: the tf.distribute strategy that this state was made under.
          replica_step: function of one replica's batch that returns {name: share of a loss}.

        Returns:
          A function of a (distributed) batch that returns {name: loss}.
        """
        from restore_tf.training import step

        return step.compiled(strategy, self, replica_step)

    def saved(self) -> dict[str, dict[str, keras.Variable]]:
        """Returns {group: {path: variable}} of everything but `numbers`."""
        groups = {}
        for name, part in self.parts.items():
            model, optimizer = _groups(name)
            factor = part.plain_optimizer.rate_factor
            averages = {id(variable) for variable in getattr(part.plain_optimizer, "averages", ())}
            groups[model] = _by_path(part.model.variables)
            groups[optimizer] = _by_path(
                variable
                for variable in part.optimizer.variables
                if variable is not factor and id(variable) not in averages
            )
            if part.average:
                groups["average"] = part.average.by_path()
        return groups

    def variables(self) -> list[keras.Variable]:
        """Returns every saved variable, always in the same order."""
        return [variable for group in self.saved().values() for variable in group.values()]

    def numbers(self) -> dict[str, float]:
        """Returns {name: number} of the progress, to be saved beside the variables."""
        return {
            "step": self.step,
            _BEST: self.best_score,
            "validations_since_best": self.validations_since_best,
            "plateau": self.plateau,
            **{name: float(factor.numpy()) for name, factor in self._factors().items()},
        }

    def set_numbers(self, numbers: Mapping[str, float]) -> None:
        """Sets the progress that `numbers` returned; missing names keep their values.

        Args:
          numbers: {name: number}.
        """
        numbers = self.numbers() | dict(numbers)
        self.step = int(numbers["step"])
        self.best_score = float(numbers[_BEST])
        self.validations_since_best = int(numbers["validations_since_best"])
        self.plateau = int(numbers["plateau"])
        for name, factor in self._factors().items():
            factor.assign(numbers[name])

    def validated_weights(self):
        """Within this context the model has the weights that are evaluated and exported."""
        average = self.main.average
        return average.in_place() if average else contextlib.nullcontext()

    def note_validation(
        self,
        score: float,
        patience: int | None = None,
        factor: float = 0.5,
        higher_is_better: bool = True,
    ) -> bool:
        """Takes a validation's score into account; returns whether it is the best so far.

        Args:
          score: such as a PSNR in dB.
          patience: after so many validations without a new best the learning rate is cut; None for
            never.
          factor: what the learning rate is then multiplied with.
          higher_is_better: as of PSNR; false for a distance such as LPIPS.
        """
        first = self.best_score == -math.inf and not math.isnan(score)
        best = first or (score > self.best_score if higher_is_better else score < self.best_score)
        if best:
            self.best_score = score
        self.validations_since_best = 0 if best else self.validations_since_best + 1
        self.plateau = 0 if best else self.plateau + 1
        if patience is not None and self.plateau >= patience:
            self.plateau = 0
            for variable in self._factors().values():
                variable.assign(variable.numpy() * factor)
        return best

    def _factors(self):
        """{name in checkpoints: variable} of what plateaus have left of the learning rates."""
        return {
            "rate_factor" if name == MAIN else f"{name}_rate_factor": (
                part.plain_optimizer.rate_factor
            )
            for name, part in self.parts.items()
        }


def _groups(name):
    """The names of a part's two groups in checkpoints."""
    return ("model", "optimizer") if name == MAIN else (name, f"{name}_optimizer")


def _by_path(variables):
    found = {}
    for variable in variables:
        if found.setdefault(variable.path, variable) is not variable:
            raise ValueError(
                f"two variables are called {variable.path}; give layers names of their own."
            )
    return found


def _checked(others):
    taken = {MAIN, "model", "optimizer", "average", "progress"}
    if wrong := taken & set(others):
        raise ValueError(f"a part of a training may not be called {', '.join(sorted(wrong))}.")
    return others
