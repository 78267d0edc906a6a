"""Restores a picture piece by piece with the numbers of the whole, in bounded memory.

The network says how it is cut up (`Restorer.tiler`). The picture keeps its own type, 8 or 16 bits;
only the current pieces are floats. Networks without exact tiles get `blended_tiles`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from restore_tf.errors import UserError
from restore_tf.pictures.pixels import from_float, to_float


def restore_exact(
    model,
    batch: np.ndarray,
    tile: int,
    progress: Callable[[int], None] = lambda pixels: None,
    seed: int = 0,
) -> np.ndarray:
    """Restores padded images in exact tiles.

    Args:
      model: a `Restorer` that has a `tiler`.
      batch: (batch, height, width, channels), uint8, uint16 or float, padded to `size_multiple`.
      tile: side of a tile with its surroundings, in pixels (of each scale, for networks of many).
      progress: takes the pixels done, after each tile.
      seed: of what the network draws at random.

    Returns:
      The restored images, `output_scale` times as large, of the batch's type; integers are clipped
      and rounded.

    Raises:
      UserError: a tile too small to give anything.
    """
    tiler = model.tiler()
    asked, tile = tile, tile // tiler.step * tiler.step
    if tile <= 2 * tiler.margin:
        raise UserError(
            f"tiles of {asked} pixels: {model.name} sees {tiler.margin} pixels around each; "
            f"expected at least {2 * tiler.margin + tiler.step}."
        )
    count, height, width, channels = batch.shape
    scale = model.output_scale
    restored = np.empty((count, scale * height, scale * width, channels), batch.dtype)

    def read(rows, columns):
        return to_float(batch[:, rows, columns])

    def write(rows, columns, pixels):
        restored[:, rows, columns] = from_float(pixels, batch.dtype)

    tiler.restore(batch.shape, read, write, tile, progress, seed)
    return restored
