"""The training loop: one for every network, data set, distribution strategy and Keras backend."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from restore_tf.errors import UserError
from restore_tf.system import quiet
from restore_tf.system.signals import stop_signals
from restore_tf.training import adapting, run_log
from restore_tf.training.checks import check_best_metric
from restore_tf.training.messages import first_line
from restore_tf.training.options import Options, Result
from restore_tf.training.phases import phases
from restore_tf.training.recent_losses import Means, RecentLosses
from restore_tf.training.validation import Validation

_READ_EVERY = 100  # steps, at the latest, that losses stay on the device
_AGREE_EVERY = 10  # steps, at the latest, after which several workers ask each other for an end


def train(
    experiment,
    workdir: str | os.PathLike,
    training,
    validation,
    options: Options | None = None,
    strategy=None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Trains a network into a run directory, on Keras' backend.

    Distribution, accumulated gradients and papers with a training step of their own need
    TensorFlow. All else is the same on every backend.

    Args:
      experiment: the `Experiment`; the caller has written it to the run directory.
      workdir: the run directory; only the chief of several workers reads and writes it.
      training: source of the training pairs, see `restore_tf.datasets.sources`.
      validation: source of the validation pairs.
      options: `Options`; None for its defaults.
      strategy: on TensorFlow, from `strategies.make_strategy`; one device by default.
      callbacks: Keras callbacks. What they know as an epoch is the stretch from one validation to
        the next, with the logs "loss" (its mean), "val_psnr" (dB), "val_" and the experiment's
        `best_metric`, and "learning_rate". A callback that sets `model.stop_training` ends the
        training; one that sets the optimizer's learning rate scales what is left of the schedule.
        As under Keras' `fit`, the losses of every step are fetched from the device only where a
        callback has an `on_train_batch_end`, or the like. What a callback itself remembers is not
        part of a checkpoint.

    Returns:
      How the training ended.

    Raises:
      UserError: pairs that cannot be trained on, a damaged picture (named), what the backend cannot
        do, a metric that cannot be measured, a non-finite loss (the last good checkpoint is kept),
        a checkpoint that cannot be resumed from, a full disk, too little memory, a metrics.csv that
        no training wrote.
      WorkerLost: another worker ended.
    """
    options = options or Options()
    run_log.check(workdir)
    engine = engine_class()(experiment, options, strategy)
    return train_with(engine, workdir, training, validation, callbacks)


def train_with(engine, workdir, training, validation, callbacks=()) -> Result:
    """Trains as `train` does, with an engine of the caller's choice.

    Args:
      engine: an `engine.Engine` of the experiment.
      workdir: the run directory.
      training: source of the training pairs.
      validation: source of the validation pairs.
      callbacks: Keras callbacks, see `train`.

    Returns:
      How the training ended.

    Raises:
      UserError: as `train`.
      WorkerLost: another worker ended.
    """
    engine.check()
    check_best_metric(engine.experiment, validation)
    options = engine.options
    if importlib.util.find_spec("tensorflow"):
        quiet.import_tensorflow()  # on every backend: Keras seeds it where it is installed
    keras.utils.set_random_seed(options.seed)
    with engine.failures():
        engine.start(workdir)
        engine.check_data(training)
        state = engine.state
        validation = Validation(state.model, validation, engine.experiment, options)
        if not (engine.resumed or state.step):  # so that a run that is killed early can resume
            with _writing(engine):
                engine.checkpoints.save()
        beside = [name for name, part in state.parts.items() if part is not state.main]
        steps = engine.experiment.steps
        columns = validation.columns + run_log.part_columns(beside)
        with _writing(engine, state.step):
            log = run_log.RunLog(workdir, state.step, steps, engine.writes, columns)
        try:
            finished = _Loop(engine, validation, log, callbacks).train(training)
        finally:
            log.close()
    degraded = validation.degraded.get(validation.metric)
    return Result(state.step, finished, state.best_score, degraded, validation.metric)


def engine_class():
    """Returns the `Engine` class of Keras' backend."""
    if keras.backend.backend() == "tensorflow":
        from restore_tf.training.tensorflow_engine import TensorFlowEngine

        return TensorFlowEngine
    from restore_tf.training.backend_engine import BackendEngine

    return BackendEngine


@contextlib.contextmanager
def _writing(engine, saved_step: int | None = None):
    """Turns errors of writing into one line that says which checkpoint there is."""
    try:
        yield
    except engine.write_errors as error:
        left = (
            "nothing is trained yet. Make room, then run the same command."
            if saved_step is None
            else f"the checkpoint of step {saved_step} is kept. Make room, then run the same "
            "command to resume."
        )
        raise UserError(
            f"{engine.checkpoints.workdir}: cannot be written ({first_line(error)}); {left}"
        ) from None


class _Loop:
    """The pieces of one training, and the order they run in."""

    def __init__(self, engine, validation, log, callbacks):
        self.engine, self.state = engine, engine.state
        self.experiment, self.options = engine.experiment, engine.options
        self.validation, self.log = validation, log
        self.callbacks = keras.callbacks.CallbackList(list(callbacks), model=engine.state.model)
        self.losses = RecentLosses(engine.read)
        self.saved_step = engine.state.step
        self.agree_every = 1 if engine.alone else min(self.options.log_every, _AGREE_EVERY)
        self.stop = self.source = None

    def train(self, source) -> bool:
        """Trains to the end; returns False where a signal stopped it first.

        Args:
          source: the training pairs.
        """
        state, self.source = self.state, source
        if state.step >= self.experiment.steps or self._exhausted():
            return True
        state.model.stop_training = stopped = False
        self.callbacks.on_train_begin()
        self.callbacks.on_epoch_begin(state.step // self.options.validate_every)
        with stop_signals() as self.stop:
            for batch in self._batches(source):
                self._step(batch)
                ends, stopped = self._after_step()
                if ends:
                    break
        self.callbacks.on_train_end()
        finished = not stopped or self.saved_step == self.experiment.steps
        if not finished:
            self.log.say(f"stopped at step {self.saved_step}; the same command resumes from there.")
        self.engine.agreed([0.0])  # all workers wait until the chief has written
        return finished

    def _batches(self, source) -> Iterator:
        start = self.state.step
        for phase in phases(self.experiment):
            if start < phase.end:
                yield from self.engine.batches(source, phase, max(start, phase.start))

    def _step(self, batch):
        step, called = self.state.step, bool(self.callbacks.callbacks)
        if called:
            self.callbacks.on_train_batch_begin(step)
        losses = self.engine.step(batch)
        self.state.step = step + 1
        self.losses.add(losses)
        self.log.advance()
        if called:  # Keras fetches the losses where a callback asks for them
            self.callbacks.on_train_batch_end(step, losses)

    def _after_step(self) -> tuple[bool, bool]:
        """Does what is due; returns whether the training ends here, and whether by a signal.

        A worker cannot stop alone: the others would wait for it. Several ask each other now and
        then.
        """
        step, options, last = self.state.step, self.options, self._is_last()
        asks = step % self.agree_every == 0
        stopped, ended = self._wishes() if asks else (False, False)
        validates = last or step % options.validate_every == 0
        logs = last or stopped or step % options.log_every == 0
        if logs or validates or self.losses.unread >= _READ_EVERY:
            self._read_losses()
        if logs:
            self._record()
        if validates:
            self._validate()
            ended = self._wishes()[1]
        done = last or ended or self._exhausted()
        if done and not self._adapted():
            return True, True  # without a checkpoint: the same command trains up to here again
        if done or stopped or step % options.checkpoint_every == 0:
            self._save()
        return done or stopped, stopped

    def _read_losses(self):
        for jump in self.losses.read(self.state.step):
            before, loss = f"{jump.before:.3g}", f"{jump.loss:.3g}"
            self.log.warn(f"the loss rose from {before} to {loss} by step {jump.step}.")

    def _is_last(self):
        return self.state.step == self.experiment.steps

    def _wishes(self):
        """Whether any worker got a signal to stop, and whether any callback ended the training."""
        return self.engine.any_of([self.stop.requested, self.state.model.stop_training])

    def _exhausted(self):
        patience, waited = self.options.early_stopping, self.state.validations_since_best
        if patience is None or waited < patience:
            return False
        self.log.say(
            f"stopped early: {waited} validations without a new best {self.validation.label}."
        )
        return True

    def _record(self):
        means, rate = self.losses.since_record.values(), self.losses.since_record.rate()
        self.losses.since_record = Means()
        with _writing(self.engine, self.saved_step):
            self.log.record(
                self.state.step, **means, learning_rate=self._rate(), steps_per_second=rate
            )

    def _rate(self):
        # What the last step used: schedules count the steps already done.
        return self.state.learning_rate(self.state.step - 1)

    def _validate(self):
        self._check_weights()
        state, experiment, rate = self.state, self.experiment, self._rate()
        with state.validated_weights():
            scores, restored = self._scores()
            best = state.note_validation(
                scores[experiment.best_metric],
                experiment.plateau_patience,
                experiment.plateau_factor,
                self.validation.higher_is_better,
            )
            with _writing(self.engine, self.saved_step):
                self.log.record(state.step, **self.validation.row(scores))
                if self.validation.labels:
                    self.log.say(f"step {state.step}: {self.validation.described()}")
                if restored:
                    self.log.pictures(state.step, self.validation.rows(restored))
                if best:
                    self.engine.checkpoints.save_best()
        means, self.losses.since_validation = self.losses.since_validation.values(), Means()
        named = {f"val_{name}": score for name, score in scores.items()}
        logs = {"loss": means["loss"], **named, "learning_rate": rate}
        epoch = (state.step - 1) // self.options.validate_every
        self.callbacks.on_epoch_end(epoch, logs)
        if not self._is_last():
            self.callbacks.on_epoch_begin(epoch + 1)
        self.losses.since_record.restart_clock()

    def _adapted(self):
        """Adapts the best weights; returns False where a signal stopped it."""
        stopped = False
        if self.engine.writes and self.state.model.adapt_samples:
            try:
                self._adapt()
            except adapting.Stopped:
                stopped = True
        return not self.engine.any_of([stopped])[0]

    def _adapt(self):
        self.log.say("adapting the best weights to the training data.")
        workdir, seed = self.engine.checkpoints.workdir, self.options.seed
        with _writing(self.engine, self.saved_step):
            model = adapting.adapt(
                self.experiment, workdir, self.source, seed, lambda: self.stop.requested
            )
            scores, restored = self.validation.scored(model)
            self.log.say(f"adapted: {self.validation.described()}")
            self.log.pictures(self.state.step, self.validation.rows(restored))
            if self.validation.metric in scores:
                self.log.record(self.state.step, **self.validation.row(scores))
                self.state.best_score = scores[self.validation.metric]

    def _scores(self):
        """{metric: the chief's score} and the restored pictures, for the chief alone."""
        names = self.validation.names
        scores, restored = self.validation(self.state.step) if self.engine.writes else ({}, [])
        agreed = self.engine.agreed([scores.get(name, 0.0) for name in names])
        return dict(zip(names, map(float, agreed), strict=True)), restored

    def _save(self):
        self._read_losses()
        self._check_weights()
        with _writing(self.engine, self.saved_step):
            self.engine.checkpoints.save()
        self.saved_step = self.state.step

    def _check_weights(self):
        # The loss of a step is taken before its update: weights can go bad under a good loss.
        for part in self.state.parts.values():
            for variable in part.model.trainable_variables:
                if not np.all(np.isfinite(variable.numpy())):
                    raise UserError(
                        f"{variable.path} is not finite at step {self.state.step}; stopped with "
                        "the last good checkpoint kept. Try a lower --set learning_rate=…"
                    )
