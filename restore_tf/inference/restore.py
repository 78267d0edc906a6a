"""A trained network applied to pictures of any size.

Importing this imports no TensorFlow and no Keras: machines that have neither restore with a TFLite
file (`tflite_model.LiteModel`).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import numpy as np

from restore_tf.errors import UserError
from restore_tf.inference import memory as planning
from restore_tf.pictures.pixels import from_float, to_float


def restore(
    model,
    image: np.ndarray,
    *,
    memory: int | None = None,
    tile: int | None = None,
    strength: float = 1.0,
    ensemble: bool = False,
    note: Callable[[str], None] = warnings.warn,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Restores one picture of any size.

    The picture is padded at the bottom and right to the model's `size_multiple`, in the model's
    way (`padding`), and cropped after. Colour runs through a one-channel model as three planes; a
    gray picture runs through a colour model as three equal channels, whose mean is returned.

    Where the whole picture would take more than the memory there is, it is restored in tiles: SRN
    with the numbers of the whole picture (`exact_tiles`), MPRNet with blended ones that come close
    (`blended_tiles`). A TFLite file of one fixed size always gets blended tiles of that size.

    Args:
      model: a `Restorer` or a `tflite_model.LiteModel`.
      image: (height, width, 3), (height, width, 1) or (height, width); uint8, uint16, or float in
        [0, 1], sRGB as stored.
      memory: bytes that the process may take in all; by default four fifths of what is free.
      tile: side of the tiles in pixels, with their surroundings, in place of what memory asks for.
      strength: 1 for the restored picture, 0 for the picture itself, a mix of both between.
      ensemble: restore all eight flips and rotations and return their mean (self-ensemble): a
        little better, eight times as slow.
      note: told in a line what was done otherwise than asked, such as smaller tiles.
      progress: told (pixels done, pixels in all) while tiles are restored.

    Returns:
      The restored picture, of the same shape and type. Integers are clipped and rounded; floats
      are as the network gives them and may lie slightly outside [0, 1].

    Raises:
      UserError: another shape or type, a strength outside [0, 1], or too little memory.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape or image.shape[2:] not in ((), (1,), (3,)):
        raise UserError(
            f"image of shape {image.shape}; expected (height, width), (height, width, 1) or "
            "(height, width, 3)."
        )
    if not 0 <= strength <= 1:
        raise UserError(f"strength {strength}; expected a number from 0 to 1.")
    how = {"memory": memory, "tile": tile, "note": note}
    run = functools.partial(_restore_planes, model, how=how, progress=progress or (lambda *_: None))
    planes = image.reshape(*image.shape[:2], -1)
    if strength == 1 and not ensemble:
        restored = run(planes)
    else:
        pixels = to_float(planes)
        restored = _ensemble(run, pixels) if ensemble else run(pixels)
        restored = from_float(strength * restored + (1 - strength) * pixels, image.dtype)
    return restored.reshape(image.shape)


def _restore_planes(model, planes, how, progress):
    """Restores (height, width, channels) of any type; in tiles where memory asks for it."""
    batch = pad(_to_batch(planes, model.channels), model)
    to_float(batch[:, :1, :1])  # says in our words that a type is wrong
    restored = planning.run(model, batch, answer, progress=progress, **how)
    restored = restored[:, : planes.shape[0], : planes.shape[1]]
    return _from_batch(restored, planes.shape[-1])


def _ensemble(run, pixels):
    """Mean over the square's eight symmetries, each undone after."""
    total = 0
    for turns in range(4):
        for flipped in (False, True):
            turned = np.rot90(pixels, turns)
            restored = run(np.ascontiguousarray(turned[:, ::-1] if flipped else turned))
            total = total + np.rot90(restored[:, ::-1] if flipped else restored, -turns)
    return total / 8


def _to_batch(planes, channels):
    if channels == 1:
        return np.moveaxis(planes, -1, 0)[..., None]
    return np.broadcast_to(planes, (*planes.shape[:2], channels))[None]


def _from_batch(batch, channels):
    if batch.shape[-1] == 1:
        return np.moveaxis(batch[..., 0], 0, -1)
    if channels == batch.shape[-1]:
        return batch[0]
    gray = to_float(batch[0]).mean(axis=-1, keepdims=True)
    return from_float(gray, batch.dtype)


def pad(batch: np.ndarray, model) -> np.ndarray:
    """Pads (batch, height, width, channels) at the bottom and right to what the model takes.

    That is a multiple of its `size_multiple`, and at least its `size` where that is fixed. Where a
    picture is smaller than the padding, NumPy goes on reflecting; a single row or column is
    repeated.
    """
    multiple = model.size_multiple
    least = model.size or (0, 0)
    bottom, right = (
        max(side + -side % multiple, fixed) - side
        for side, fixed in zip(batch.shape[1:3], least, strict=True)
    )
    return np.pad(batch, ((0, 0), (0, bottom), (0, right), (0, 0)), mode=model.padding)


def answer(model, images: np.ndarray) -> np.ndarray:
    """Runs a batch of padded images and returns the last stage, (batch, height, width, channels).

    Each model knows how it runs best: see `Restorer.run` and `lite.LiteModel.run`.
    """
    return model.run(images)
