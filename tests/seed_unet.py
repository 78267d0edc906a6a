"""The student project's U-Net as it was, for parity: corners aligned, pictures normalised."""

import numpy as np
from keras import ops

from baselines_tf.unet import UNet, load_checkpoint, name_map

__all__ = ["SeedUNet", "load_checkpoint", "name_map"]

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class SeedUNet(UNet):
    """Takes pictures of any size that is known; what is upsampled is padded to its skip's."""

    def check_size(self, images):
        """Takes all."""

    def join(self, skip, x):
        """Corners aligned; what is missing of an odd size is zeros."""
        for axis in (1, 2):
            x = ops.moveaxis(ops.tensordot(_doubling(x.shape[axis]), x, [[1], [axis]]), 0, axis)
            missing = skip.shape[axis] - x.shape[axis]
            padding = [(0, 0)] * 4
            padding[axis] = (missing // 2, missing - missing // 2)
            x = ops.pad(x, padding)
        return ops.concatenate([skip, x], axis=-1)

    def call(self, images, training=False):
        """In ImageNet's normalised values, and back."""
        mean, deviation = (ops.array(values, "float32") for values in (MEAN, DEVIATION))
        (restored,) = super().call((images - mean) / deviation, training=training)
        return [restored * deviation + mean]


def _doubling(size):
    """(2 size, size) that interpolates linearly, the first and the last sample staying in place."""
    if size == 1:
        return np.ones((2, 1), np.float32)
    places = np.linspace(0, size - 1, 2 * size)
    samples = np.arange(size)
    return np.maximum(0, 1 - np.abs(places[:, None] - samples)).astype(np.float32)
