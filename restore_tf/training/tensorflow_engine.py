"""Training on TensorFlow: under every strategy of tf.distribute."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from restore_tf.datasets import pairs
from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.networks.dtype_policy import computing_in
from restore_tf.training import step as steps
from restore_tf.training import strategies
from restore_tf.training.checkpoints import Checkpoints
from restore_tf.training.engine import Engine
from restore_tf.training.messages import first_line
from restore_tf.training.state import State

_RAISED = f"{UserError.__name__}: "  # what `datasets.samples` raised, in TensorFlow's words


class WorkerLost(UserError):
    """Another worker ended. This one did nothing wrong, and a restart helps."""

    exit_code = 1


class TensorFlowEngine(Engine):
    """Steps by `training.step`, or a paper's own, on all replicas of a strategy.

    Args:
      experiment: the `Experiment`.
      options: the `Options`.
      strategy: from `strategies.make_strategy`; None for one device.
    """

    write_errors = (OSError, tf.errors.OpError)

    def __init__(self, experiment, options, strategy=None):
        super().__init__(experiment, options)
        self.strategy = strategy or tf.distribute.get_strategy()
        self.replicas = self.strategy.num_replicas_in_sync
        self.writes = strategies.is_chief(self.strategy)
        self.alone = strategies.worker_count(self.strategy) == 1
        self.agreed = strategies.from_chief(self.strategy)
        self.any_of = strategies.any_of(self.strategy)

    def start(self, workdir):
        """Builds the networks under the strategy; resumes where the chief finds a checkpoint.

        Args:
          workdir: the run directory.

        Raises:
          UserError: a checkpoint that cannot be resumed from.
        """
        paper = papers.find(self.experiment.model)
        make_parts = getattr(paper, "make_parts", lambda experiment: {})
        make_step = getattr(paper, "make_step", steps.make_step)
        with self.strategy.scope():
            model = self.build()
            loss_scaling = self.options.precision == "mixed_float16"
            with computing_in(self.options.precision):
                others = make_parts(self.experiment)
            self.state = State(self.experiment, model, loss_scaling, others)
            self.compile()
        self.checkpoints = Checkpoints(workdir, self.state, self.writes)
        if self.options.resume and self.writes:
            self.resumed = self.checkpoints.restore()
        strategies.share_state(self.strategy, self.state)
        self.step = make_step(self.experiment, self.strategy, self.state, self.options.accumulate)

    def batches(self, source, phase, step):
        """Yields the distributed batches of (degraded, sharp, seeds) up to the phase's end.

        Args:
          source: the training pairs.
          phase: the `Phase`.
          step: steps done.

        Raises:
          UserError: a picture that cannot be read (named).
        """
        arguments = self.batch_arguments(phase, step)

        def of_worker(context):
            return pairs.training_batches(
                source,
                # An end would make TensorFlow ask all workers at every step whether it is reached.
                steps=None,
                pipeline=context.input_pipeline_id,
                pipelines=context.num_input_pipelines,
                replicas=self.replicas // context.num_input_pipelines,
                **arguments,
            )

        iterator = iter(self.strategy.distribute_datasets_from_function(of_worker))
        for _ in range(step, phase.end):
            try:
                batch = next(iterator)
            except tf.errors.OpError as error:
                _, raised, reason = str(error).partition(_RAISED)
                if not raised:
                    raise
                reason = reason.splitlines()[0].rstrip(".")
                raise UserError(
                    f"{reason}; replace that pair, then run the same command to resume."
                ) from None
            yield batch

    def read(self, losses):
        """Copies the losses of several steps from the device at once.

        Args:
          losses: {name: scalar tensor} of each step.

        Returns:
          {name: (steps,) array}.
        """
        return {name: tf.stack([one[name] for one in losses]).numpy() for name in losses[0]}

    @contextlib.contextmanager
    def failures(self):
        """Within this context, lack of memory and lost workers are errors of one line.

        Raises:
          UserError: out of memory.
          WorkerLost: another worker is gone.
        """
        try:
            yield
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(
                f"out of memory ({first_line(error)}); the last checkpoint is kept. Try more "
                "micro-batches (--accumulate), or a smaller batch or crop in another --workdir."
            ) from None
        except tf.errors.OpError as error:
            # TensorFlow reports a lost worker in many ways.
            if self.alone or isinstance(error, tf.errors.InvalidArgumentError):
                raise
            raise WorkerLost(
                f"another worker is gone ({type(error).__name__}); start all workers again with "
                "the same command: they continue from the last checkpoint."
            ) from None
