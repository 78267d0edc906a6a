"""Pairs degraded and sharp picture files by name.

Imports no TensorFlow and decodes no picture. Pairs are derived from names, never from the order in
which two folders list their files: one missing file would shift every pair.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from restore_tf.datasets import headers
from restore_tf.errors import UserError
from restore_tf.pictures.kinds import describe_left_out, is_picture
from restore_tf.system.folders import walk
from restore_tf.system.log import logger


class Pair(NamedTuple):
    """A degraded picture and the sharp one it came from.

    Attributes:
      name: unique within the split, with `/` for folders, e.g. "GOPR0372_07_00/000047".
      degraded: the degraded picture's file.
      sharp: the sharp picture's file.
    """

    name: str
    degraded: Path
    sharp: Path


def existing_folder(path: str | os.PathLike, what: str) -> Path:
    """Returns a folder's path.

    Args:
      path: the folder.
      what: what it holds, for the error.

    Raises:
      UserError: there is no such folder.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected {what}.")
    return folder


def check_choice(
    name: str, config: str, configs: Sequence[str], split: str, splits: Sequence[str]
) -> None:
    """Checks a configuration and a split.

    Args:
      name: the data set, for the error.
      config: the chosen configuration.
      configs: the set's.
      split: the chosen split.
      splits: the set's.

    Raises:
      UserError: the set does not have them; lists what it has.
    """
    for what, value, known in (("config", config, configs), ("split", split, splits)):
        if value not in known:
            raise UserError(f"{name} has no {what} {value!r}; use one of: {', '.join(known)}.")


def pictures(folder: str | os.PathLike) -> dict[str, Path]:
    """Returns {name without extension: path} of the pictures directly in a folder, by name.

    A warning counts and names files that are no pictures, by their endings.

    Args:
      folder: the folder.

    Raises:
      UserError: two pictures share a name (`a.png` and `a.jpg`), or the folder cannot be listed.
    """
    return _named(folder, recursive=False)


def pictures_below(folder: str | os.PathLike) -> dict[str, Path]:
    """Returns {path without extension, relative to `folder`: path} of all pictures below it.

    Links to folders are followed, see `walk`. Otherwise as `pictures`.

    Args:
      folder: the folder.

    Raises:
      UserError: as `pictures`.
    """
    return _named(folder, recursive=True)


def _named(folder, recursive):
    found: dict[str, Path] = {}
    left_out = []
    for place, files in walk(folder, recursive):
        for path in files:
            if not is_picture(path):
                left_out.append(path)
                continue
            key = (place / path.stem).as_posix()
            if key in found:
                raise UserError(f"{path}: {found[key].name} has the same name; keep one of them.")
            found[key] = path
    if left_out:
        logger.warning("%s: %s.", folder, describe_left_out(left_out))
    return found


def match(
    degraded: Mapping[str, Path], sharp: Mapping[str, Path], where: str | os.PathLike, prefix=""
) -> list[Pair]:
    """Pairs two sets of files by their keys.

    Args:
      degraded: {key: path}.
      sharp: {key: path}; equal keys make a pair.
      where: the folder named in an error.
      prefix: put before each key to make the pair's name.

    Raises:
      UserError: a key is on one side only. Names the file and the side that lacks it.
    """
    for key in sorted(set(degraded) ^ set(sharp)):
        path, side = (degraded[key], "sharp") if key in degraded else (sharp[key], "degraded")
        count = len(set(degraded) ^ set(sharp))
        others = f" ({count} files in {where} lack a partner)" if count > 1 else ""
        raise UserError(f"{path}: no {side} picture of the same name{others}; add or remove one.")
    return [Pair(f"{prefix}{key}", degraded[key], sharp[key]) for key in sorted(degraded)]


def scale_of(pairs: Sequence[Pair]) -> int:
    """Returns how many times larger the sharp picture of the first pair is; 1 if it is no multiple.

    Args:
      pairs: the files; for none of them, 1 is returned.

    Raises:
      UserError: a file of the first pair cannot be read.
    """
    for _, degraded, sharp in pairs[:1]:
        (height, width), size = (headers.check_file(path).size for path in (degraded, sharp))
        scale = size[0] // height
        return scale if scale > 0 and size == (scale * height, scale * width) else 1
    return 1


def check(pairs: Sequence[Pair], output_scale: int = 1) -> list[tuple[int, int]]:
    """Checks without decoding that both pictures of every pair are complete and their sizes fit.

    Sizes are those of the pictures turned upright by their EXIF. Reads each file's header and last
    bytes only, so a truncated file is found, and damage in the middle of one is not. A warning
    counts the pictures of 16 bits a channel, of which only 8 are read.

    Args:
      pairs: the files.
      output_scale: how many times larger than the degraded pictures the sharp ones are.

    Returns:
      (height, width) of every degraded picture, in pixels.

    Raises:
      UserError: names the first file that is unreadable, truncated or of another size.
    """
    sizes, deep = [], []
    for _, degraded, sharp in pairs:
        found = [headers.check_file(path) for path in (degraded, sharp)]
        check_sizes(degraded, found[0].size, sharp, found[1].size, output_scale)
        sizes.append(found[0].size)
        deep += [path for path, header in zip((degraded, sharp), found, strict=True) if header.deep]
    if deep:
        logger.warning(
            "%d pictures have 16 bits a channel, such as %s; rounded to 8.", len(deep), deep[0]
        )
    return sizes


def check_sizes(
    degraded: str | os.PathLike,
    size: tuple[int, int],
    sharp: str | os.PathLike,
    sharp_size: tuple[int, int],
    output_scale: int = 1,
) -> None:
    """Checks that the sizes of a pair's pictures fit.

    Args:
      degraded: the degraded picture's name in the error.
      size: its (height, width), upright, in pixels.
      sharp: the sharp picture's name in the error; can be "".
      sharp_size: its (height, width), upright, in pixels.
      output_scale: how many times larger the sharp one must be.

    Raises:
      UserError: the sizes do not fit.
    """
    if tuple(output_scale * side for side in size) == tuple(sharp_size):
        return
    expected = "the two of a pair must have one size"
    if output_scale != 1:
        expected = f"expected {output_scale * size[1]}x{output_scale * size[0]}"
    raise UserError(
        f"{degraded}: is {size[1]}x{size[0]} pixels upright, but its sharp picture{sharp and ' '}"
        f"{sharp} is {sharp_size[1]}x{sharp_size[0]}; {expected}."
    )


def hold_out(
    pairs: Sequence[Pair],
    sequence_of: Callable[[Pair], str],
    fraction: float = 0.1,
    gap: int = 2,
) -> tuple[list[Pair], list[Pair]]:
    """Splits training pairs into (training, validation) by whole sequences.

    Neighbouring frames of one sequence are nearly the same picture, so a validation split drawn
    frame by frame would measure memorisation. The last sequences by name are held out. Where there
    is only one, its last frames are held out, with a warning.

    Args:
      pairs: of the training.
      sequence_of: returns a pair's sequence.
      fraction: the share of the sequences to hold out, about; at least one is.
      gap: frames before the held-out ones of a single sequence that neither side uses.

    Raises:
      UserError: one sequence with too few frames.
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
        raise UserError(f"training pairs: {len(frames)}; at least {held + gap + 1} are needed.")
    frames_are, them = (f"{held} frames are", "them") if held > 1 else ("frame is", "it")
    logger.warning(
        "only one training sequence: its last %s the validation split, and the %d before %s are "
        "left out. Validation on the same scene flatters.",
        frames_are,
        gap,
        them,
    )
    return frames[: -held - gap], frames[-held:]


def training_split(pairs: Sequence[Pair], split: str) -> list[Pair]:
    """Returns the "train" or "validation" part of training pairs, see `hold_out`.

    Args:
      pairs: of the training; a pair's sequence is the folder in its name.
      split: "train" or "validation".
    """
    training, validation = hold_out(pairs, lambda pair: pair.name.rpartition("/")[0])
    return training if split == "train" else validation


def _flat(groups: Iterable[Sequence[Pair]]) -> list[Pair]:
    return [pair for group in groups for pair in group]


def check_crop(source, crop: int, size_multiple: int | None = None, field: str = "crop") -> None:
    """Checks that a training can cut its crops from every pair, as far as sizes are known.

    Args:
      source: pairs, see `sources`.
      crop: side of the square crops, in pixels.
      size_multiple: the multiple of which the network takes crops; None where it is not known yet:
        the error then advises no other crop.
      field: the experiment's field with the crop: "crop" or "progressive".

    Raises:
      UserError: no pairs, a crop that the network does not take, or a picture that is smaller (the
        smallest is named).
    """
    if not len(source):
        raise UserError("no training pairs.")
    multiple = size_multiple or 1
    if crop < 1 or crop % multiple:
        nearest = max(1, round(crop / multiple)) * multiple
        expected = "1 or more" if multiple == 1 else f"a multiple of {multiple} for this network"
        advice = f"; {_setting(field, nearest)}" if size_multiple else ""
        raise UserError(f"crop {crop}: expected {expected}{advice}.")
    sizes = dict(zip(source.names, source.sizes or (), strict=False))
    smallest = min(sizes, key=lambda name: min(sizes[name]), default=None)
    if smallest is None or min(sizes[smallest]) >= crop:
        return
    height, width = sizes[smallest]
    fitting = min(height, width) // multiple * multiple
    if not size_multiple:
        advice = "leave it out or choose a smaller crop"
    elif fitting:
        advice = f"leave it out or {_setting(field, fitting)}"
    else:
        advice = f"leave it out: {multiple} pixels are the least that the network takes"
    raise UserError(
        f"{smallest}: is {width}x{height} pixels, smaller than the training crop of {crop}; "
        f"{advice}."
    )


def _setting(field, crop):
    return f"pass --set crop={crop}" if field == "crop" else f"change {field}: crops of {crop} fit"
