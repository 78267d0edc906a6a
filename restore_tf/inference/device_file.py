"""What files for devices share: NAME.json beside them, and how a picture is cut up for them.

`restore_tf.restore` takes a `DeviceFile` in place of a `Restorer`. A file of a fixed size restores
larger pictures in tiles of that size, see `blended_tiles`. Imports no TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError
from restore_tf.networks.tiler import BlendedTile

METADATA_FORMAT = 1
_PADDINGS = ("edge", "reflect")
_BYTES_PER_PIXEL = 7000.0  # SRN's in LiteRT in float32, for files without this number


class DeviceFile:
    """A file that restores images; subclasses load and run it.

    Attributes:
      name: the file's name without its ending.
      kind: number format that it computes in; "unknown" without NAME.json.
      channels: image channels, 3 or 1.
      size: the (height, width) in pixels that it takes, None for any.
      size_multiple: of a file for any size, what height and width must be multiples of.
      padding: how pictures are padded at the bottom and right, "edge" or "reflect".
      output_scale: the restored image is so many times as high and as wide.
      colour: how colours pass through one channel, see `Restorer`.
      bytes_per_pixel: memory that it takes, per pixel of what it is run on.
      blended_tile: where tiles may begin; how they are cut, of a file for any size.
      metadata: content of NAME.json; empty without it.
    """

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, Any],
        given: tuple[int | None, int | None, int],
        restored_height: int,
    ):
        """Notes what a file and its metadata say.

        Args:
          path: the file.
          metadata: of `read_metadata`.
          given: (height, width, channels) of the input; height or width None for any size.
          restored_height: of the output, in pixels; of a file of fixed size.

        Raises:
          UserError: a file for any size without metadata.
        """
        height, width, self.channels = given
        self.metadata = metadata
        self.name = path.stem
        self.kind = str(metadata.get("kind", "unknown"))
        self.size = None if height is None or width is None else (height, width)
        if self.size is None and not metadata:
            raise UserError(
                f"{path.with_suffix('.json')}: no such file; a file for any size needs it beside "
                f"{path.name}, it says which sizes the network takes."
            )
        self.size_multiple = metadata.get("size_multiple", 1)
        self.padding = metadata.get("padding", "edge")
        # A file of fixed size says how much it enlarges by itself.
        enlarges = max(1, restored_height) // self.size[0] if self.size else 1
        self.output_scale = metadata.get("output_scale", enlarges)
        self.colour = metadata.get("colour", "planes" if self.channels == 1 else "rgb")
        self.bytes_per_pixel = metadata.get("bytes_per_pixel", _BYTES_PER_PIXEL)
        self.blended_tile = BlendedTile(step=metadata.get("tile_step"))

    @property
    def overlap(self) -> tuple[int, int]:
        """How many rows and columns neighbouring tiles share at least, of a file of fixed size."""
        # What a tile misses is beyond its border, so more overlap is better and slower: 256x256
        # tiles of SRN come within 47, 50, 51.6, 52.2 dB of a whole GoPro frame with a sixteenth,
        # an eighth, a quarter, three eighths, in 18, 24, 28, 32 tiles.
        height, width = self.size or (0, 0)
        return height // 4, width // 4

    def tiler(self) -> None:
        """Returns None: a file does not say how far its network sees."""


def read_metadata(parts: list[Path]) -> Mapping[str, Any]:
    """Reads NAME.json, after a look whether it belongs to the file; {} where there is none.

    Args:
      parts: the files that are one network together, first of the one that is opened.

    Raises:
      UserError: no such file, damaged metadata, or those of another file.
    """
    path, *others = parts
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected one that export.py writes.")
    for other in others:
        if not other.is_file():
            raise UserError(f"{other}: no such file; {path.name} needs it beside it.")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        usable = (
            found["format"] == METADATA_FORMAT
            and isinstance(found["sha256"], str)
            and isinstance(found["size_multiple"], int)
            and 1 <= found["size_multiple"] <= 4096
            and found["padding"] in _PADDINGS
            and (found.get("tile_step") is None or found["tile_step"] in range(1, 4097))
            and float(found.get("bytes_per_pixel", 1)) > 0
            and found.get("output_scale", 1) in range(1, 17)
            and found.get("colour", "rgb") in ("rgb", "planes", "luminance")
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        usable = False
    if not usable:
        raise UserError(f"{beside}: damaged, or written by another version; export it again.")
    if digest(parts) != found["sha256"]:
        raise UserError(f"{path}: is not the file that {beside.name} describes; export it again.")
    return found


def digest(parts: Iterable[Path]) -> str:
    """Returns the SHA-256 of files' bytes, one after the other, in hexadecimal digits.

    Args:
      parts: the files.
    """
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.read_bytes())
    return whole.hexdigest()


def cores() -> int:
    """Returns how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_line_of(error: BaseException) -> str:
    """Returns the first line of an error that is not empty.

    Args:
      error: a runtime's.
    """
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
