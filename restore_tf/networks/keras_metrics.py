"""PSNR as a Keras metric, for validation while a network trains.

Kept apart from `restore_tf.evaluation.metrics` so that the numbers of an evaluation need no Keras.
Only `keras.ops` is used: the metric runs on the TensorFlow, JAX and PyTorch backends.
"""

from __future__ import annotations

import keras
from keras import ops

from restore_tf.errors import UserError

PSNR_CEILING = 100.0  # dB


@keras.saving.register_keras_serializable(package="restore_tf")
class PSNR(keras.metrics.Mean):
    """Mean over images of the 8-bit PSNR in dB, as `evaluation.metrics.psnr` computes it.

    Images are (batch, height, width, channels) floats in [0, 1]; they are clipped and rounded to
    8 bit. Where a model returns a list of stages, the last one, the restored image, is scored.

    An image without any error has infinite PSNR, which would hide all others in the mean. It
    counts as 100 dB: what one value in 154,000 being off by one 8-bit step gives.
    """

    def __init__(self, name: str = "psnr", dtype=None):
        """Creates the metric.

        Args:
          name: what logs call it.
          dtype: of the running sums; Keras' float type, float32, by default.
        """
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds one batch.

        Args:
          y_true: the sharp images, (batch, height, width, channels) in [0, 1].
          y_pred: the restored ones, same shape, or a list of stages that ends with them.
          sample_weight: (batch,), or None for equal weights. Zero leaves an image out.

        Raises:
          UserError: the shapes differ. Keras would broadcast (…, 1) against (…, 3) silently.
        """
        restored = y_pred[-1] if isinstance(y_pred, (list, tuple)) else y_pred
        # float32 first: a bfloat16 picture has fewer than 256 levels to round to.
        sharp, restored = ops.cast(y_true, "float32"), ops.cast(restored, "float32")
        _check_shapes(sharp.shape, restored.shape)
        difference = _eight_bit(sharp) - _eight_bit(restored)
        error = ops.mean(ops.square(difference), axis=(1, 2, 3))  # (batch,)
        floor = 255.0**2 / 10 ** (PSNR_CEILING / 10)
        decibel = 10 * ops.log10(255.0**2 / ops.maximum(error, floor))
        return super().update_state(decibel, sample_weight=sample_weight)


def _eight_bit(images):
    """Clips [0, 1] images and rounds them to whole numbers in [0, 255], still float32."""
    return ops.round(ops.clip(images, 0.0, 1.0) * 255.0)


def _check_shapes(sharp, restored) -> None:
    """Raises a UserError unless both are (batch, height, width, channels) and agree."""
    known = [(a, b) for a, b in zip(sharp, restored, strict=False) if None not in (a, b)]
    if not len(sharp) == len(restored) == 4 or any(a != b for a, b in known):
        raise UserError(
            "PSNR: expected sharp and restored images of one shape (batch, height, width, "
            f"channels), got {tuple(sharp)} and {tuple(restored)}."
        )
