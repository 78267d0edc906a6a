"""One training step, the same under every distribution strategy.

`Model.fit` is not used here because it breaks under several of Keras 3's strategies. What a step
computes: each replica's gradient of its share of the mean loss over the GLOBAL batch, summed over
the replicas, clipped as the gradient of the whole batch, then Adam.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from restore_tf.networks import losses

_SUM = tf.distribute.ReduceOp.SUM


def make_step(experiment, strategy, state, accumulate: int = 1):
    """Returns a compiled function that updates the weights once.

    Args:
      experiment: the `Experiment`: its loss and its clipping.
      strategy: what `state` was made under.
      state: the `State`.
      accumulate: micro-batches that each replica's images are cut into; only one of them is in
        memory at a time, and the result is that of the whole batch.

    Returns:
      A function of a (distributed) batch of (degraded, sharp, seeds) and of a number: whether this
      worker wants to stop. It returns a tensor of two: the loss, the mean over the global batch,
      and how many replicas want to stop.
    """
    loss_function = losses.get(experiment.loss)
    model, optimizer = state.model, state.optimizer
    weights = model.trainable_variables
    replicas = strategy.num_replicas_in_sync

    def differentiate(degraded, sharp, share):
        with tf.GradientTape() as tape:
            per_image = loss_function(sharp, model(degraded, training=True))
            loss = tf.reduce_sum(per_image) * share
            scaled = optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, weights)

    def replica_step(batch, stop):
        share = 1 / tf.cast(keras.ops.shape(batch[0])[0] * replicas, tf.float32)
        loss, gradients = _accumulated(differentiate, batch[:2], share, weights, accumulate)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = _spoiled_by_any(gradients)
        gradients = _clipped(gradients, model, experiment, optimizer.scale_loss)
        optimizer.apply(gradients, weights)
        return tf.stack([loss, stop])

    @tf.function
    def step(batch, stop):
        outcomes = strategy.run(replica_step, args=(batch, stop))
        if state.average:
            state.average.update(strategy, optimizer.iterations.value)
        return strategy.reduce(_SUM, outcomes, axis=None)

    return step


def _accumulated(differentiate, batch, share, weights, count):
    """Sums loss and gradients over `count` equal parts of a batch, one after another."""
    if count == 1:
        return differentiate(*batch, share)
    images = keras.ops.shape(batch[0])[0] // count

    def add(part, loss, gradients):
        begin = part * images
        micro_batch = (tensor[begin : begin + images] for tensor in batch)
        more_loss, more = differentiate(*micro_batch, share)
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


def _clipped(gradients, model, experiment, scale):
    """Clips gradients by global norm, as those of the whole batch.

    First those of the model's recurrent weights alone, then all together, each where the experiment
    asks for it. What is clipped has to be summed over the replicas first, and the optimizer will
    sum once more: equal shares then add up to the clipped gradient.
    """
    recurrent = {id(variable) for variable in getattr(model, "recurrent_variables", ())}
    everything = list(range(len(gradients)))
    some = [i for i in everything if id(model.trainable_variables[i]) in recurrent]
    limits = [(some, experiment.recurrent_clip_norm), (everything, experiment.global_clip_norm)]
    limits = [(places, limit) for places, limit in limits if places and limit is not None]
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
