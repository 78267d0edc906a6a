"""What the loop needs to compute steps; `tensorflow_engine` and `backend_engine` implement it.

An engine knows the machine (devices, workers, the library that computes), the loop knows the order
of things. Neither knows the network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from restore_tf.datasets.samples import check_training
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.networks.dtype_policy import computing_in
from restore_tf.training.options import Options
from restore_tf.training.phases import Phase, phases
from restore_tf.training.state import State
from restore_tf.weights.load import load_initial, load_model


class Engine:
    """One process of a training, on one device unless a subclass says otherwise.

    Subclasses also have

      start(workdir)                 builds `state` and `checkpoints`, and resumes where it can
      batches(source, phase, step)   yields the batches from that step to the phase's end
      step(batch)                    updates the weights; returns {name: loss}, still on the device
      read(losses)                   copies a list of those from the device, as {name: array}

    Args:
      experiment: the `Experiment`.
      options: the `Options`.

    Attributes:
      state: the `State`.
      checkpoints: what saves and restores it.
      writes: whether this process writes files: of several workers, the chief alone.
      alone: whether this process is the only one.
      resumed: whether this process, one that writes, restored a checkpoint.
      write_errors: what a full or read-only disk raises.
    """

    replicas = 1
    writes = True
    alone = True
    resumed = False
    write_errors: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, experiment, options: Options):
        self.experiment, self.options = experiment, options
        self.state: State = None  # type: ignore[assignment]  # made by `start`
        self.checkpoints = None

    def check(self) -> None:
        """Checks that every phase's batch divides by devices and micro-batches.

        Raises:
          UserError: one does not.
        """
        parts = self.replicas * self.options.accumulate
        for phase in phases(self.experiment):
            if phase.batch % parts:
                raise UserError(
                    f"batch {phase.batch} does not divide by {self.replicas} devices times "
                    f"{self.options.accumulate} micro-batches; pass --set batch=…"
                )

    def check_data(self, source) -> None:
        """Checks that the network can be trained on these pairs.

        Args:
          source: the training pairs.

        Raises:
          UserError: crops that the network or the pictures do not take.
        """
        model, augment = self.state.model, self.experiment.augment
        for phase in phases(self.experiment):
            field = "crop" if phase.crop == self.experiment.crop else "progressive"
            check_training(
                source, phase.crop, augment, model.size_multiple, model.output_scale, field
            )
        if model.adapt_samples:
            crop = self.experiment.crop
            check_training(source, crop, (), model.size_multiple, model.output_scale, "crop")

    def build(self):
        """Returns the network that training starts from."""
        with computing_in(self.options.precision):
            model = experiments.build(self.experiment)
        if self.options.init_from:
            load_initial(self.options.init_from, model)
        if self.options.init_predictor:
            # Loaded as a network of its own: paths of variables begin with their owner's.
            trained = load_model(self.options.init_predictor)
            model.predictor.set_weights(trained.get_weights())
        return model

    def compile(self) -> None:
        """Compiles the network with its loss, and the optimizer for callbacks."""
        self.state.model.compile(self.state.main.optimizer, self.experiment.loss)

    def agreed(self, values: Sequence[float]) -> Sequence[float]:
        """Returns the chief's values; all workers wait for each other here.

        Args:
          values: this worker's, as many on every worker.
        """
        return values

    def any_of(self, wishes: Sequence[bool]) -> list[bool]:
        """Returns which of these any worker wishes; all workers must ask together.

        Args:
          wishes: this worker's.
        """
        return list(wishes)

    def failures(self):
        """Returns a context that turns a library's exceptions into errors of one line."""
        return contextlib.nullcontext()

    def batch_arguments(self, phase: Phase, step: int) -> dict:
        """Returns the arguments of both data pipelines for the batches of a phase.

        Args:
          phase: the `Phase`.
          step: steps done.
        """
        return {
            "crop": phase.crop,
            "batch": phase.batch,
            "seed": self.options.seed,
            "first_sample": phase.sample(step),
            "augment": self.experiment.augment,
            "channels": self.state.model.channels,
            "output_scale": self.state.model.output_scale,
            "size_multiple": self.state.model.size_multiple,
        }
