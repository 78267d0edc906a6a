"""The training loop: one for every network, data set and distribution strategy."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from restore_tf.datasets import pairs
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.networks import losses
from restore_tf.networks.dtype_policy import computing_in
from restore_tf.system.signals import stop_signals
from restore_tf.training.checkpoints import Checkpoints
from restore_tf.training.options import Options, Result
from restore_tf.training.phases import phases
from restore_tf.training.run_log import RunLog
from restore_tf.training.state import State
from restore_tf.training.step import make_step
from restore_tf.training.strategies import from_chief, is_chief, share_variables, worker_count
from restore_tf.training.validation import Validation
from restore_tf.weights.run import load_weights


class WorkerLost(UserError):
    """Another worker is gone: nothing that this one did wrong, and a restart helps."""

    exit_code = 1


def train(
    experiment,
    workdir: str | os.PathLike,
    training,
    validation,
    options: Options | None = None,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Trains a network into a run directory.

    Args:
      experiment: the `Experiment`; the caller has written it to the run directory.
      workdir: the run directory; only the chief of several workers reads and writes it.
      training, validation: sources of pairs, see `restore_tf.datasets.sources`.
      options: `Options`.
      strategy: from `strategies.make_strategy`; one device by default.
      callbacks: Keras callbacks. What they know as an epoch is the stretch from one validation to
        the next, with the logs "loss" (its mean), "val_psnr" (dB) and "learning_rate". A callback
        that sets `model.stop_training` ends the training.

    Raises:
      UserError: pairs that cannot be trained on, a damaged picture (named), a non-finite loss (the
        last good checkpoint is kept), a checkpoint that cannot be resumed from, a full disk.
      WorkerLost: another worker ended.
    """
    options = options or Options()
    strategy = strategy or tf.distribute.get_strategy()
    _check(experiment, training, options, strategy.num_replicas_in_sync)
    keras.utils.set_random_seed(options.seed)
    writes = is_chief(strategy)
    with _lost_workers(strategy):
        with strategy.scope():
            model = _build(experiment, options)
            state = State(experiment, model, options.precision == "mixed_float16")
            if callbacks:  # some of them look for the optimizer
                model.compile(optimizer=state.optimizer, loss=losses.get(experiment.loss))
        checkpoints = Checkpoints(workdir, state, writes)
        if options.resume and writes:
            checkpoints.restore()
        share_variables(strategy, state.variables())
        judge = Validation(model, validation, options.validation_pictures)
        log = RunLog(workdir, int(state.step.numpy()), experiment.steps, writes)
        try:
            loop = _Loop(experiment, options, strategy, state, checkpoints, judge, log, callbacks)
            step, finished = loop.run(training)
        finally:
            log.close()
    return Result(step, finished, float(state.best_psnr.numpy()), judge.blurry_psnr)


def _check(experiment, training, options, replicas):
    parts = replicas * options.accumulate
    for phase in phases(experiment):
        if phase.batch % parts:
            raise UserError(
                f"batch {phase.batch} does not divide by {replicas} devices times "
                f"{options.accumulate} micro-batches; pass --set batch=…"
            )
        pairs.check_training(training, phase.crop, experiment.augment)


def _build(experiment, options):
    with computing_in(options.precision):
        model = experiments.build(experiment)
    for phase in phases(experiment):
        if phase.crop % model.size_multiple:
            raise UserError(
                f"crop {phase.crop}: {experiment.model} takes multiples of {model.size_multiple}."
            )
    if options.init_from:
        load_weights(options.init_from, model)
    return model


@contextlib.contextmanager
def _lost_workers(strategy):
    """Says in one line that another worker ended; TensorFlow says it in many ways."""
    ours = (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError)
    try:
        yield
    except tf.errors.OpError as error:
        if worker_count(strategy) == 1 or isinstance(error, ours):
            raise
        raise WorkerLost(
            f"another worker is gone ({type(error).__name__}); start all workers again with the "
            "same command: they continue from the last checkpoint."
        ) from None


class _Loop:
    """The pieces of one training, and the order they run in."""

    def __init__(self, experiment, options, strategy, state, checkpoints, judge, log, callbacks):
        self.experiment = experiment
        self.options = options
        self.strategy = strategy
        self.state = state
        self.checkpoints = checkpoints
        self.judge = judge
        self.log = log
        self.callbacks = keras.callbacks.CallbackList(list(callbacks), model=state.model)
        self.step_function = make_step(experiment, strategy, state, options.accumulate)
        self.agreed = from_chief(strategy)
        self.alone = worker_count(strategy) == 1
        self.saved_step = int(state.step.numpy())

    def run(self, source) -> tuple[int, bool]:
        """Trains to the end; returns the last step, and False where a signal came first."""
        step, steps = self.saved_step, self.experiment.steps
        recent, stretch = _Mean(), _Mean()
        model, options = self.state.model, self.options
        model.stop_training = stopped = False
        if step >= steps or self._exhausted():
            return step, True
        self.callbacks.on_train_begin()
        self.callbacks.on_epoch_begin(step // options.validate_every)
        with stop_signals() as stop:
            for loss, stops in self._outcomes(source, stop):
                step += 1
                self._check_finite(loss, step)
                recent.add(loss)
                stretch.add(loss)
                self.log.advance()
                self.callbacks.on_train_batch_end(step - 1, {"loss": loss})
                stopped = bool(stops) or (self.alone and stop.requested)
                if step % options.log_every == 0 or step == steps or stopped:
                    self._record(step, recent)
                    recent = _Mean()
                if step % options.validate_every == 0 or step == steps:
                    self._validate(step, stretch)
                    stretch = _Mean()
                    recent.restart_clock()
                ends = step == steps or stopped or model.stop_training or self._exhausted()
                if step % options.checkpoint_every == 0 or ends:
                    self._save(step)
                if ends:
                    break
        self.callbacks.on_train_end()
        finished = not stopped or step == steps
        if not finished:
            self.log.say(f"stopped at step {step}; the same command resumes from there.")
        self.agreed([0.0])  # nobody leaves while the chief is still writing
        return step, finished

    def _exhausted(self):
        patience = self.options.early_stopping
        waited = int(self.state.validations_since_best.numpy())
        if patience is None or waited < patience:
            return False
        self.log.say(f"stopped early: {waited} validations without a new best PSNR.")
        return True

    def _outcomes(self, source, stop) -> Iterator[tuple[float, float]]:
        """Does the steps that are left; gives each one's loss, and how many replicas want to stop.

        A worker cannot stop alone: the others would wait for it. Under several, all learn of a wish
        to stop from the step that follows it.
        """
        for phase in phases(self.experiment):
            first = step = max(self.saved_step, phase.start)
            if first >= phase.end:
                continue
            batches = self._batches(source, phase, first)
            try:
                for step in range(first, phase.end):
                    self.callbacks.on_train_batch_begin(step)
                    wish = tf.constant(float(stop.requested))
                    loss, stops = self.step_function(next(batches), wish).numpy()
                    yield float(loss), float(stops)
            except tf.errors.OpError as error:
                samples = range(phase.sample(step), phase.sample(step + 1))
                self._explain(error, source, samples)
                raise

    def _batches(self, source, phase, step):
        replicas = self.strategy.num_replicas_in_sync

        def of_worker(context):
            return pairs.training_batches(
                source,
                crop=phase.crop,
                batch=phase.batch,
                # An end would make TensorFlow ask all workers at every step whether it is reached.
                steps=None,
                seed=self.options.seed,
                first_sample=phase.sample(step),
                pipeline=context.input_pipeline_id,
                pipelines=context.num_input_pipelines,
                replicas=replicas // context.num_input_pipelines,
                augment=self.experiment.augment,
                channels=self.state.model.channels,
            )

        return iter(self.strategy.distribute_datasets_from_function(of_worker))

    def _explain(self, error, source, samples):
        name = pairs.name_damage(source, samples, self.options.seed)
        if name is not None:
            reason = str(error.message).splitlines()[0]
            raise UserError(
                f"{name}: one of the pair cannot be decoded ({reason}); replace it, then run the "
                "same command to resume."
            ) from None

    def _check_finite(self, loss, step):
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {step}; stopped with the last good checkpoint kept. "
                "Try a lower --set learning_rate=…"
            )

    def _record(self, step, recent):
        with self._writing():
            self.log.record(
                step,
                loss=recent.value(),
                learning_rate=self._rate(step),
                steps_per_second=recent.rate(),
            )

    def _rate(self, step):
        # What the last step used: schedules count the steps already done.
        return float(self.state.learning_rate(step - 1))

    def _validate(self, step, stretch):
        self._check_weights(step)
        experiment, psnr, restored = self.experiment, 0.0, []
        rate = self._rate(step)
        with self.state.judged_weights():
            if is_chief(self.strategy):
                psnr, restored = self.judge()
            psnr = float(self.agreed([psnr])[0])
            best = self.state.note_validation(
                psnr, experiment.plateau_patience, experiment.plateau_factor
            )
            with self._writing():
                self.log.record(step, psnr=psnr, psnr_blurry=self.judge.blurry_psnr)
                if restored:
                    self.log.pictures(step, self.judge.rows(restored))
                if best:
                    self.checkpoints.save_best()
        logs = {"loss": stretch.value(), "val_psnr": psnr, "learning_rate": rate}
        epoch = (step - 1) // self.options.validate_every
        self.callbacks.on_epoch_end(epoch, logs)
        if step < experiment.steps:
            self.callbacks.on_epoch_begin(epoch + 1)

    def _save(self, step):
        self._check_weights(step)
        self.state.step.assign(step)
        with self._writing():
            self.checkpoints.save()
        self.saved_step = step

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reason = str(getattr(error, "message", None) or error).splitlines()[0]
            raise UserError(
                f"{self.checkpoints.workdir}: cannot be written ({reason}); the checkpoint of step "
                f"{self.saved_step} is kept. Make room, then run the same command to resume."
            ) from None

    def _check_weights(self, step):
        # The loss of a step is taken before its update: weights can go bad under a good loss.
        for variable in self.state.model.trainable_variables:
            if not np.all(np.isfinite(variable.numpy())):
                raise UserError(
                    f"{variable.path} is not finite at step {step}; stopped with the last good "
                    "checkpoint kept. Try a lower --set learning_rate=…"
                )


class _Mean:
    """Mean loss, and steps a second, since it was made."""

    def __init__(self):
        self._total, self._count = 0.0, 0
        self.restart_clock()

    def add(self, value):
        self._total += value
        self._count += 1

    def value(self):
        return self._total / max(self._count, 1)

    def restart_clock(self):
        self._clock, self._counted = time.perf_counter(), self._count

    def rate(self):
        return (self._count - self._counted) / (time.perf_counter() - self._clock)
