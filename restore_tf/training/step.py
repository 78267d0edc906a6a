"""One training step on TensorFlow, the same under every distribution strategy.

`Model.fit` is not used here because it breaks under several of Keras 3's strategies. What a step
computes: each replica's gradient of its share of the mean loss over the GLOBAL batch, summed over
the replicas, clipped as the gradient of the whole batch, then Adam.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

_SUM = tf.distribute.ReduceOp.SUM


def make_step(experiment, strategy, state, accumulate: int = 1):
    """Returns a compiled function that updates the weights once.

    A paper with several networks has a function of this name and these arguments in its recipes
    module, made of `State.parts`, `Part.minimize` and `State.compiled`.

    Args:
      experiment: the `Experiment`.
      strategy: what `state` was made under.
      state: the `State`; its restorer is compiled with the experiment's loss.
      accumulate: micro-batches that each replica's images are cut into; only one of them is in
        memory at a time, and the result is that of the whole batch.

    Returns:
      A function of a (distributed) batch of (degraded, sharp, seeds). It returns {name: scalar
      tensor} of losses, means over the global batch, which the loop reads from the device now and
      then; "loss" is the one that is logged.
    """
    restorer = state.main

    def replica_step(batch):
        return {"loss": restorer.minimize(restorer.model.training_loss, batch, accumulate)}

    return compiled(strategy, state, replica_step)


def compiled(strategy, state, replica_step):
    """Returns a step from what one replica does.

    Args:
      strategy: what `state` was made under.
      state: the `State`.
      replica_step: function of one replica's batch that updates weights and returns {name: this
        replica's share of a loss}, as `Part.minimize` does: shares are summed.

    Returns:
      A function of a (distributed) batch that returns {name: scalar tensor} of losses.
    """

    @tf.function(autograph=False)
    def step(batch):
        shares = strategy.run(replica_step, args=(batch,))
        for part in state.parts.values():
            if part.average:
                part.average.update(strategy, part.optimizer.iterations.value)
        return {name: strategy.reduce(_SUM, share, axis=None) for name, share in shares.items()}

    return step


def minimize(part, loss: Callable, batch, accumulate: int = 1):
    """Updates a part's weights once; call it inside `strategy.run`.

    Args:
      part: the `Part`.
      loss: function of the tensors of a batch, or of a micro-batch of it, that returns one value
        per image.
      batch: this replica's tensors, such as (degraded, sharp, seeds).
      accumulate: micro-batches that the batch is cut into.

    Returns:
      This replica's share of the loss: shares add up to the mean over the global batch.
    """
    weights, optimizer = part.model.trainable_variables, part.optimizer
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    share = 1 / tf.cast(keras.ops.shape(batch[0])[0] * replicas, tf.float32)

    def differentiate(*tensors):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(loss(*tensors)) * share
            scaled = optimizer.scale_loss(total)
        gradients = tape.gradient(scaled, weights, unconnected_gradients="zero")
        return total, gradients

    total, gradients = _accumulated(differentiate, batch, weights, accumulate)
    apply(part, gradients)
    return total


def apply(part, gradients) -> None:
    """Updates a part's weights by a replica's gradients; call it inside `strategy.run`.

    Args:
      part: the `Part`.
      gradients: of this replica's share of the loss, scaled by the optimizer's `scale_loss`. They
        are summed over the replicas and clipped as `part.clip_limits` says.
    """
    optimizer = part.optimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        gradients = _spoiled_by_any(gradients)
    gradients = _clipped(gradients, part.clip_limits, optimizer.scale_loss)
    optimizer.apply(gradients, part.model.trainable_variables)


def _accumulated(differentiate, batch, weights, count):
    """Sums loss and gradients over `count` equal parts of a batch, one after another."""
    if count == 1:
        return differentiate(*batch)
    images = keras.ops.shape(batch[0])[0] // count

    def add(part, loss, gradients):
        begin = part * images
        micro_batch = (tensor[begin : begin + images] for tensor in batch)
        more_loss, more = differentiate(*micro_batch)
        return part + 1, loss + more_loss, [a + b for a, b in zip(gradients, more, strict=True)]

    start = (tf.constant(0), tf.constant(0.0), [tf.zeros(v.shape, v.dtype) for v in weights])
    # A loop of the graph: parts written out one by one would run, and need memory, side by side.
    _, loss, gradients = tf.while_loop(
        lambda part, *_: part < count, add, start, parallel_iterations=1
    )
    return loss, gradients


def _spoiled_by_any(gradients):
    """Makes all gradients NaN where one overflowed on any replica: all must skip the same steps."""
    norm = tf.distribute.get_replica_context().all_reduce(_SUM, tf.linalg.global_norm(gradients))
    return [gradient + (norm - norm) for gradient in gradients]  # 0, or NaN


def _clipped(gradients, limits, scale):
    """Clips gradients by global norm, as those of the whole batch.

    What is clipped has to be summed over the replicas first, and the optimizer will sum once more:
    equal shares then add up to the clipped gradient.
    """
    if not limits:
        return gradients
    context = tf.distribute.get_replica_context()
    gradients = list(gradients)
    touched = limits[-1][0]
    summed = context.all_reduce(_SUM, [gradients[i] for i in touched])
    for place, gradient in zip(touched, summed, strict=True):
        gradients[place] = gradient
    for places, limit in limits:
        limit = scale(tf.constant(limit, tf.float32))  # the gradients are scaled as the loss is
        clipped, _ = tf.clip_by_global_norm([gradients[i] for i in places], limit)
        for place, gradient in zip(places, clipped, strict=True):
            gradients[place] = gradient
    for place in touched:
        gradients[place] = gradients[place] / context.num_replicas_in_sync
    return gradients
