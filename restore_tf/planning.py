"""How much memory a picture takes, and how to cut it up when that is more than there is."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from restore_tf import tiling
from restore_tf.errors import UserError
from restore_tf.images import from_float, to_float

_SHARE_OF_FREE = 0.8  # the rest is for whatever else runs
_OVERLAP = 64  # pixels that blended tiles share
_SMALLEST_BLENDED = 256  # below, what MPRNet pools over says little about the picture
_RETRIES = 3


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a picture is to be restored.

    Attributes:
      tile: side of the tiles in pixels, with their surroundings; None for the whole at once.
      bytes: what is expected to be taken beyond what the process holds already.
    """

    tile: int | None
    bytes: int


def memory_limit(memory: int | None = None) -> int:
    """Returns how many bytes the process may take beyond what it holds now.

    Args:
      memory: bytes for the whole process; by default four fifths of what is free.
    """
    import psutil

    held = psutil.Process().memory_info().rss
    if memory is not None:
        return memory - held
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


def plan(model, batch: np.ndarray, limit: int) -> Plan:
    """Decides on tiles.

    Args:
      model: a `Restorer`; its `bytes_per_pixel` was measured.
      batch: padded images, (batch, height, width, channels).
      limit: bytes that may be taken.

    Raises:
      UserError: not even the smallest tiles fit.
    """
    count, height, width, channels = batch.shape
    pixels = count * height * width
    whole = math.ceil(pixels * model.bytes_per_pixel)
    if whole <= limit:
        return Plan(None, whole)
    if tiling.is_exact(model):
        # The picture, its restored copies and the states of two scales stay in memory.
        kept = pixels * (
            channels * (2 * batch.itemsize + 1.25) + 5 * model.state_bytes_per_pixel / 4
        )
    else:
        kept = pixels * (channels * (2 * batch.itemsize + 4) + 4)
    smallest, step = _grid(model)
    side = math.isqrt(max(0, int((limit - kept) / (count * model.bytes_per_pixel))))
    tile = min(side, max(height, width)) // step * step
    if tile < smallest:
        least = kept + count * smallest**2 * model.bytes_per_pixel
        import psutil

        total = least + psutil.Process().memory_info().rss
        raise UserError(
            f"{width}x{height} pixels: do not fit into memory; {model.name} needs "
            f"{math.ceil(total / 1e8) / 10} GB in all even in its smallest tiles (--memory)."
        )
    return Plan(tile, math.ceil(kept + count * tile**2 * model.bytes_per_pixel))


def run(model, batch, answer, *, memory, tile, note, progress) -> np.ndarray:
    """Restores padded images within the memory there is; of the batch's shape and type.

    Args:
      model: a `Restorer`.
      batch: (batch, height, width, channels), uint8, uint16 or float.
      answer: restores float32 images at once, see `inference.answer`.
      memory, tile, note, progress: as `inference.restore`'s.
    """
    if tile is None:
        chosen = plan(model, batch, memory_limit(memory))
    else:
        whole = max(batch.shape[1:3]) <= tile
        chosen = Plan(None if whole else tile, math.ceil(tile**2 * model.bytes_per_pixel))
    for attempt in range(_RETRIES + 1):
        try:
            return _follow(chosen, model, batch, answer, note, progress)
        except Exception as error:
            if attempt == _RETRIES or not _out_of_memory(error):
                raise
            chosen = _half(chosen, model, batch)
            note(f"it did not fit into memory; trying tiles of {chosen.tile} pixels.")


def _half(chosen, model, batch):
    """The plan with tiles half as large, or the smallest there are."""
    smallest, step = _grid(model)
    side = (chosen.tile or max(batch.shape[1:3])) // 2
    return Plan(max(smallest, side // step * step), chosen.bytes // 4)


def _grid(model):
    """The smallest sensible tile, and what the sides of all must be a multiple of."""
    if not tiling.is_exact(model):
        return _SMALLEST_BLENDED, model.size_multiple
    see = tiling.reach(model.scale_path())
    return 3 * (see.radius + see.alignment) // see.alignment * see.alignment, see.alignment


def _out_of_memory(error):
    names = ("MemoryError", "_ArrayMemoryError", "ResourceExhaustedError", "OutOfMemoryError")
    return type(error).__name__ in names


def _follow(chosen, model, batch, answer, note, progress):
    if chosen.tile is None:
        return from_float(answer(model, to_float(batch)), batch.dtype)
    count, height, width, _ = batch.shape
    total, done = count * height * width, 0
    if tiling.is_exact(model):
        total = sum(total // 4**exponent for exponent in range(model.scales))

    def tell(pixels):
        nonlocal done
        done += pixels
        progress(done, total)

    if tiling.is_exact(model):
        return tiling.restore_scales(model, batch, chosen.tile, tell)
    restored, disagreement = tiling.restore_blended(
        model, batch, chosen.tile, min(_OVERLAP, chosen.tile // 4), answer, tell
    )
    note(
        f"{model.name} looks at the whole picture, and only tiles of {chosen.tile} pixels fit into "
        f"memory: where they overlap they differ by {255 * disagreement:.2f} of 255 levels on "
        "average. --local_attention is steadier; --verify_tiles measures the difference."
    )
    return restored
