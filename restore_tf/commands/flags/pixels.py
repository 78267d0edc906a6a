"""The flags of `restore.py` about the pixels themselves: memory, tiles, strength."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import numpy as np
from absl import flags
from tqdm import tqdm

from restore_tf.errors import UserError
from restore_tf.system.log import logger

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def define(values: flags.FlagValues) -> None:
    """Defines --memory, --tile, --whole, --verify_tiles, --seed, --strength, --ensemble.

    Args:
      values: the command's flags.
    """
    flags.DEFINE_string(
        "memory",
        None,
        "memory limit, such as 2GB: larger pictures are restored in tiles; by default free memory",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "tile", None, "side of the tiles in pixels, in place of --memory", 1, flag_values=values
    )
    flags.DEFINE_boolean("whole", False, "never restore in tiles", flag_values=values)
    flags.DEFINE_boolean(
        "verify_tiles", False, "restore untiled too, print the difference", flag_values=values
    )
    define_seed(values)
    flags.DEFINE_float("strength", 1.0, "mix of restored (1) and input (0)", 0, 1, values)
    flags.DEFINE_boolean(
        "ensemble", False, "mean over 8 flips and rotations: 8 times as slow", flag_values=values
    )


def define_seed(values: flags.FlagValues) -> None:
    """Defines --seed, the seed of a sampler's noise.

    Args:
      values: the command's flags.
    """
    flags.DEFINE_integer("seed", 0, "seed of a sampler's noise", 0, 2**31 - 1, flag_values=values)


def check(values: flags.FlagValues) -> None:
    """Checks --memory.

    Args:
      values: the command's flags.

    Raises:
      UserError: it is not a size.
    """
    if values.memory is not None:
        size_in_bytes(values.memory)


def make(model, values: flags.FlagValues) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that restores a picture's pixels.

    Pixels are (height, width, 3) or (height, width), uint8 or uint16; the restored ones have the
    same type, and the same shape or a multiple of it. The function's attribute `scale` is that
    multiple, `model` the network. Its second argument is a seed in place of --seed; with it, tiles
    are not verified.

    Args:
      model: a `Restorer`, `Chain` or `LiteModel`.
      values: the command's flags.

    Raises:
      UserError: --memory is not a size.
    """
    from restore_tf.inference import restore as inference

    if values.tile is not None:
        for link in getattr(model, "links", ()) or (model,):
            _say_cost(link, values.tile)
    limit = None if values.memory is None else size_in_bytes(values.memory)
    restore = functools.partial(
        inference.restore, model, strength=values.strength, ensemble=values.ensemble
    )
    tiled = functools.partial(restore, memory=limit, tile=values.tile, whole=values.whole)

    def restore_pixels(pixels, seed=None):
        with _Progress() as progress:
            if seed is not None or not values.verify_tiles:
                chosen = values.seed if seed is None else seed
                return tiled(pixels, seed=chosen, progress=progress)
            exact = inference.to_float(pixels)
            pieces = tiled(exact, seed=values.seed, progress=progress)
            whole = restore(exact, seed=values.seed, whole=True)
            _say_difference(pieces, whole)
            return inference.from_float(pieces, pixels.dtype)

    restore_pixels.scale, restore_pixels.model = getattr(model, "output_scale", 1), model
    return restore_pixels


def _say_cost(model, tile):
    """Logs the cost of tiles of this size, and the smallest useful size."""
    if model.size is not None:  # of one fixed size; `inference.memory` refuses the flag
        return
    tiler = model.tiler()
    if tiler is None:
        least = model.blended_tile.smallest
        if tile < least:
            logger.warning(
                "--tile %d: %s sees nothing beyond a tile, so results of small tiles differ from "
                "the whole picture's; the smallest useful value is %d.", tile, model.name, least,
            )  # fmt: skip
        return
    least, side = tiler.smallest, tile // tiler.step * tiler.step
    inner = side - 2 * tiler.margin
    cost = (
        "cannot be restored"
        if inner <= 0
        else f"take {(side / inner) ** 2:.3g} times as long as whole"
    )
    say = logger.warning if tile < least else logger.info
    say(
        "--tile %d: %s needs %d pixels around each tile's result, so larger pictures %s; the "
        "smallest useful value is %d, at %.3g times.",
        tile, model.name, tiler.margin, cost, least, (least / (least - 2 * tiler.margin)) ** 2,
    )  # fmt: skip


def _say_difference(pieces, whole):
    difference = np.abs(pieces - whole)
    logger.info(
        "tiles differ from the whole picture by at most %.3g of 255 levels, %.3g on average",
        255 * difference.max(), 255 * difference.mean(),
    )  # fmt: skip


def size_in_bytes(text: str) -> int:
    """Converts a size to bytes: 2GB, 1.5 GiB, 800MB or a number of bytes.

    Args:
      text: the value of --memory.

    Returns:
      The number of bytes.

    Raises:
      UserError: not a size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?)B?\s*", text.upper())
    if not found or found[2] not in _UNITS:
        raise UserError(f"--memory {text}: expected a size such as 2GB or 800MB.")
    return int(float(found[1]) * _UNITS[found[2]])


class _Progress:
    """A progress bar over the pixels of one picture; it appears with the first tile."""

    def __enter__(self):
        self._bar = None
        return self

    def __call__(self, done, total):
        if self._bar is None:
            # None: only on a terminal.
            self._bar = tqdm(total=total, unit="pixel", unit_scale=True, disable=None, leave=False)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()
