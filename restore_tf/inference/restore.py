"""A trained network applied to pictures of any size.

Importing this imports no TensorFlow and no Keras: machines that have neither restore with a TFLite
file (`tflite_model.LiteModel`).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from restore_tf.errors import UserError
from restore_tf.inference import memory as memory_plans
from restore_tf.pictures import planes
from restore_tf.pictures.pixels import from_float, to_float


def restore(
    model,
    image: np.ndarray,
    *,
    memory: int | None = None,
    tile: int | None = None,
    whole: bool = False,
    strength: float = 1.0,
    ensemble: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Restores one picture of any size.

    The picture is padded at the bottom and right to the model's `size_multiple`, in the model's
    way (`padding`), and cropped after. A colour picture passes through a one-channel model as the
    model's `colour` says; a gray picture runs through a colour model as three equal channels, whose
    mean is returned.

    A picture that does not fit into memory is restored in tiles: with the numbers of the whole
    picture where the network can be cut up exactly (`exact_tiles`), otherwise in blended tiles,
    which come close (`blended_tiles`); a chain link by link. Some networks do better in tiles of
    their training crops' size and always get them, unless `whole` is set. A TFLite file of one
    fixed size always gets blended tiles of that size. A warning is logged where tiles that were not
    asked for change the numbers.

    Args:
      model: a `Restorer` or a `tflite_model.LiteModel`.
      image: (height, width, 3), (height, width, 1) or (height, width); uint8, uint16, or float in
        [0, 1], sRGB as stored.
      memory: bytes that the process may take in all; None for four fifths of the free memory.
      tile: side of the tiles in pixels, with their surroundings; None for one that fits the memory.
      whole: never use tiles, whatever the memory and the network.
      strength: 1 for the restored picture, 0 for the picture itself (enlarged by bicubics for
        networks that enlarge), a mix of both between.
      ensemble: restore all eight flips and rotations and return their mean (self-ensemble): a
        little better, eight times as slow.
      seed: of what the network draws at random, where it does.
      progress: called with (pixels done, pixels in all) while tiles are restored, or None.

    Returns:
      The restored picture, of the same type and, times the model's `output_scale`, the same shape.
      Integers are clipped and rounded; floats are as the network gives them and may lie slightly
      outside [0, 1].

    Raises:
      UserError: another shape or type, a strength outside [0, 1], options that exclude each other,
        or too little memory.
    """
    image = np.asarray(image)
    _check(image, strength, memory, tile, whole)
    settings = memory_plans.Settings(memory, tile, whole, seed, progress or (lambda *_: None))
    run = functools.partial(_restore_planes, model, settings=settings)
    pixels = image.reshape(*image.shape[:2], -1)
    if strength == 1 and not ensemble:
        restored = run(pixels)
    else:
        restored = _mixed(run, pixels, strength, ensemble, model.output_scale)
    return restored.reshape(*restored.shape[:2], *image.shape[2:])


def _check(image, strength, memory, tile, whole):
    if image.ndim not in (2, 3) or 0 in image.shape or image.shape[2:] not in ((), (1,), (3,)):
        raise UserError(
            f"image of shape {image.shape}; expected (height, width), (height, width, 1) or "
            "(height, width, 3)."
        )
    if not 0 <= strength <= 1:
        raise UserError(f"strength {strength}; expected a number from 0 to 1.")
    if whole and (memory is not None or tile is not None):
        raise UserError("whole: excludes a tile size and a memory limit; leave these out.")
    to_float(image[:1, :1])  # names a wrong type


def _restore_planes(model, pixels, settings):
    """Restores (height, width, channels) of any type; in tiles where memory asks for it."""
    restored = _restore_batch(model, planes.split(pixels, model), settings)
    return planes.join(restored, pixels, model)


def _restore_batch(model, batch, settings):
    """Restores (batch, height, width, channels) of any size and type."""
    links = getattr(model, "links", ())  # files have none
    if len(links) == 1:
        return _restore_batch(links[0], batch, settings)
    if links:
        (last,) = collections.deque(_link_by_link(model, batch, settings), maxlen=1)
        return from_float(last, batch.dtype)
    height, width = (model.output_scale * side for side in batch.shape[1:3])
    restored = memory_plans.restore_batch(model, pad(batch, model), batch.shape[1:3], settings)
    return restored[:, :height, :width]


def _link_by_link(chain, batch, settings):
    """Yields what each link of a chain gives, in floats: each over the whole of what it gets."""
    images, count, area = to_float(batch), len(chain.links), math.prod(batch.shape[:3])
    for number, link in enumerate(chain.links):

        def progress(done, total, number=number):
            settings.progress(int((number + done / total) * area), count * area)

        if number:
            images = chain.between(images)
        images = _restore_batch(link, images, dataclasses.replace(settings, progress=progress))
        yield images


def after_links(
    chain, image: np.ndarray, *, whole: bool = False, seed: int = 0
) -> list[np.ndarray]:
    """Returns the picture as each link of a chain leaves it; the last one is `restore`'s.

    Args:
      chain: a `networks.chain.Chain`.
      image: as `restore`'s.
      whole: as `restore`'s.
      seed: as `restore`'s.

    Returns:
      A picture for each link, of the image's type.

    Raises:
      UserError: as `restore`.
    """
    image = np.asarray(image)
    _check(image, 1.0, None, None, whole)
    settings = memory_plans.Settings(whole=whole, seed=seed)
    pixels = image.reshape(*image.shape[:2], -1)
    batch, found = planes.split(pixels, chain), []
    for images in _link_by_link(chain, batch, settings):
        joined = planes.join(from_float(images, batch.dtype), pixels, chain)
        found.append(joined.reshape(*joined.shape[:2], *image.shape[2:]))
    return found


def _mixed(run, pixels, strength, ensemble, scale):
    """Restores with self-ensemble, and mixes with the picture itself; rounded once."""
    floats = to_float(pixels)
    restored = _ensemble(run, floats) if ensemble else run(floats)
    if strength < 1:
        restored = strength * restored + (1 - strength) * planes.enlarge(floats, scale)
    return from_float(restored, pixels.dtype)


def _ensemble(run, pixels):
    """Mean over the square's eight symmetries, each undone after."""
    total = 0
    for turns in range(4):
        for flipped in (False, True):
            turned = np.rot90(pixels, turns)
            restored = run(np.ascontiguousarray(turned[:, ::-1] if flipped else turned))
            total = total + np.rot90(restored[:, ::-1] if flipped else restored, -turns)
    return total / 8


def pad(batch: np.ndarray, model) -> np.ndarray:
    """Pads images at the bottom and right to a size that the model takes.

    A multiple of its `size_multiple`, and at least its `size` where that is fixed. Where a
    picture is smaller than the padding, NumPy goes on reflecting; a single row or column is
    repeated.

    Args:
      batch: (batch, height, width, channels) of any type.
      model: a `Restorer` or a `tflite_model.LiteModel`; pads in its way (`padding`).
    """
    multiple = model.size_multiple
    least = model.size or (0, 0)
    bottom, right = (
        max(side + -side % multiple, fixed) - side
        for side, fixed in zip(batch.shape[1:3], least, strict=True)
    )
    return np.pad(batch, ((0, 0), (0, bottom), (0, right), (0, 0)), mode=model.padding)
