"""From pairs to training batches without TensorFlow, for Keras' JAX and PyTorch backends.

The samples are those of `pairs.training_batches`, to the bit.
"""

from __future__ import annotations

import keras
import numpy as np

from restore_tf.datasets.samples import Samples


class Batches(keras.utils.PyDataset):
    """Batches of some steps of a training, each (degraded, sharp, seeds).

    See `pairs.training_batches` for what these are, and for the arguments.

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
