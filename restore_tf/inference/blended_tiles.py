"""Restores pictures in overlapping tiles that are blended, where exact tiles are not possible.

A network that pools over the whole picture (MPRNet), and a file whose input has one fixed size
(TFLite), restore each tile by itself. Where tiles overlap the results are mixed, with weights that
fall to zero towards a tile's border: a network sees least there, and no seam can show. How close
the result comes to that of the whole picture depends on the picture; how much tiles differ where
they overlap is a hint.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from restore_tf.networks.tiler import times
from restore_tf.pictures.pixels import from_float, to_float


def restore_blended(
    model,
    batch: np.ndarray,
    tile: tuple[int, int],
    overlap: tuple[int, int],
    progress: Callable[[int], None] = lambda pixels: None,
    seed: int = 0,
    step: int | None = None,
) -> tuple[np.ndarray, float]:
    """Restores padded images in overlapping tiles, blended linearly where they overlap.

    All tiles have one size. As few as possible are spread evenly, so that neighbours share at least
    `overlap` and mostly more.

    Args:
      model: any `Restorer` or `tflite_model.LiteModel`.
      batch: (batch, height, width, channels), uint8, uint16 or float, padded to `size_multiple`.
      tile: (height, width) of a tile in pixels, multiples of the model's `size_multiple`. Where the
        images are smaller, tiles are as the images.
      overlap: how many rows and columns neighbours share at least, less than the tile's.
      progress: called after each tile with the new pixels it gave.
      seed: of what the network draws at random.
      step: tiles begin at multiples of it; the model's `size_multiple` by default.

    Returns:
      The images, `output_scale` times as large, of the batch's type, and by how much two tiles
      differ on average where they overlap, in image units.
    """
    count, height, width, channels = batch.shape
    scale = model.output_scale
    sides = zip(batch.shape[1:3], tile, overlap, strict=True)
    down, across = (spread(*side, step or model.size_multiple) for side in sides)
    total = np.zeros((count, scale * height, scale * width, channels), np.float32)
    weight = np.zeros((*total.shape[1:3], 1), np.float32)
    difference = shared = 0.0
    for rows, row_share in down:
        for columns, column_share in across:
            origins = np.tile([rows.start, columns.start], (count, 1))
            restored = model.restore_padded(to_float(batch[:, rows, columns]), seed, origins)
            place = times(rows, scale), times(columns, scale)
            share = np.repeat(row_share, scale)[:, None] * np.repeat(column_share, scale)[None]
            before = weight[place]
            again = before[..., 0] > 0
            if again.any():
                mean = total[:, *place][:, again] / before[again]
                difference += float(np.abs(restored[:, again] - mean).sum())
                shared += mean.size
            total[:, *place] += share[..., None] * restored
            weight[place] += share[..., None]
            progress(count * int(np.count_nonzero(~again)) // scale**2)
    total /= weight
    return from_float(total, batch.dtype), difference / max(shared, 1.0)


def spread(size, tile, overlap, step) -> list[tuple[slice, np.ndarray]]:
    """Spreads tiles of one length evenly along an axis, with blending weights.

    Args:
      size: length of the axis in pixels.
      tile: length of a tile.
      overlap: pixels that neighbours share at least, less than `tile`.
      step: tiles begin at multiples of it, the last one excepted.

    Returns:
      (where, weights) of each tile: a slice and (tile,) float32. Weights add up to 1 at each pixel.
    """
    if tile >= size:
        return [(slice(0, size), np.ones(size, np.float32))]
    overlap = min(overlap + step - 1, tile - 1)  # starts are brought down to the step
    count = -(-(size - overlap) // (tile - overlap))
    room = size - tile
    starts = [room * index // (count - 1) // step * step for index in range(count)]
    starts[-1] = room
    starts = list(dict.fromkeys(starts))  # the step can bring two to one place
    shared = [start + tile - following for start, following in itertools.pairwise(starts)]
    return [
        (slice(start, start + tile), _ramps(tile, before, after))
        for start, before, after in zip(starts, [0, *shared], [*shared, 0], strict=True)
    ]


def _ramps(tile, before, after):
    """Weights that rise over what is shared with the tile before, and fall over what comes after.

    Where two tiles overlap their weights add up to 1.
    """
    weights = np.ones(tile, np.float32)
    for shared, side in ((before, slice(None)), (after, slice(None, None, -1))):
        rise = (np.arange(shared, dtype=np.float32) + 1) / (shared + 1)
        weights[side][:shared] = np.minimum(weights[side][:shared], rise)
    return weights
