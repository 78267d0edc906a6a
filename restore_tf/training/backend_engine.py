"""Training on any of Keras' backends, such as JAX and PyTorch: one device, no TensorFlow needed."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

from restore_tf.datasets.numpy_pairs import Batches
from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.training import backend_step
from restore_tf.training.checkpoints import ArrayCheckpoints
from restore_tf.training.engine import Engine
from restore_tf.training.optimizers import make_optimizer
from restore_tf.training.state import State

# One that clips and averages by itself, as a step of `training.backend_step` does nothing more.
_OPTIMIZER = functools.partial(make_optimizer, clipped=True)


class BackendEngine(Engine):
    """Steps by `training.backend_step`.

    Args:
      experiment: the `Experiment`.
      options: the `Options`.
      strategy: None.

    Raises:
      UserError: for what needs TensorFlow: a strategy, micro-batches, a paper's own step.
    """

    def __init__(self, experiment, options, strategy=None):
        super().__init__(experiment, options)
        paper = papers.find(experiment.model)
        needs = "needs Keras' TensorFlow backend"
        if strategy is not None:
            raise UserError(f"strategy: {needs}; leave it out.")
        if options.accumulate != 1:
            raise UserError(f"accumulate: {needs}; leave it at 1.")
        if hasattr(paper, "make_step"):
            raise UserError(f"{experiment.model}: its training {needs}; unset KERAS_BACKEND.")

    def start(self, workdir):
        """Builds the network, and resumes where there is a checkpoint.

        Args:
          workdir: the run directory.

        Raises:
          UserError: a checkpoint that cannot be resumed from.
        """
        loss_scaling = self.options.precision == "mixed_float16"
        self.state = State(self.experiment, self.build(), loss_scaling, make=_OPTIMIZER)
        self.compile()
        self.checkpoints = ArrayCheckpoints(workdir, self.state)
        if self.options.resume:
            self.resumed = self.checkpoints.restore()
        self.step = backend_step.make_step(self.state)
        self.read = backend_step.read

    def batches(self, source, phase, step):
        """Yields the batches of (degraded, sharp, seeds) up to the phase's end.

        A thread prepares the next batch in the meantime.

        Args:
          source: the training pairs.
          phase: the `Phase`.
          step: steps done.
        """
        steps = phase.end - step
        batches = Batches(source, steps=steps, **self.batch_arguments(phase, step))
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(batches.__getitem__, 0)
            for number in range(steps):
                batch = following.result()
                if number + 1 < steps:
                    following = pool.submit(batches.__getitem__, number + 1)
                yield batch
