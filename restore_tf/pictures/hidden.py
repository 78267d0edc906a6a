"""Colours under full transparency: no viewer shows them, so no network may see them.

Editors leave anything there, often black. A network spreads it over the edge of a cut-out as a dark
line. So these pixels take the colour of the nearest visible one before a picture is restored, and
their own again after.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from restore_tf.pictures.pixels import repeat, scale_of


def fill(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Gives hidden pixels the colour of the nearest visible one.

    Args:
      pixels: (height, width, 3) or (height, width), of any number type.
      alpha: (height, width), 0 where a pixel is hidden; None where the picture has no alpha.

    Returns:
      A copy, or `pixels` themselves where none is hidden or none is visible.
    """
    if alpha is None:
        return pixels
    mask = alpha == 0
    if not mask.any() or mask.all():
        return pixels
    from scipy import ndimage

    rows, columns = ndimage.distance_transform_edt(
        mask, return_distances=False, return_indices=True
    )
    filled = pixels.copy()
    filled[mask] = pixels[rows[mask], columns[mask]]
    return filled


def put_back(restored: np.ndarray, pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Gives hidden pixels their original colours again.

    Args:
      restored: (height, width, …), of the type of `pixels`, or a multiple of their size.
      pixels: as they were before `fill`.
      alpha: as for `fill`.
    """
    if alpha is None or alpha.all():
        return restored
    scale = scale_of(restored, pixels)
    mask = repeat(alpha == 0, scale)
    mask = mask.reshape(mask.shape + (1,) * (restored.ndim - 2))
    return np.where(mask, repeat(pixels, scale), restored)


def restore(
    function: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, alpha: np.ndarray | None
) -> np.ndarray:
    """Restores pixels with `function`, which sees no hidden colours and changes none.

    Args:
      function: takes and returns pixels of one type; what it returns may be a multiple as large.
      pixels: as for `fill`.
      alpha: as for `fill`.
    """
    return put_back(function(fill(pixels, alpha)), pixels, alpha)
