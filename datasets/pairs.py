"""From pairs to training batches through tf.data, for Keras' TensorFlow backend.

`samples.Samples` makes every sample in NumPy; tf.data calls it from several threads and deals the
samples out to workers and replicas. `numpy_pairs` does the same for the other backends.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from restore_tf.datasets.python_calls import python_call
from restore_tf.datasets.samples import Samples, check_training, name_damage

__all__ = ["check_training", "name_damage", "training_batches"]


def training_batches(
    source,
    *,
    crop: int,
    batch: int,
    steps: int | None,
    seed: int,
    first_sample: int = 0,
    pipeline: int = 0,
    pipelines: int = 1,
    replicas: int = 1,
    augment: Sequence[str] = (),
    channels: int = 3,
    output_scale: int = 1,
    size_multiple: int | None = None,
) -> tf.data.Dataset:
    """Returns the batches of `steps` steps.

    The samples of each step are dealt out in order: the first of `pipelines` workers gets the first
    ones, and its first replica the first of those.

    Args:
      source: pairs read by index, see `sources`.
      crop: side of the square crops, in pixels; no degraded picture may be smaller.
      batch: pairs a step, over all workers and replicas.
      steps: how many, None for no end.
      seed: of everything random, at least 0.
      first_sample: number of the first step's first sample.
      pipeline, pipelines: which of how many workers this is.
      replicas: how many replicas each worker has; every element is one replica's share of a step.
      augment: names from `augmentation.AUGMENTATIONS`, applied in this order.
      channels: 3 for RGB, 1 for gray pictures.
      output_scale: how many times larger than the degraded pictures the sharp ones are.
      size_multiple: of what the network takes crops, for the check; None where it is not known.

    Returns:
      A dataset with `replicas` elements a step. Each is (degraded, sharp, seeds) of
      n = batch / pipelines / replicas samples: (n, crop, crop, channels) and (n, crop *
      output_scale, crop * output_scale, channels) float32 in [0, 1], and (n, 2) int32, the run's
      seed and the sample's number.

    Raises:
      UserError: see `Samples`. A pair that cannot be read later is a tf.errors.OpError, from which
        `name_damage` tells the pair.
    """
    samples = Samples(
        source,
        crop=crop,
        seed=seed,
        augment=augment,
        channels=channels,
        output_scale=output_scale,
        size_multiple=size_multiple,
    )
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
