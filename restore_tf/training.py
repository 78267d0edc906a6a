"""The training loop: one for every network, data set and distribution strategy.

`Model.fit` is not used here because it breaks under several of Keras 3's strategies. What a step
computes is the same under all of them: each replica's gradient of its images' losses divided by the
GLOBAL batch, summed over replicas.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from restore_tf import experiment as experiments
from restore_tf import losses, metrics
from restore_tf.checkpoints import Checkpoints
from restore_tf.datasets import pairs
from restore_tf.errors import UserError
from restore_tf.inference import restore
from restore_tf.run_log import RunLog
from restore_tf.schedules import learning_rate

STRATEGIES = ("auto", "one", "mirrored")


@dataclasses.dataclass(frozen=True)
class Options:
    """What a machine or a run decides, as opposed to the recipe.

    Attributes:
      seed: of the weights, the data's order and all augmentation.
      strategy: one of `STRATEGIES`; "auto" is "mirrored" with several GPUs, else "one".
      checkpoint_every: steps between checkpoints to resume from.
      validate_every: steps between validations.
      log_every: steps between rows of metrics.csv.
      validation_pictures: how many validation pairs are used, spread evenly over the split.
      resume: continue from the run directory's newest checkpoint where there is one.
    """

    seed: int = 0
    strategy: str = "auto"
    checkpoint_every: int = 500
    validate_every: int = 500
    log_every: int = 50
    validation_pictures: int = 8
    resume: bool = True


@dataclasses.dataclass(frozen=True)
class Result:
    """How a training ended.

    Attributes:
      step: the last step done.
      finished: False where a signal ended it early; the run can be resumed.
      best_psnr: highest validation PSNR, in dB.
      blurry_psnr: PSNR of the unrestored validation pictures, in dB.
    """

    step: int
    finished: bool
    best_psnr: float
    blurry_psnr: float


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the tf.distribute strategy of that name.

    Raises:
      UserError: an unknown name, or "mirrored" where there is only one device.
    """
    if name not in STRATEGIES:
        raise UserError(f"--strategy {name}: expected one of {', '.join(STRATEGIES)}.")
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise UserError(
            "--strategy mirrored: only one device here; use --strategy one, or split the CPU into "
            "several virtual devices with --virtual_devices 2."
        )
    # TensorFlow's collectives for CPUs mix up two strategies of one process; copying does not.
    copying = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([device.name for device in devices], copying)


def train(experiment, workdir: str | os.PathLike, training, validation, options=None) -> Result:
    """Trains a network into a run directory.

    Args:
      experiment: the `Experiment`; the caller has written it to the run directory.
      workdir: the run directory.
      training, validation: sources of pairs, see `restore_tf.datasets.sources`.
      options: `Options`.

    Raises:
      UserError: pairs that cannot be trained on, a damaged picture (named), a non-finite loss (the
        last good checkpoint is kept), a checkpoint that cannot be resumed from.
    """
    options = options or Options()
    keras.utils.set_random_seed(options.seed)
    strategy = make_strategy(options.strategy)
    if experiment.batch % strategy.num_replicas_in_sync:
        raise UserError(
            f"batch {experiment.batch} does not divide by {strategy.num_replicas_in_sync} devices; "
            "pass --set batch=…"
        )
    pairs.check_training(training, experiment.crop, experiment.augment)
    with strategy.scope():
        model = experiments.build(experiment)
        optimizer = keras.optimizers.Adam(
            learning_rate(experiment),
            beta_1=experiment.beta_1,
            beta_2=experiment.beta_2,
            epsilon=experiment.epsilon,
        )
        optimizer.build(model.trainable_variables)
        checkpoints = Checkpoints(workdir, model, optimizer)
        start = checkpoints.restore() if options.resume else 0
    judge = Validation(model, validation, options.validation_pictures)
    log = RunLog(workdir, start, experiment.steps)
    loop = _Loop(experiment, options, strategy, model, optimizer, checkpoints, judge, log)
    try:
        step = loop.run(training, start)
    finally:
        log.close()
    return Result(step, step >= experiment.steps, checkpoints.best_psnr, judge.blurry_psnr)


class Validation:
    """Mean PSNR of a fixed handful of validation pictures.

    Args:
      model: the network being trained.
      source: pairs read by index.
      count: at most so many pictures, spread evenly over the source.
    """

    def __init__(self, model, source, count: int):
        self._model = model
        positions = np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int))
        self._pairs = [source.read(int(position)) for position in positions]
        self.blurry_psnr = self._mean([degraded for degraded, _ in self._pairs])

    def __call__(self) -> tuple[float, list[np.ndarray]]:
        """Returns the mean PSNR in dB and the restored pictures."""
        restored = [restore(self._model, degraded) for degraded, _ in self._pairs]
        return self._mean(restored), restored

    def rows(self, restored, count: int = 4) -> list[tuple[np.ndarray, ...]]:
        """(blurry, restored, sharp) of the first pictures."""
        pictures = zip(self._pairs, restored, strict=True)
        return [(degraded, image, sharp) for (degraded, sharp), image in pictures][:count]

    def _mean(self, pictures):
        scores = [
            metrics.psnr(sharp, picture)
            for (_, sharp), picture in zip(self._pairs, pictures, strict=True)
        ]
        return float(np.mean(scores))


class _Loop:
    """The pieces of one training, and the order they run in."""

    def __init__(self, experiment, options, strategy, model, optimizer, checkpoints, judge, log):
        self.experiment = experiment
        self.options = options
        self.strategy = strategy
        self.model = model
        self.optimizer = optimizer
        self.checkpoints = checkpoints
        self.judge = judge
        self.log = log
        self.step_function = make_step(experiment, strategy, model, optimizer)

    def run(self, source, start: int) -> int:
        steps = self.experiment.steps
        step, saved, total, since = start, start, 0.0, start
        clock = time.perf_counter()
        with _stop_signals() as stop:
            for step, loss in enumerate(self._losses(source, start), start + 1):
                total += float(loss)
                self._check_finite(total, step)
                self.log.advance()
                ends = step == steps or stop.requested
                if step % self.options.log_every == 0 or ends:
                    seconds = time.perf_counter() - clock
                    self._record(step, total / (step - since), (step - since) / seconds)
                    total, since, clock = 0.0, step, time.perf_counter()
                if step % self.options.validate_every == 0 or step == steps:
                    self._validate(step)
                    clock = time.perf_counter()
                if step % self.options.checkpoint_every == 0 or ends:
                    self._save(step)
                    saved = step
                if stop.requested:
                    self.log.say(f"stopped at step {saved}; the same command resumes from there.")
                    break
        return step

    def _losses(self, source, start) -> Iterator[tf.Tensor]:
        batches = pairs.training_batches(
            source,
            crop=self.experiment.crop,
            batch=self.experiment.batch,
            steps=self.experiment.steps,
            seed=self.options.seed,
            start_step=start,
            augment=self.experiment.augment,
            channels=self.model.channels,
        )
        step = start
        try:
            for batch in self.strategy.experimental_distribute_dataset(batches):
                yield self.step_function(batch)
                step += 1
        except tf.errors.OpError as error:
            name = pairs.name_damage(source, step, self.experiment.batch, self.options.seed)
            if name is None:
                raise
            reason = str(error.message).splitlines()[0]
            raise UserError(
                f"{name}: one of the pair cannot be decoded ({reason}); replace it, then run the "
                "same command to resume."
            ) from None

    def _check_finite(self, total, step):
        if not math.isfinite(total):
            raise UserError(
                f"the loss is {total} at step {step}; stopped with the last good checkpoint kept. "
                "Try a lower --set learning_rate=…"
            )

    def _record(self, step, loss, rate):
        # The rate the last step used: iterations count steps already done.
        schedule = learning_rate(self.experiment)
        self.log.record(
            step, loss=loss, learning_rate=float(schedule(step - 1)), steps_per_second=rate
        )

    def _validate(self, step):
        self._check_weights(step)
        psnr, restored = self.judge()
        self.log.record(step, psnr=psnr, psnr_blurry=self.judge.blurry_psnr)
        self.log.pictures(step, self.judge.rows(restored))
        self.checkpoints.save_if_best(psnr)

    def _save(self, step):
        self._check_weights(step)
        self.checkpoints.save(step)

    def _check_weights(self, step):
        # The loss of a step is taken before its update: weights can go bad under a good loss.
        for variable in self.model.trainable_variables:
            if not np.all(np.isfinite(variable.numpy())):
                raise UserError(
                    f"{variable.path} is not finite at step {step}; stopped with the last good "
                    "checkpoint kept. Try a lower --set learning_rate=…"
                )


def make_step(experiment, strategy, model, optimizer):
    """Returns a compiled function that takes a (distributed) batch, updates the weights once and
    returns the loss, the mean over the global batch."""
    loss_function = losses.get(experiment.loss)

    def replica_step(batch):
        degraded, sharp = batch
        with tf.GradientTape() as tape:
            per_image = loss_function(sharp, model(degraded, training=True))
            loss = tf.reduce_sum(per_image) / experiment.batch
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients = _clip_recurrent(gradients, model, experiment.recurrent_clip_norm)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function
    def step(batch):
        replica_losses = strategy.run(replica_step, args=(batch,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, replica_losses, axis=None)

    return step


def _clip_recurrent(gradients, model, clip_norm):
    """Clips the recurrent weights' gradient to a global norm, as that of the whole batch."""
    recurrent = {id(variable) for variable in getattr(model, "recurrent_variables", ())}
    if clip_norm is None or not recurrent:
        return gradients
    places = [i for i, v in enumerate(model.trainable_variables) if id(v) in recurrent]
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [gradients[i] for i in places])
    clipped, _ = tf.clip_by_global_norm(summed, clip_norm)
    # The optimizer sums over replicas once more; equal shares add up to the clipped gradient.
    gradients = list(gradients)
    for place, gradient in zip(places, clipped, strict=True):
        gradients[place] = gradient / replicas
    return gradients


class _Stop:
    requested = False


@contextlib.contextmanager
def _stop_signals():
    """Turns SIGINT and SIGTERM into a request to stop after the current step."""
    stop = _Stop()

    def request(number, frame):
        stop.requested = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        previous = [signal.signal(number, request) for number in numbers]
    except ValueError:  # not the main thread: the caller handles signals
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
