"""Padding inside a graph, for images of any size; `restore_tf.inference.restore.pad` in NumPy."""

from __future__ import annotations

import numpy as np
from keras import ops


def pad_to_multiple(images, multiple: int, padding: str):
    """Pads at the bottom and right as `numpy.pad` does, until both sides are multiples.

    Args:
      images: (batch, height, width, channels); the sides may be unknown when a graph is traced.
      multiple: of height and width, in pixels.
      padding: "edge" or "reflect". Reflection goes back and forth where the picture is smaller than
        the padding; a single row has only itself.

    Returns:
      The padded images.
    """
    for axis in (1, 2):
        size = ops.shape(images)[axis]
        if isinstance(size, int):
            if size % multiple:
                positions = np.arange(-(-size // multiple) * multiple)
                images = ops.take(images, _inside(positions, size, padding, np), axis)
        elif multiple > 1:
            positions = ops.arange((size + multiple - 1) // multiple * multiple, dtype="int32")
            images = ops.take(images, _inside(positions, size, padding, ops), axis)
    return images


def _inside(positions, size, padding, library):
    """Where each row (or column) of the padded picture comes from."""
    if padding == "edge":
        return library.minimum(positions, size - 1)
    period = library.maximum(2 * (size - 1), 1)
    positions = positions % period
    return library.minimum(positions, period - positions)
