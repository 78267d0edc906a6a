"""Which degraded picture belongs to which sharp one: files on disk, paired by name.

Nothing here imports TensorFlow or decodes a picture. Pairs are derived from names, never from the
order in which two folders happen to list their files: one missing file would shift every pair.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from restore_tf.errors import UserError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp")

# The last bytes of a whole file. A download or copy that broke off lacks them, and reading these
# few bytes of every file costs milliseconds, where decoding costs minutes.
_ENDINGS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_TAIL_BYTES = 4096  # some cameras append a few bytes after a JPEG's end marker


class Pair(NamedTuple):
    """A degraded picture and the sharp one it came from.

    name: unique within the split, with `/` for folders, e.g. "GOPR0372_07_00/000047".
    degraded, sharp: paths of the two files.
    """

    name: str
    degraded: Path
    sharp: Path


def existing_folder(path: str | os.PathLike, what: str) -> Path:
    """Returns `path` as a Path, or raises a UserError that says `what` was expected there."""
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected {what}.")
    return folder


def pictures(folder: Path) -> dict[str, Path]:
    """Returns {name without extension: path} of the pictures directly in `folder`, by name.

    Raises:
      UserError: two pictures share a name (`a.png` and `a.jpg`).
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UserError(f"{path}: {found[path.stem].name} has the same name; keep one of them.")
        found[path.stem] = path
    return found


def match(
    degraded: Mapping[str, Path], sharp: Mapping[str, Path], where: str | os.PathLike, prefix=""
) -> list[Pair]:
    """Pairs two sets of files by their keys.

    Args:
      degraded, sharp: {key: path}; equal keys make a pair.
      where: the folder named in an error.
      prefix: put before each key to make the pair's name.

    Raises:
      UserError: a key stands on one side only. Names the file and the side that lacks it.
    """
    for key in sorted(set(degraded) ^ set(sharp)):
        path, side = (degraded[key], "sharp") if key in degraded else (sharp[key], "degraded")
        count = len(set(degraded) ^ set(sharp))
        others = f" ({count} files in {where} lack a partner)" if count > 1 else ""
        raise UserError(f"{path}: no {side} picture of the same name{others}; add or remove one.")
    return [Pair(f"{prefix}{key}", degraded[key], sharp[key]) for key in sorted(degraded)]


def check(pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """Checks cheaply that both pictures of every pair can be read and have one size.

    Reads each file's header and last bytes only, so a truncated file is found, and damage in the
    middle of one is not.

    Returns:
      (height, width) of every pair, in pixels.

    Raises:
      UserError: names the first file that is unreadable, truncated or of another size.
    """
    sizes = []
    for pair in pairs:
        size, partner_size = _picture_size(pair.degraded), _picture_size(pair.sharp)
        if size != partner_size:
            raise UserError(
                f"{pair.degraded}: is {size[1]}x{size[0]} pixels but its sharp picture {pair.sharp}"
                f" is {partner_size[1]}x{partner_size[0]}; the two of a pair must have one size."
            )
        sizes.append(size)
    return sizes


def _picture_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:  # reads the header only
            kind, size = image.format, (image.height, image.width)
        ending = _ENDINGS.get(kind)
        if ending is not None:
            with open(path, "rb") as file:
                file.seek(-min(_TAIL_BYTES, os.path.getsize(path)), os.SEEK_END)
                if ending not in file.read():
                    raise UserError(f"{path}: truncated {kind} file; copy or download it again.")
        return size
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a picture.") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({error}); replace it.") from None


def hold_out(
    pairs: Sequence[Pair],
    sequence_of: Callable[[Pair], str],
    fraction: float = 0.1,
    gap: int = 2,
) -> tuple[list[Pair], list[Pair]]:
    """Splits training pairs into (training, validation) by whole sequences.

    Neighbouring frames of one sequence are nearly the same picture, so a validation split drawn
    frame by frame would measure memory. The last sequences by name are held out, at least one and
    about `fraction` of the sequences. Where there is only one, its last frames are held out, `gap`
    frames before them are used by neither side, and a warning says so.
    """
    groups = [
        list(group)
        for _, group in itertools.groupby(sorted(pairs, key=lambda p: p.name), key=sequence_of)
    ]
    if len(groups) > 1:
        held = max(1, round(fraction * len(groups)))
        return _flat(groups[:-held]), _flat(groups[-held:])
    frames = _flat(groups)
    held = max(1, round(fraction * len(frames)))
    if len(frames) < held + gap + 1:
        raise UserError(f"only {len(frames)} training pairs; at least {held + gap + 1} are needed.")
    warnings.warn(
        f"only one training sequence: its last {held} frames are the validation split, and the "
        f"{gap} before them are left out. Validation on the same scene flatters.",
        stacklevel=2,
    )
    return frames[: -held - gap], frames[-held:]


def _flat(groups: Iterable[Sequence[Pair]]) -> list[Pair]:
    return [pair for group in groups for pair in group]


def check_crop(source, crop: int) -> None:
    """Raises a UserError where a source has no pairs, or one that is smaller than the crop."""
    if not len(source):
        raise UserError("no training pairs.")
    for name, size in zip(source.names, source.sizes or (), strict=False):
        if min(size) < crop:
            raise UserError(
                f"{name}: is {size[1]}x{size[0]} pixels, smaller than the training crop of "
                f"{crop}; leave it out or pass --set crop={min(size) // 16 * 16}."
            )
