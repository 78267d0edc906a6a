"""A training step of a generator against its discriminators.

Each network has an optimizer, and with 16-bit floats a loss scale, of its own. Discriminators go
first, once each, on the pictures that the generator restored before its update.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf
from keras import ops

from deblurgan_tf.adversarial import KINDS, Means


def make_step(adversary, strategy, state, accumulate: int):
    """Returns a function that updates all networks once; see `recipes.make_step`.

    Args:
      adversary: the `Adversary`.
      strategy: the tf.distribute strategy that `state` was made under.
      state: the `State`: the generator and its discriminators.
      accumulate: micro-batches that each replica's images are cut into.

    Returns:
      A function of a (distributed) batch of (degraded, sharp, seeds) that returns {name: loss}.
    """
    sides = _Sides(adversary, state, accumulate)
    # Two graphs rather than a condition inside of one: the warm-up computes no discriminator.
    alone = state.compiled(strategy, sides.generator_alone)
    against = state.compiled(strategy, sides.both)

    def step(batch):
        return (alone if state.step < adversary.warmup else against)(batch)

    return step


@dataclasses.dataclass
class _Judge:
    """A discriminator within a replica's step, and the global means of its logits."""

    part: object
    accumulate: int
    means: Means | None = None

    def look_ahead(self, sharp, restored) -> None:
        """Computes the means before the first micro-batch; a whole batch needs no such pass.

        Args:
          sharp: this replica's pictures, (batch, height, width, 3) in [0, 1].
          restored: of the same shape.
        """
        if self.accumulate == 1:
            return
        found = _by_micro_batch(
            lambda *images: tf.stack([ops.mean(logits) for logits in self._logits(*images)]),
            (sharp, restored),
            self.accumulate,
        )
        self.means = _over_replicas(*tf.unstack(tf.reduce_mean(found, axis=0)))

    def __call__(self, sharp, restored):
        """Returns the logits of both, and the means."""
        real, fake = self._logits(sharp, restored)
        if self.accumulate == 1:
            self.means = _over_replicas(ops.mean(real), ops.mean(fake))
        return real, fake, self.means

    def _logits(self, sharp, restored):
        # Together: norms are of each picture, and one call is quicker than two.
        logits = self.part.model(tf.concat([sharp, restored], axis=0), training=True)
        return tf.split(logits, 2)


def _by_micro_batch(function, tensors, count):
    """Stacks what a function makes of equal parts of tensors, one part after another."""
    parts = tuple(tf.reshape(tensor, (count, -1, *tensor.shape[1:])) for tensor in tensors)
    return tf.map_fn(
        lambda part: function(*part), parts, parallel_iterations=1, fn_output_signature=tf.float32
    )


def _over_replicas(real, fake) -> Means:
    """Means over the global batch of a replica's means; every replica has as many images."""
    means = tf.stop_gradient(tf.stack([real, fake]))
    context = tf.distribute.get_replica_context()
    return Means(*tf.unstack(context.all_reduce(tf.distribute.ReduceOp.MEAN, means)))


class _Sides:
    """One replica's part of a step."""

    def __init__(self, adversary, state, accumulate):
        self._weight, self._kind = adversary.weight, KINDS[adversary.kind]
        self._accumulate = accumulate
        self._generator = state.main
        self._judges = {
            name: _Judge(part, accumulate)
            for name, part in state.parts.items()
            if part is not state.main
        }

    def generator_alone(self, batch):
        """Trains the generator alone, in the warm-up; returns {"loss": share}.

        Args:
          batch: this replica's (degraded, sharp, seeds).
        """
        return {"loss": self._generator.minimize(self._content_loss, batch, self._accumulate)}

    def both(self, batch):
        """Trains the discriminators, then the generator; returns {name: share of a loss}.

        Args:
          batch: this replica's (degraded, sharp, seeds).
        """
        restored = self._restored(batch)
        losses = {}
        for name, judge in self._judges.items():
            losses |= self._train(name, judge, batch[1], restored)
        for judge in self._judges.values():
            judge.look_ahead(batch[1], restored)  # its weights have changed
        loss = self._generator.minimize(self._generator_loss, batch, self._accumulate)
        return {"loss": loss, **losses}

    def _restored(self, batch):
        """The generator's pictures, as numbers; in micro-batches to save memory."""
        if self._accumulate == 1:
            return self._stages(batch[0], batch[2])[-1]
        restored = _by_micro_batch(
            lambda *part: self._stages(*part)[-1], (batch[0], batch[2]), self._accumulate
        )
        return tf.reshape(restored, tf.shape(batch[1]))

    def _train(self, name, judge, sharp, restored):
        """Updates a discriminator; returns its losses' shares."""

        def loss(sharp, restored):
            return self._kind.critic(*judge(sharp, restored))

        judge.look_ahead(sharp, restored)
        share = judge.part.minimize(loss, (sharp, restored), self._accumulate)
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return {
            name: share,
            f"{name}_real": judge.means.real / replicas,
            f"{name}_fake": judge.means.fake / replicas,
        }

    def _stages(self, degraded, seeds):
        return self._generator.model(degraded, training=True, seeds=seeds)

    def _content_loss(self, degraded, sharp, seeds):
        return self._generator.model.stages_loss(sharp, self._stages(degraded, seeds))

    def _generator_loss(self, degraded, sharp, seeds):
        stages = self._stages(degraded, seeds)
        judged = [
            self._kind.generator(*judge(sharp, stages[-1])) for judge in self._judges.values()
        ]
        content = self._generator.model.stages_loss(sharp, stages)
        return content + self._weight * sum(judged) / len(judged)
