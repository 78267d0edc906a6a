"""From pairs to training batches: one tf.data pipeline for every data set.

Samples are numbered 0, 1, 2, … through the whole training. Everything random about sample n (which
pair, which crop, which flip) is a pure function of (seed, n), so the pipeline can start at any step
and gives the same batches whatever the number of threads.
"""

from __future__ import annotations

import tensorflow as tf

from restore_tf.datasets import pairing
from restore_tf.datasets.augmentation import AUGMENTATIONS, paired_crop
from restore_tf.errors import UserError

_CROP = 1  # distinguishes the crop's random numbers from those of the augmentations


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
    augment=(),
    channels: int = 3,
) -> tf.data.Dataset:
    """Returns the batches of `steps` steps.

    The samples of each step are dealt out in order: the first of `pipelines` workers gets the first
    ones, and its first replica the first of those.

    Args:
      source: pairs read by index, see `sources`.
      crop: side of the square crops, in pixels; no picture may be smaller.
      batch: pairs a step, over all workers and replicas.
      steps: how many, None for no end.
      seed: of everything random.
      first_sample: number of the first step's first sample.
      pipeline, pipelines: which of how many workers this is.
      replicas: how many replicas each worker has; every element is one replica's share of a step.
      augment: names from `augmentation.AUGMENTATIONS`, applied in this order.
      channels: 3 for RGB, 1 for gray pictures.

    Returns:
      A dataset of (degraded, sharp), both (batch / pipelines / replicas, crop, crop, channels)
      float32 in [0, 1]; `replicas` elements a step.

    Raises:
      UserError: an empty source, a picture smaller than the crop, an unknown augmentation.
    """
    check_training(source, crop, augment)
    count = tf.constant(len(source), tf.int64)

    def example(number):
        sample_seed = tf.stack([tf.constant(seed, tf.int64), number])
        pair = tf.stack(source.tensors(pair_index(number, count, seed)))
        pair = paired_crop(pair, crop, _fold(sample_seed, _CROP))
        pair = tf.image.convert_image_dtype(pair, tf.float32)
        for position, name in enumerate(augment):
            pair = AUGMENTATIONS[name](pair, _fold(sample_seed, 100 + position))
        if channels == 1:
            pair = tf.image.rgb_to_grayscale(pair)
        pair = tf.ensure_shape(pair, (2, crop, crop, channels))
        return pair[0], pair[1]

    share = batch // pipelines  # of a step, for this worker

    def number(position):
        step = position // share
        return first_sample + step * batch + pipeline * share + position % share

    positions = tf.data.Dataset.counter() if steps is None else tf.data.Dataset.range(steps * share)
    examples = positions.map(number).map(
        example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return examples.batch(share // replicas, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def pair_index(number, count, seed: int):
    """Which pair sample `number` shows: every epoch is a permutation of its own.

    Args:
      number: scalar int64 tensor, the sample's number through the whole training.
      count: scalar int64 tensor, pairs in the source.
      seed: of the permutations.

    Returns:
      Scalar int64 tensor in [0, count).
    """
    epoch = number // count
    return tf.random.experimental.index_shuffle(
        number % count, tf.stack([tf.constant(seed, tf.int64), epoch]), count - 1
    )


def check_training(source, crop: int, augment=()) -> None:
    """Raises a UserError where a training with this crop could not work."""
    pairing.check_crop(source, crop)
    for name in augment:
        if name not in AUGMENTATIONS:
            raise UserError(f"augment {name}: there are {', '.join(AUGMENTATIONS)}.")


def name_damage(source, samples: range, seed: int) -> str | None:
    """Returns which of these samples' pairs cannot be read, or None when all can.

    For use after the pipeline failed: an error inside tf.data does not name the file.
    """
    for number in samples:
        index = int(pair_index(tf.constant(number, tf.int64), tf.cast(len(source), tf.int64), seed))
        try:
            source.tensors(tf.constant(index, tf.int64))
        except tf.errors.OpError:
            return source.names[index]
    return None


def _fold(seed, purpose: int):
    return tf.random.experimental.stateless_fold_in(seed, purpose)
