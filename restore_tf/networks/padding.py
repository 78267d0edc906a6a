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


def pad_edges(images, pixels: int):
    """Repeats the outermost rows and columns: (b, h, w, c) -> (b, h + 2 pixels, w + 2 pixels, c).

    Args:
      images: (batch, h, w, channels).
      pixels: how many rows and columns are put at each side.
    """
    for axis in (1, 2):
        size = ops.shape(images)[axis]
        if isinstance(size, int):
            positions = np.clip(np.arange(-pixels, size + pixels), 0, size - 1)
        else:
            positions = ops.arange(size + 2 * pixels, dtype="int32") - pixels
            positions = ops.minimum(ops.maximum(positions, 0), size - 1)
        images = ops.take(images, positions, axis)
    return images


def _inside(positions, size, padding, library):
    """Where each row (or column) of the padded picture comes from."""
    if padding == "edge":
        return library.minimum(positions, size - 1)
    period = library.maximum(2 * (size - 1), 1)
    positions = positions % period
    return library.minimum(positions, period - positions)
