"""How much memory a picture takes, and into which tiles it is cut where it does not fit.

Importing this imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.inference import devices
from restore_tf.inference.blended_tiles import restore_blended
from restore_tf.inference.exact_tiles import restore_exact
from restore_tf.pictures.pixels import from_float, to_float
from restore_tf.system.log import logger

_SHARE_OF_FREE = 0.8  # the rest is for other programs
_RETRIES = 3
# Bytes that a process takes by and by beside its pictures and tiles: compiled graphs, and blocks of
# earlier tiles that the C library keeps. A light SRN took 310 million for 6 and for 12 megapixels.
_RETAINED = 320_000_000


@dataclasses.dataclass(frozen=True)
class Settings:
    """A caller's options for tiles; see `restore.restore`.

    Attributes:
      memory: bytes that the process may take in all; None for four fifths of the free memory.
      tile: side of the tiles in pixels; None for one that fits the memory.
      whole: never in tiles.
      seed: of what the network draws at random.
      progress: called with (pixels done, pixels in all).
    """

    memory: int | None = None
    tile: int | None = None
    whole: bool = False
    seed: int = 0
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a picture is to be restored.

    Attributes:
      tile: side of the tiles in pixels, with their surroundings; None for the whole at once.
      bytes: expected memory, beyond what the process holds already.
      forced: whether lack of memory made the tiles smaller than the network prefers.
    """

    tile: int | None
    bytes: int
    forced: bool = False


def memory_limit(memory: int | None = None) -> int:
    """Returns how many bytes the process may take beyond what it holds now.

    Where a GPU computes, this is the GPU's memory.

    Args:
      memory: bytes for the whole process, of which some are left for what it takes beside pictures
        and tiles; None for four fifths of the free memory.
    """
    import psutil

    free = devices.free_on_gpu()
    if free is not None:
        return int(_SHARE_OF_FREE * free) if memory is None else min(memory, free)
    held = psutil.Process().memory_info().rss
    if memory is not None:
        return memory - held - _RETAINED
    free = psutil.virtual_memory().available
    limit = _container_limit()
    return int(_SHARE_OF_FREE * (free if limit is None else min(free, limit - held)))


def _container_limit():
    """The memory limit of a Linux container, which the machine's free memory does not show."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return None


def plan(model, batch: np.ndarray, limit: int, size: tuple[int, int] | None = None) -> Plan:
    """Decides whether images are restored in tiles, and in which.

    Args:
      model: a `Restorer`; its `bytes_per_pixel` was measured.
      batch: padded images, (batch, height, width, channels).
      limit: bytes that may be taken.
      size: (height, width) of the picture before it was padded, for messages.

    Raises:
      UserError: not even the smallest tiles fit.
    """
    count, height, width, _ = batch.shape
    pixels = count * height * width
    largest = max(height, width)
    tiler, blended = model.tiler(), model.blended_tile
    preferred = blended.side if tiler is None else None
    whole = math.ceil(pixels * model.bytes_per_pixel)
    if whole <= limit and (preferred is None or largest <= preferred):
        return Plan(None, whole)
    if tiler is not None:
        smallest, step = tiler.smallest, tiler.step
    else:
        smallest, step = blended.smallest, model.size_multiple
    kept = _kept(model, batch)
    side = math.isqrt(max(0, int((limit - kept) / (count * model.bytes_per_pixel))))
    wished = min(largest, preferred or largest)
    tile = min(side, wished) // step * step
    if tile < min(smallest, wished // step * step):
        least = kept + count * smallest**2 * model.bytes_per_pixel
        raise _too_large(model, size or (height, width), least)
    return Plan(
        tile, math.ceil(kept + count * tile**2 * model.bytes_per_pixel), forced=side < wished
    )


def _kept(model, batch):
    """Bytes that are taken while the tiles are restored, beside those of one tile."""
    *sides, channels = batch.shape
    pixels, enlarged = math.prod(sides), model.output_scale**2
    tiler = model.tiler()
    if tiler is not None:
        return pixels * channels * batch.itemsize * (1 + enlarged) + tiler.bytes_kept(pixels)
    # The picture, the sum of its tiles and that of their weights.
    return pixels * (channels * (batch.itemsize * (1 + enlarged) + 4 * enlarged) + 4 * enlarged)


def _too_large(model, size, least):
    return UserError(
        f"{size[1]}x{size[0]} pixels do not fit into memory; {model.name} needs "
        f"{_gigabytes_in_all(least)} in all even in its smallest tiles (--memory)."
    )


def _gigabytes_in_all(taken):
    import psutil

    held = psutil.Process().memory_info().rss + _RETAINED
    return f"{math.ceil((taken + held) / 1e8) / 10} GB"


def restore_batch(
    model, batch: np.ndarray, size: tuple[int, int], settings: Settings
) -> np.ndarray:
    """Restores padded images, in tiles where memory is short; returns them in the batch's type.

    Args:
      model: a `Restorer` or a `tflite_model.LiteModel`.
      batch: (batch, height, width, channels), uint8, uint16 or float.
      size: (height, width) of the picture before it was padded, for messages.
      settings: `Settings`.

    Raises:
      UserError: options that the model does not take, or too little memory.
    """
    if model.size is not None:
        return _in_fixed_tiles(model, batch, settings)
    chosen = _choose(model, batch, size, settings)
    for attempt in range(_RETRIES + 1):
        try:
            return _follow(chosen, model, batch, settings)
        except Exception as error:
            if not devices.out_of_memory(error):
                raise
            smaller = _half(chosen, model, batch)
            if settings.whole or attempt == _RETRIES or smaller.tile == chosen.tile:
                raise UserError(
                    f"{size[1]}x{size[0]} pixels: out of memory"
                    + (" as a whole." if settings.whole else " even in the smallest tiles.")
                ) from None
            chosen = smaller
            logger.warning("It did not fit into memory; trying tiles of %d pixels.", chosen.tile)
    raise AssertionError("unreachable")


def _choose(model, batch, size, settings):
    if settings.whole:
        return Plan(None, math.ceil(math.prod(batch.shape[:3]) * model.bytes_per_pixel))
    if settings.tile is None:
        return plan(model, batch, memory_limit(settings.memory), size)
    count, *sides, _ = batch.shape
    whole = max(sides) <= settings.tile
    pixels = math.prod(sides) if whole else settings.tile**2
    taken = math.ceil(count * pixels * model.bytes_per_pixel)
    taken += 0 if whole else _kept(model, batch)
    if settings.memory is not None and taken > memory_limit(settings.memory):
        raise UserError(
            f"tiles of {settings.tile} pixels: {model.name} needs {_gigabytes_in_all(taken)} in "
            "all for them; make them smaller, or leave --tile or --memory out."
        )
    return Plan(None if whole else settings.tile, taken)


def _half(chosen, model, batch):
    """The plan with tiles half as large, or the smallest there are."""
    tiler = model.tiler()
    smallest = model.blended_tile.smallest if tiler is None else tiler.smallest
    step = model.size_multiple if tiler is None else tiler.step
    side = (chosen.tile or max(batch.shape[1:3])) // 2
    return Plan(max(smallest, side // step * step), chosen.bytes // 4, forced=True)


def _follow(chosen, model, batch, settings):
    if chosen.tile is None:
        return from_float(model.restore_padded(to_float(batch), settings.seed), batch.dtype)
    pixels = math.prod(batch.shape[:3])
    tiler = model.tiler()
    if tiler is not None:
        report = _counted(settings.progress, tiler.work(pixels))
        return restore_exact(model, batch, chosen.tile, report, settings.seed)
    step = model.size_multiple
    tile = max(step, chosen.tile // step * step)
    overlap = min(model.blended_tile.overlap, tile // 4)
    report = _counted(settings.progress, pixels)
    restored, disagreement = restore_blended(
        model,
        batch,
        (tile, tile),
        (overlap, overlap),
        report,
        settings.seed,
        model.blended_tile.step,
    )
    if (chosen.forced or settings.tile is not None) and tile != model.blended_tile.side:
        logger.warning(
            "%s cannot be tiled exactly, and %s: %s. --verify_tiles measures the difference%s.",
            model.name,
            f"only tiles of {tile} pixels fit into memory"
            if chosen.forced
            else f"is restored in tiles of {tile} pixels (--tile)",
            _described(disagreement),
            model.blended_tile.advice and f"; {model.blended_tile.advice}",
        )
    return restored


def _in_fixed_tiles(model, batch, settings):
    """With a file that takes one size alone."""
    if settings.tile is not None or settings.memory is not None or settings.whole:
        raise UserError(
            f"{model.name}: takes {model.size[1]}x{model.size[0]} pixels at a time, whatever the "
            "memory; leave --memory, --tile and --whole out."
        )
    report = _counted(settings.progress, math.prod(batch.shape[:3]))
    restored, disagreement = restore_blended(
        model, batch, model.size, model.overlap, report, step=model.blended_tile.step
    )
    if batch.shape[1:3] != model.size:
        logger.warning(
            "%s restores %dx%d pixels at a time and sees nothing beyond them: %s.",
            model.name,
            model.size[1],
            model.size[0],
            _described(disagreement),
        )
    return restored


def _described(disagreement):
    levels = f"{255 * disagreement:.2f} of 255 levels"
    return f"where its tiles overlap they differ by {levels} on average"


def _counted(progress, total):
    """Turns (pixels done, pixels in all) into what tiles report: pixels more."""
    done = 0

    def report(pixels):
        nonlocal done
        done += pixels
        progress(done, total)

    return report
