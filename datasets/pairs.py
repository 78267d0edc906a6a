"""Makes training batches from pairs through tf.data, for Keras' TensorFlow backend.

`samples.Samples` makes every sample in NumPy; tf.data calls it from several threads and distributes
the samples over workers and replicas. `numpy_pairs` does the same for the other backends.
"""

from __future__ import annotations

import tensorflow as tf

from restore_tf.datasets.python_calls import python_call
from restore_tf.datasets.samples import Samples


def training_batches(
    source,
    *,
    batch: int,
    steps: int | None,
    first_sample: int = 0,
    pipeline: int = 0,
    pipelines: int = 1,
    replicas: int = 1,
    **settings,
) -> tf.data.Dataset:
    """Returns the batches of `steps` steps.

    The samples of each step are distributed in order: the first of `pipelines` workers gets the
    first ones, and its first replica the first of those.

    Args:
      source: pairs read by index, see `sources`.
      batch: pairs a step, over all workers and replicas.
      steps: how many, None for no end.
      first_sample: number of the first step's first sample.
      pipeline: number of this worker, from 0.
      pipelines: how many workers there are; divides `batch`.
      replicas: how many replicas each worker has; every element is one replica's share of a step.
      settings: crop, seed and more, see `Samples`.

    Returns:
      A dataset with `replicas` elements a step. Each is (degraded, sharp, seeds) of
      n = batch / pipelines / replicas samples: (n, crop, crop, channels) and (n, crop *
      output_scale, crop * output_scale, channels) float32 in [0, 1], and (n, 2) int32, the run's
      seed and the sample's number.

    Raises:
      UserError: see `Samples`. A pair that cannot be read later is a tf.errors.OpError that holds
        the UserError's message.
    """
    samples = Samples(source, **settings)
    kinds = (tf.float32, tf.float32, tf.int32)
    specs = [tf.TensorSpec(*spec) for spec in zip(samples.shapes, kinds, strict=True)]
    share = batch // pipelines  # of a step, for this worker

    def sample(position):
        step = position // share
        number = first_sample + step * batch + pipeline * share + position % share
        return tuple(python_call(samples, [number], specs))

    positions = tf.data.Dataset.counter() if steps is None else tf.data.Dataset.range(steps * share)
    examples = positions.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(share // replicas, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
