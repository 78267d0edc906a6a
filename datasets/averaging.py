"""(Degraded, sharp) training pairs from sharp high-frame-rate video, by averaging frames.

As GoPro was made (Nah et al. 2017): a shutter that stays open while the camera films
7 to 13 frames at 240 frames a second collects the sum of their light. The degraded picture is the
average of consecutive frames, the sharp one is the middle frame. In: uint8 sRGB frames from a
folder, a folder of such folders, or a video. Out: the published layout, which the GoPro reader and
`train.py` take as it is:

    output_dir/train/<sequence>/{blur or blur_gamma}/NNNNNN.png
    output_dir/train/<sequence>/sharp/NNNNNN.png

Which average belongs to which published folder. The authors' README calls the two kinds of blurry
picture "gamma corrected and not corrected (linear CRF)". CRF is the camera's response curve, from
light to stored value. The authors' answers in the issues of DeepDeblur_release settle the rest:

- `encoded` -> `blur`. "Linear CRF" means that stored values are taken for light and averaged as
  they are: (img1 + img2) / 2 (issues 13 and 60). The pictures agree: over 10 pairs of
  GOPR0372_07_00 the mean value of blur/ and sharp/ differs by 0.05, as such an average leaves it;
  averaging light would raise it by about 2.7. SRN's list of training files names this folder, and
  MPRNet and most later papers use it. It darkens moving highlights, which no camera does.
- `gamma` -> `blur_gamma`. The paper's own choice: x^2.2 takes a value to light, light is averaged,
  and x^(1/2.2) takes it back (issues 13 and 60).
- `linear` -> `blur_gamma` as well, because it is the same idea with the exact sRGB curve of
  IEC 61966-2-1 in place of the power 2.2. No published folder holds it. The two differ by at
  most a few gray levels.

Different from the published set: there one number of frames holds for a whole sequence (7 in
GOPR0372_07_00, issue 59); here each pair draws its own. Its files differ from one's own averages
of GOPRO_Large_all by about a gray level (issue 65), so no mode reproduces them bit for bit.
"""

from __future__ import annotations

import collections
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from restore_tf.datasets.frames import Frame, FrameSequence, find_sequences
from restore_tf.datasets.pairing import pictures
from restore_tf.errors import UserError
from restore_tf.pictures.files import write_picture
from restore_tf.system.folders import make

# Folder of the published layout that each mode writes; the module's docstring says why.
FOLDERS = {"linear": "blur_gamma", "gamma": "blur_gamma", "encoded": "blur"}
MODES = tuple(FOLDERS)


def average(frames: Iterable[np.ndarray], mode: str = "linear") -> np.ndarray:
    """Averages frames as a long exposure would have, as far as `mode` models it.

    Args:
      frames: uint8 sRGB frames (height, width, 3), all of one size. Read one at a time; none is
        kept.
      mode: "linear": average of light, by the sRGB curve of IEC 61966-2-1. "gamma": average of
        light, by the gamma of 2.2 of Nah et al. 2017. "encoded": average of the stored values.

    Returns:
      uint8 (height, width, 3), rounded to the nearest value, halves upwards.

    Raises:
      UserError: no frame, a frame of another type or size, an unknown mode.
    """
    light, to_value = _curve(mode)
    total, count = None, 0
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise UserError(
                f"frame {count} has shape {frame.shape} and type {frame.dtype}; expected uint8 "
                "(height, width, 3)."
            )
        if total is None:
            total = np.zeros(frame.shape, np.float32)
        if frame.shape != total.shape:
            raise UserError(
                f"frame {count} has shape {frame.shape}, the frames before it {total.shape}; "
                "average frames of one size."
            )
        total += light[frame]
        count += 1
    if total is None:
        raise UserError("no frames to average; expected at least one.")
    return np.floor(to_value(total / count) + 0.5).astype(np.uint8)


def make_pairs(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    output_dir: str | os.PathLike,
    window: int | tuple[int, int] = (7, 13),
    stride: int | None = None,
    mode: str = "linear",
    seed: int = 0,
    limit: int | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> dict[str, int]:
    """Writes (degraded, sharp) pairs in GoPro's layout; see the top of this file.

    Streams: no more than the largest window's frames are in memory. A pair is named after its
    middle frame: the number in the file's name, or the position in the video, counted from 0.
    Frames left over at the end, too few for the window drawn, are dropped.

    Args:
      source: one or several of: a folder of frames, read in the order of the last number in their
        names; a folder of such folders, or of videos, each a sequence; a video. It is named after
        its folder or file. In a folder that holds frames, sub-folders are not looked at.
      output_dir: made if missing.
      window: how many frames a degraded picture averages: an odd number, or (smallest, largest),
        both odd, of which each pair draws an odd number, all equally likely.
      stride: frames from the start of one window to the start of the next. None: each window
        starts where the one before it ended.
      mode: one of MODES; also decides the degraded pictures' folder.
      seed: of the drawn windows. A sequence's draws depend on the seed and its name only.
      limit: at most this many pairs of each sequence.
      overwrite: replace pictures of the same name. Pictures of other names stay.
      resume: leave pairs of which both files exist. Give the settings of the interrupted run; with
        another mode, blur and blur_gamma come to stand beside the same sharp pictures.

    Returns:
      {sequence: number of its pairs, written or found}.

    Raises:
      UserError: no frames, too few, of different sizes, unreadable, without a number; two
        sequences of one name; pictures in the way; PyAV missing; a bad argument.
    """
    smallest, largest = _window_range(window)
    _check_arguments(smallest, largest, stride, mode, limit)
    if overwrite and resume:
        raise UserError("overwrite and resume: choose one; the first replaces, the second keeps.")
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    sequences = find_sequences(sources)
    train = Path(output_dir) / "train"
    if not overwrite and not resume:
        for sequence in sequences:
            _refuse_existing(train / sequence.name / FOLDERS[mode])
            _refuse_existing(train / sequence.name / "sharp")
    counts = {}
    for sequence in sequences:
        windows = _windows(sequence, _sizes(smallest, largest, f"{seed} {sequence.name}"), stride)
        counts[sequence.name] = _write_sequence(
            itertools.islice(windows, limit), train / sequence.name, mode, resume
        )
    return counts


def _curve(mode: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Returns the light of each value 0 to 255 as a table, and the way back from light to value.

    Light is in [0, 1], except for `encoded`, where it is the value itself: sums and halves of
    whole numbers are exact.
    """
    values = np.arange(256)
    if mode == "linear":
        light, to_value = _srgb_to_light(values / 255), lambda y: 255 * _light_to_srgb(y)
    elif mode == "gamma":
        light, to_value = (values / 255) ** 2.2, lambda y: 255 * y ** (1 / 2.2)
    elif mode == "encoded":
        light, to_value = values, lambda y: y
    else:
        raise UserError(f"mode {mode!r}: expected one of {', '.join(MODES)}.")
    return light.astype(np.float32), to_value


def _srgb_to_light(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _light_to_srgb(y: np.ndarray) -> np.ndarray:
    return np.where(y <= 0.0031308, 12.92 * y, 1.055 * y ** (1 / 2.4) - 0.055)


def _window_range(window: int | Sequence[int]) -> tuple[int, int]:
    smallest, largest = (window, window) if isinstance(window, int) else window
    if not 1 <= smallest <= largest or smallest % 2 == 0 or largest % 2 == 0:
        raise UserError(
            f"window {window}: expected an odd number of frames, or two as (smallest, largest); "
            "only an odd number has a middle frame."
        )
    return smallest, largest


def _check_arguments(
    smallest: int, largest: int, stride: int | None, mode: str, limit: int | None
) -> None:
    _curve(mode)
    for name, value in (("stride", stride), ("limit", limit)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: expected 1 or more, or nothing.")
    # The middle frame lies (size - 1) / 2 after the start, so a smaller window can step back.
    least = (largest - smallest) // 2 + 1
    if stride is not None and stride < least:
        raise UserError(
            f"stride {stride}: windows of {smallest} to {largest} frames need {least} or more, or "
            "two pairs could have the same middle frame."
        )


def _refuse_existing(folder: Path) -> None:
    if folder.is_dir() and (present := pictures(folder)):
        raise UserError(
            f"{next(iter(present.values()))}: already exists; overwrite it, resume, or choose "
            "another output folder."
        )


def _sizes(smallest: int, largest: int, seed: str) -> Iterator[int]:
    generator = random.Random(seed)
    while True:
        yield generator.randrange(smallest, largest + 1, 2)


def _windows(
    sequence: FrameSequence, sizes: Iterator[int], stride: int | None
) -> Iterator[list[Frame]]:
    """Yields lists of consecutive frames, each as long as the next of `sizes`."""
    frames = sequence.frames()
    waiting: collections.deque[Frame] = collections.deque()
    for index, size in enumerate(sizes):
        waiting.extend(itertools.islice(frames, max(0, size - len(waiting))))
        if len(waiting) < size:
            if index == 0:
                raise UserError(
                    f"{sequence.source}: only {len(waiting)} frames, the first window needs "
                    f"{size}; give a smaller window or more frames."
                )
            return
        yield list(itertools.islice(waiting, size))
        for _ in range(stride or size):
            if waiting:
                waiting.popleft()
            else:  # the stride reaches beyond the window
                next(frames, None)


def _write_sequence(windows: Iterable[list[Frame]], folder: Path, mode: str, resume: bool) -> int:
    """Writes a pair for each window of one sequence; returns how many there are."""
    count, shape = 0, None
    for side in (FOLDERS[mode], "sharp"):
        make(folder / side)
    with tqdm(desc=folder.name, unit=" pairs", leave=False, disable=None) as progress:
        for window in windows:
            middle = window[len(window) // 2]
            degraded, sharp = (
                folder / side / f"{middle.number:06d}.png" for side in (FOLDERS[mode], "sharp")
            )
            if not (resume and degraded.exists() and sharp.exists()):
                shape = _one_shape(window, shape)
                write_picture(degraded, average((frame.pixels() for frame in window), mode))
                write_picture(sharp, middle.pixels())
            # The next window is read while these names still hold this one; memory would double.
            del window, middle
            count += 1
            progress.update()
    return count


def _one_shape(window: Sequence[Frame], shape: tuple | None) -> tuple:
    """Returns the shape of all of a window's frames, which is also `shape` unless that is None."""
    shape = shape or window[0].pixels().shape
    for frame in window:
        height, width, _ = frame.pixels().shape
        if (height, width) != shape[:2]:
            raise UserError(
                f"{frame.origin}: is {width}x{height} pixels, the frames before it are "
                f"{shape[1]}x{shape[0]}; all frames of a sequence must have one size."
            )
    return shape
