"""Makes training batches from pairs without TensorFlow, for Keras' JAX and PyTorch backends.

The samples are those of `pairs.training_batches`, to the bit.
"""

from __future__ import annotations

import keras
import numpy as np

from restore_tf.datasets.samples import Samples


class Batches(keras.utils.PyDataset):
    """Batches of some training steps, each (degraded, sharp, seeds) as by `pairs.training_batches`.

    Args:
      source: pairs read by index, see `sources`.
      batch: pairs a step.
      steps: how many.
      first_sample: number of the first step's first sample.
      settings: crop, seed and more, see `Samples`.

    Raises:
      UserError: see `Samples`; from indexing, a pair that cannot be read.
    """

    def __init__(self, source, *, batch: int, steps: int, first_sample: int = 0, **settings):
        super().__init__()
        self._samples = Samples(source, **settings)
        self._batch, self._steps, self._first = batch, steps, first_sample

    def __len__(self):
        return self._steps

    def __getitem__(self, step):
        """The batch of one step, counted from 0."""
        begin = self._first + step * self._batch
        samples = [self._samples(begin + i) for i in range(self._batch)]
        return tuple(np.stack(parts) for parts in zip(*samples, strict=True))
