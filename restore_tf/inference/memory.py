"""How much memory a picture takes, and how to cut it up when that is more than there is.

Importing this imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.inference import blended_tiles
from restore_tf.pictures.pixels import from_float, to_float

_SHARE_OF_FREE = 0.8  # the rest is for whatever else runs
_OVERLAP = 64  # pixels that blended tiles share
_SMALLEST_BLENDED = 256  # below, what MPRNet pools over says little about the picture
# Of a file's fixed tile. What a tile misses is beyond its border, so more overlap is better and
# slower: 256x256 tiles of SRN come within 47, 50, 51.6, 52.2 dB of a whole GoPro frame with a
# sixteenth, an eighth, a quarter, three eighths, in 18, 24, 28, 32 tiles.
_OVERLAP_OF_FIXED = 1 / 4
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


def is_exact(model) -> bool:
    """Returns whether tiles of this network give the numbers of the whole picture."""
    return hasattr(model, "scale_path")


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
    if is_exact(model):
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
      answer: restores float32 images at once, see `restore.answer`.
      memory, tile, note, progress: as `restore.restore`'s.
    """
    if model.size is not None:
        if tile is not None or memory is not None:
            raise UserError(
                f"{model.name}: takes {model.size[1]}x{model.size[0]} pixels at a time, whatever "
                "the memory; leave --memory and --tile out."
            )
        return _in_fixed_tiles(model, batch, answer, note, progress)
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
    if not is_exact(model):
        return _SMALLEST_BLENDED, model.size_multiple
    from restore_tf.inference import exact_tiles

    see = exact_tiles.reach(model.scale_path())
    return 3 * (see.radius + see.alignment) // see.alignment * see.alignment, see.alignment


def _out_of_memory(error):
    names = ("MemoryError", "_ArrayMemoryError", "ResourceExhaustedError", "OutOfMemoryError")
    return type(error).__name__ in names


def _follow(chosen, model, batch, answer, note, progress):
    if chosen.tile is None:
        return from_float(answer(model, to_float(batch)), batch.dtype)
    pixels = math.prod(batch.shape[:3])
    if is_exact(model):
        from restore_tf.inference import exact_tiles

        pixels = sum(pixels // 4**exponent for exponent in range(model.scales))
        tell = _counted(progress, pixels)
        return exact_tiles.restore_scales(model, batch, chosen.tile, tell)
    tile = max(model.size_multiple, chosen.tile // model.size_multiple * model.size_multiple)
    overlap = min(_OVERLAP, tile // 4)
    restored, disagreement = blended_tiles.restore_blended(
        model, batch, (tile, tile), (overlap, overlap), answer, _counted(progress, pixels)
    )
    note(
        f"{model.name} cannot be tiled exactly, and only tiles of {tile} pixels fit into memory: "
        f"{_told(disagreement)}. --verify_tiles measures the difference; MPRNet's "
        "--local_attention is steadier."
    )
    return restored


def _in_fixed_tiles(model, batch, answer, note, progress):
    """With a file that takes one size alone."""
    overlap = tuple(int(_OVERLAP_OF_FIXED * side) for side in model.size)
    tell = _counted(progress, math.prod(batch.shape[:3]))
    restored, disagreement = blended_tiles.restore_blended(
        model, batch, model.size, overlap, answer, tell
    )
    if batch.shape[1:3] != model.size:
        note(
            f"{model.name} restores {model.size[1]}x{model.size[0]} pixels at a time and sees "
            f"nothing beyond them: {_told(disagreement)}."
        )
    return restored


def _told(disagreement):
    levels = f"{255 * disagreement:.2f} of 255 levels"
    return f"where its tiles overlap they differ by {levels} on average"


def _counted(progress, total):
    """Turns (pixels done, pixels in all) into what tiles tell: pixels more."""
    done = 0

    def tell(pixels):
        nonlocal done
        done += pixels
        progress(done, total)

    return tell
