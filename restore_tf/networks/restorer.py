"""What every network of this package is: a keras.Model that restores an image in stages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from restore_tf.networks import losses


class Restorer(keras.Model):
    """A network whose `call` returns the images of all its stages; the last one is the answer.

    Subclasses implement

        call(images, training=False) -> [stage 1, …, stage n]

    with images (batch, height, width, channels) float in [0, 1], sRGB as stored, and stages from
    first (or coarsest) to last. Height and width may differ from call to call and must be
    multiples of `size_multiple`; `restore_tf.restore` pads and crops, the network never does.

    Attributes:
      channels: image channels, 3 (RGB) or 1 (gray; a colour picture runs as three planes).
      size: the only (height, width) it takes, or None for any; files for devices fix it.
      size_multiple: height and width must be multiples of it, in pixels.
      padding: how pictures are padded to that multiple at the bottom and right, as named by
        `numpy.pad`: "edge" or "reflect".
      bytes_per_pixel: memory that restoring takes, per pixel of the picture, as measured on
        TensorFlow's CPU.
      settled: whether the weights are there to restore with, as `weights.run.load_model` says,
        not in training: then `run` takes `constants` as numbers.
    """

    channels: int = 3
    size: tuple[int, int] | None = None
    size_multiple: int = 1
    padding: str = "edge"
    bytes_per_pixel: float = 1000.0
    settled: bool = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Under mixed precision the blocks cast what they take. The images themselves stay float32:
        # 16 bits would round them before anything is restored.
        self.autocast = False

    def build(self, input_shape=None):
        """Creates every weight by one call on the smallest picture the network takes."""
        if self.built:
            return
        self.built = True  # first, because the call below asks for it again
        side = self.size_multiple
        self(ops.zeros((1, side, side, self.channels)))

    def run(self, images: np.ndarray) -> np.ndarray:
        """Restores a batch of padded images, NumPy in and out; returns the last stage.

        On TensorFlow the network is compiled once, for all sizes, and what only the other stages
        need is left out; again where `constants` change.

        Args:
          images: (batch, height, width, channels) float32 in [0, 1], padded to `size_multiple`.
        """
        if keras.backend.backend() != "tensorflow":
            return np.asarray(self.predict_on_batch(images)[-1])  # compiled; keeps no gradients
        import tensorflow as tf

        constants = self.constants() if self.settled else None
        known, compiled = self.__dict__.get("_compiled_run", (None, None))
        if compiled is None or known != constants:
            signature = tf.TensorSpec((None, None, None, self.channels), tf.float32)
            function = tf.function(
                lambda x: self(x, training=False)[-1], input_signature=[signature]
            )
            with self.taken_as_constants() if self.settled else contextlib.nullcontext():
                compiled = function.get_concrete_function()
            # As an attribute SavedModels would hold it.
            self.__dict__["_compiled_run"] = constants, compiled
        return compiled(tf.convert_to_tensor(images)).numpy()

    def constants(self) -> tuple[float, ...]:
        """Those of the weights, as they are now, that a graph gains from holding as numbers."""
        return ()

    def use_constants(self, values: tuple[float, ...]) -> None:
        """Computes with `values`, as `constants` gave them, not the weights; () undoes it."""

    @contextlib.contextmanager
    def taken_as_constants(self) -> Iterator[None]:
        """Graphs that are traced inside hold `constants` as numbers: for inference and export.

        A graph can do with a number what it cannot do with a weight, which could be anything.
        """
        self.use_constants(self.constants())
        try:
            yield
        finally:
            self.use_constants(())

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """Prepares for `fit` and `evaluate`, on any of Keras' backends.

        Data are batches of (degraded, sharp), both (batch, height, width, channels) float in
        [0, 1]. `restore_tf.training.train` trains under tf.distribute and resumes exactly.

        Args:
          optimizer: as Keras'.
          loss: name of a loss of `networks.losses`, or such a function of (sharp, stages) that
            returns one value per image.
          metrics: Keras metrics of the sharp and the restored image, such as
            `restore_tf.networks.keras_metrics.PSNR()`.
          kwargs: the rest of Keras' own.
        """
        loss = losses.get(loss) if isinstance(loss, str) else loss
        self._stages_loss = loss and _StagesLoss(loss)
        # Keras pairs every output with a target of its own; here all stages share one.
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss over all stages, the mean over the batch; Keras calls this."""
        if self._stages_loss is None:
            return ops.zeros(())
        return self._stages_loss(y, y_pred, sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Metrics of the restored image; Keras calls this."""
        return super().compute_metrics(x, y, y_pred[-1], sample_weight)

    def check_size(self, images):
        """Raises a ValueError for images of a shape the network does not take."""
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[-1] != self.channels:
            raise ValueError(
                f"{self.name} takes images of shape (batch, height, width, {self.channels}), "
                f"got {shape}."
            )
        if any(side is not None and side % self.size_multiple for side in shape[1:3]):
            raise ValueError(
                f"{self.name} takes heights and widths that are multiples of {self.size_multiple},"
                f" got {shape[1]}x{shape[2]}; restore_tf.restore pads pictures of any size."
            )


class _StagesLoss(keras.losses.Loss):
    """A loss of ours as Keras wants it: it takes the mean over the batch, and shares it out under
    tf.distribute."""

    def __init__(self, function):
        super().__init__(name="stages")
        self._function = function

    def call(self, y_true, y_pred):
        return self._function(y_true, y_pred)
