"""Training through `compile` and `fit`, on any of Keras' backends: TensorFlow, JAX or PyTorch.

One device, no TensorFlow needed. Where TensorFlow is, `restore_tf.training.loop` does more: it also
distributes, averages weights, cuts the learning rate on a plateau and accumulates gradients.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

import keras
from keras import ops

from restore_tf.datasets.numpy_pairs import Batches
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.networks.dtype_policy import computing_in
from restore_tf.system.files import atomic_path
from restore_tf.system.signals import stop_signals
from restore_tf.training.checkpoints import save_fit_state
from restore_tf.training.options import Options, Result
from restore_tf.training.phases import phases
from restore_tf.training.run_log import RunLog
from restore_tf.training.schedules import learning_rate
from restore_tf.training.validation import Validation
from restore_tf.weights.run import BEST, load_fit_state, load_weights


def fit(
    experiment,
    workdir: str | os.PathLike,
    training,
    validation,
    options: Options | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Trains a network into a run directory.

    Args:
      experiment: the `Experiment`; the caller has written it to the run directory.
      workdir: the run directory.
      training, validation: sources of pairs, see `restore_tf.datasets.sources`.
      options: `Options`.
      callbacks: Keras callbacks, called for every stretch between two rows of metrics.csv.

    Raises:
      UserError: pairs that cannot be trained on, a recipe that needs the TensorFlow loop, a
        non-finite loss, a checkpoint that cannot be resumed from.
    """
    options = options or Options()
    for name in ("ema_momentum", "plateau_patience"):
        if getattr(experiment, name) is not None:
            raise UserError(f"{name}: needs Keras' TensorFlow backend; pass --set {name}=None.")
    if options.accumulate != 1:
        raise UserError("accumulate: needs Keras' TensorFlow backend; leave it at 1.")
    keras.utils.set_random_seed(options.seed)
    with computing_in(options.precision):
        model = experiments.build(experiment)
        if options.init_from:
            load_weights(options.init_from, model)
        model.compile(optimizer=_optimizer(experiment, model), loss=experiment.loss)
        model.optimizer.build(model.trainable_variables)
    return _Fit(experiment, workdir, options, model, validation).run(training, callbacks)


class _Fit:
    """One training as a row of short calls of `fit`, from one event to the next."""

    def __init__(self, experiment, workdir, options, model, validation):
        self.experiment, self.workdir, self.options = experiment, workdir, options
        self.model = model
        self.numbers = {"step": 0, "best_psnr": -math.inf, "validations_since_best": 0}
        self.saved = {"model": model.variables, "optimizer": model.optimizer.variables}
        if options.resume:
            self.numbers |= load_fit_state(workdir, self.saved) or {}
        self.judge = Validation(model, validation, options.validation_pictures)
        self.log = RunLog(workdir, self.numbers["step"], experiment.steps)

    def run(self, training, callbacks):
        steps, finished = self.experiment.steps, True
        try:
            with stop_signals() as stop:
                while self.numbers["step"] < steps and not self._exhausted():
                    self._stretch(training, stop, callbacks)
                    if stop.requested:
                        finished = self.numbers["step"] == steps
                        self.log.say(
                            f"stopped at step {self.numbers['step']}; the same command resumes "
                            "from there."
                        )
                        break
        finally:
            self.log.close()
        best, blurry = self.numbers["best_psnr"], self.judge.blurry_psnr
        return Result(self.numbers["step"], finished, best, blurry)

    def _exhausted(self):
        patience = self.options.early_stopping
        return patience is not None and self.numbers["validations_since_best"] >= patience

    def _stretch(self, training, stop, callbacks):
        """Fits up to the next event, then does what is due."""
        options, steps = self.options, self.experiment.steps
        start = self.numbers["step"]
        phase = next(p for p in phases(self.experiment) if start < p.end)
        periods = (options.log_every, options.validate_every, options.checkpoint_every)
        end = min(phase.end, *(start - start % period + period for period in periods))
        batches = Batches(
            training,
            crop=phase.crop,
            batch=phase.batch,
            steps=end - start,
            seed=options.seed,
            first_sample=phase.sample(start),
            augment=self.experiment.augment,
            channels=self.model.channels,
            size_multiple=self.model.size_multiple,
        )
        batches = _Pairs(batches)
        watch = _Watch(stop, self.log)
        history = self.model.fit(batches, shuffle=False, verbose=0, callbacks=[watch, *callbacks])
        step = self.numbers["step"] = start + watch.steps
        loss = history.history["loss"][0]
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {step}; stopped with the last good checkpoint kept. "
                "Try a lower --set learning_rate=…"
            )
        ends = step == steps or stop.requested
        if step % options.log_every == 0 or ends:
            rate = float(learning_rate(self.experiment)(step - 1))
            speed = watch.steps / watch.seconds
            self.log.record(step, loss=loss, learning_rate=rate, steps_per_second=speed)
        if step % options.validate_every == 0 or step == steps:
            self._validate(step)
        if step % options.checkpoint_every == 0 or ends or self._exhausted():
            save_fit_state(self.workdir, self.saved, self.numbers)

    def _validate(self, step):
        psnr, restored = self.judge()
        self.log.record(step, psnr=psnr, psnr_blurry=self.judge.blurry_psnr)
        self.log.pictures(step, self.judge.rows(restored))
        self.numbers["validations_since_best"] += 1
        if psnr > self.numbers["best_psnr"]:
            self.numbers |= {"best_psnr": psnr, "validations_since_best": 0}
            with atomic_path(os.path.join(self.workdir, BEST), suffix=".weights.h5") as temporary:
                self.model.save_weights(temporary)


class _Pairs(keras.utils.PyDataset):
    """Batches without the samples' seeds, which `fit` would take for weights."""

    def __init__(self, batches):
        super().__init__()
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, step):
        return self._batches[step][:2]


class _Watch(keras.callbacks.Callback):
    """Counts steps, times them, and ends a stretch where somebody asks for it."""

    def __init__(self, stop, log):
        super().__init__()
        self._stop, self._log = stop, log
        self.steps, self._started, self.seconds = 0, None, math.inf

    def on_train_begin(self, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.seconds = time.perf_counter() - self._started
        self._log.advance()
        self.model.stop_training = self.model.stop_training or self._stop.requested


def _optimizer(experiment, model):
    recurrent = {id(variable) for variable in getattr(model, "recurrent_variables", ())}
    places = [i for i, v in enumerate(model.trainable_variables) if id(v) in recurrent]
    everything = list(range(len(model.trainable_variables)))
    limits = [
        (places, experiment.recurrent_clip_norm),
        (everything, experiment.global_clip_norm),
    ]
    return ClippedAdam(
        [(places, limit) for places, limit in limits if places and limit is not None],
        learning_rate=learning_rate(experiment),
        beta_1=experiment.beta_1,
        beta_2=experiment.beta_2,
        epsilon=experiment.epsilon,
        name="adam",
    )


class ClippedAdam(keras.optimizers.Adam):
    """Adam that first clips some of the gradients by their global norm.

    Args:
      limits: (indices into the trainable variables, largest norm) pairs, applied in this order.
      kwargs: Adam's.
    """

    def __init__(self, limits, **kwargs):
        super().__init__(**kwargs)
        self._limits = limits

    def apply(self, grads, trainable_variables=None):
        """Clips, then updates as Adam does."""
        grads = list(grads)
        for places, limit in self._limits:
            norm = ops.sqrt(sum(ops.sum(ops.square(grads[i])) for i in places))
            for i in places:
                grads[i] = grads[i] * (limit / ops.maximum(norm, limit))
        super().apply(grads, trainable_variables)
