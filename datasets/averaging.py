"""(Blurry, sharp) training pairs from sharp high-frame-rate video, by averaging frames.

As GoPro was made (Nah et al. 2017): a shutter that stays open while the camera films
7 to 13 frames at 240 frames a second collects the sum of their light. The blurry picture is the
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
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from restore_tf.datasets.pairing import EXTENSIONS, pictures
from restore_tf.errors import UserError
from restore_tf.pictures.files import read_rgb, write_picture
from restore_tf.system import outputs
from restore_tf.system.log import logger
from restore_tf.video import clip as video_clip

# Folder of the published layout that each mode writes; the module's docstring says why.
FOLDERS = {"linear": "blur_gamma", "gamma": "blur_gamma", "encoded": "blur"}
MODES = tuple(FOLDERS)

# Below this, a hand-held camera moves several pixels between frames and an average shows copies
# of an edge instead of a smear. GoPro: 240.
_SMOOTH_FRAME_RATE = 100


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
    """Writes (blurry, sharp) pairs in GoPro's layout; see the top of this file.

    A sequence that cannot be read to its end is named in a warning and keeps the pairs it has; the
    others are made.

    Streams: no more than the largest window's frames are in memory. A pair is named after its
    middle frame: the number in the file's name, or the position in the video, counted from 0.
    Frames left over at the end, too few for the window drawn, are dropped.

    Args:
      source: one or several of: a folder of frames, read in the order of the last number in their
        names; a folder of such folders, each a sequence; a video file. A sequence is named after
        its folder or file. In a folder that holds frames, sub-folders are not looked at.
      output_dir: made if missing.
      window: how many frames a blurry picture averages: an odd number, or (smallest, largest),
        both odd, of which each pair draws an odd number, all equally likely.
      stride: frames from the start of one window to the start of the next. None: each window
        starts where the one before it ended.
      mode: one of MODES; also decides the blurry pictures' folder.
      seed: of the drawn windows. A sequence's draws depend on the seed and its name only.
      limit: at most this many pairs of each sequence.
      overwrite: replace pictures of the same name that an earlier call wrote, as the folder's
        record says. Others stay; of the same name they are an error.
      resume: leave pictures that exist. Give the settings of the interrupted run; with
        another mode, blur and blur_gamma come to stand beside the same sharp pictures.

    Returns:
      {sequence: number of its pairs, written or found}.

    Raises:
      UserError: no frames, too few, of different sizes, unreadable, without a number; two
        sequences of one name; pictures in the way; PyAV missing; a bad argument.
      SomeFailed: one of these, for some of several sequences; raised when the others are done.
    """
    smallest, largest = _window_range(window)
    _check_arguments(smallest, largest, stride, mode, limit)
    if overwrite and resume:
        raise UserError("overwrite and resume: choose one; the first replaces, the second keeps.")
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    sequences = _find_sequences(sources)
    train = Path(output_dir) / "train"
    if not overwrite and not resume:
        for sequence in sequences:
            _refuse_existing(train / sequence.name / FOLDERS[mode])
            _refuse_existing(train / sequence.name / "sharp")
    outputs.check_folder(output_dir)
    counts, failed = {}, {}
    for sequence in sequences:
        windows = _windows(sequence, _sizes(smallest, largest, f"{seed} {sequence.name}"), stride)
        writer = _PairWriter(Path(output_dir), sequence.name, mode, resume)
        try:
            counts[sequence.name] = writer.write(itertools.islice(windows, limit))
        except UserError as error:
            if len(sequences) == 1:
                raise
            logger.warning("%s: not averaged to its end (%s)", sequence.name, error)
            failed[sequence.name] = error
    if failed:
        names = ", ".join(failed)
        raise SomeFailed(f"{len(failed)} of {len(sequences)} sequences failed: {names}.", counts)
    return counts


class SomeFailed(UserError):
    """Some sequences could not be averaged; the others were.

    Attributes:
      counts: {sequence: number of its pairs} of the others.
    """

    exit_code = 1

    def __init__(self, message: str, counts: dict[str, int]):
        super().__init__(message)
        self.counts = counts


class _Frame:
    """One frame, decoded when its pixels are first asked for: skipped frames cost little."""

    def __init__(self, number: int, origin: str, load: Callable[[], np.ndarray]):
        self.number = number
        self.origin = origin  # how an error names it
        self._load: Callable[[], np.ndarray] | None = load
        self._pixels: np.ndarray | None = None

    def pixels(self) -> np.ndarray:
        """Returns uint8 (height, width, 3)."""
        if self._pixels is None:
            # Letting go of the loader frees the video frame that it holds.
            self._pixels, self._load = self._load(), None
        return self._pixels


class _Sequence(NamedTuple):
    """A sequence of consecutive frames: its name, its source and a function that streams them."""

    name: str
    source: Path
    frames: Callable[[], Iterator[_Frame]]


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


def _find_sequences(sources: Sequence[str | os.PathLike]) -> list[_Sequence]:
    found: dict[str, _Sequence] = {}
    for sequence in itertools.chain.from_iterable(_sequences_in(Path(s)) for s in sources):
        if sequence.name in found:
            raise UserError(
                f"{sequence.source}: its name {sequence.name} is also that of "
                f"{found[sequence.name].source}; rename one, sequences need names of their own."
            )
        found[sequence.name] = sequence
    return list(found.values())


def _sequences_in(source: Path) -> Iterator[_Sequence]:
    if source.is_file():
        if source.suffix.lower() in EXTENSIONS:
            raise UserError(f"{source}: is one picture; name the folder that holds the frames.")
        yield _Sequence(source.stem, source, partial(_video_frames, source))
        return
    if not source.is_dir():
        raise UserError(f"{source}: no such file; expected a folder of frames or a video.")
    folders = [source]
    if not pictures(source):
        subfolders = (f for f in sorted(source.iterdir()) if f.is_dir() and f.name[0] != ".")
        folders = [f for f in subfolders if pictures(f)]
    if not folders:
        raise UserError(
            f"{source}: no frames in it or its sub-folders; expected {', '.join(EXTENSIONS)}."
        )
    for folder in folders:
        yield _Sequence(folder.absolute().name, folder, partial(_folder_frames, folder))


def _sizes(smallest: int, largest: int, seed: str) -> Iterator[int]:
    generator = random.Random(seed)
    while True:
        yield generator.randrange(smallest, largest + 1, 2)


def _windows(
    sequence: _Sequence, sizes: Iterator[int], stride: int | None
) -> Iterator[list[_Frame]]:
    """Yields lists of consecutive frames, each as long as the next of `sizes`."""
    frames = sequence.frames()
    waiting: collections.deque[_Frame] = collections.deque()
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


class _PairWriter:
    """Writes the pairs of one sequence and records what it wrote.

    Args:
      output_dir: of all sequences; holds the record.
      name: the sequence's.
      mode: one of `MODES`.
      resume: leave pictures that exist.
    """

    def __init__(self, output_dir: Path, name: str, mode: str, resume: bool):
        self._record = outputs.Record(output_dir)
        self._name, self._mode, self._resume = name, mode, resume
        self._folders = [output_dir / "train" / name / side for side in (FOLDERS[mode], "sharp")]

    def write(self, windows: Iterable[list[_Frame]]) -> int:
        """Writes a pair for each window; returns how many there are."""
        count, shape = 0, None
        for folder in self._folders:
            outputs.make_folder(folder)
        try:
            for window in windows:
                shape = self._write_pair(window, shape)
                # The next window is read while this name still holds this one; memory would double.
                del window
                count += 1
                _progress(f"\r{self._name}: {count} pairs")
        finally:
            _progress("\n")
        return count

    def _write_pair(self, window, shape):
        """Writes what is wanted of one pair; returns the shape of the sequence's frames."""
        middle = window[len(window) // 2]
        paths = [folder / f"{middle.number:06d}.png" for folder in self._folders]
        wanted = [path for path in paths if not (self._resume and path.exists())]
        for path in wanted:
            self._record.check_overwrite(path, not self._resume)
        if wanted:
            shape = _one_shape(window, shape)
        for path in wanted:
            blurry = path is paths[0]
            frames = (frame.pixels() for frame in window)
            write_picture(path, average(frames, self._mode) if blurry else middle.pixels())
            self._record.add(path)
        return shape


def _one_shape(window: Sequence[_Frame], shape: tuple | None) -> tuple:
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


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def _folder_frames(folder: Path) -> Iterator[_Frame]:
    numbered: dict[int, Path] = {}
    for path in pictures(folder).values():
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise UserError(f"{path}: no number in its name; frames are ordered by number.")
        number = int(digits[-1])
        if number in numbered:
            raise UserError(
                f"{path}: has the same number as {numbered[number].name}; keep the frames of each "
                "sequence in a folder of their own."
            )
        numbered[number] = path
    order = sorted(numbered)
    for number, following in itertools.pairwise(order):
        if following != number + 1:
            warnings.warn(
                f"{folder}: the frames jump from number {number} to {following}; averages of "
                "frames that are not consecutive show ghosts, not blur.",
                stacklevel=2,
            )
            break
    for number in order:
        path = numbered[number]
        yield _Frame(number, str(path), partial(read_rgb, path))


def _video_frames(path: Path) -> Iterator[_Frame]:
    clip = video_clip.probe(path)
    to_rgb = partial(_to_rgb, video_clip.ColourConverter(clip), clip.orientation)
    with video_clip.open_clip(path) as container:
        stream = video_clip.video_stream(container, path)
        _warn_if_slow(path, stream.average_rate)
        check_time = _SpacingCheck(path, float(stream.time_base))
        number = -1
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise UserError(f"{path}: frame {number} is damaged; copy the video again.")
            check_time(frame.time)
            yield _Frame(number, f"{path}, frame {number}", partial(to_rgb, frame))
        if number + 1 < stream.frames:
            warnings.warn(
                f"{path}: ended after {number + 1} of the {stream.frames} frames that its "
                "header tells of; it is cut short or damaged.",
                stacklevel=2,
            )


def _warn_if_slow(path: Path, rate: Fraction | None) -> None:
    if rate is not None and rate < _SMOOTH_FRAME_RATE:
        warnings.warn(
            f"{path}: {float(rate):.4g} frames a second; below {_SMOOTH_FRAME_RATE} the gaps "
            "between frames show as ghosts. Ignore this for slow motion filmed faster.",
            stacklevel=2,
        )


def _to_rgb(converter, orientation, frame) -> np.ndarray:
    """An av.VideoFrame as it is to be seen; phones film sideways and note the angle."""
    pixels = video_clip.pixels_of(converter.to_rgb(frame))
    return np.ascontiguousarray(orientation.upright(pixels))


class _SpacingCheck:
    """Warns once, when two frames lie clearly further apart in time than the closest two."""

    def __init__(self, path: Path, resolution: float):
        self._path = path
        self._resolution = resolution  # to what the file rounds times, in seconds
        self._last: float | None = None
        self._smallest = float("inf")
        self._warned = False

    def __call__(self, time: float | None) -> None:
        """Takes the time of the next frame, in seconds."""
        if time is None or self._warned:
            return
        if self._last is not None:
            gap = time - self._last
            self._smallest = min(self._smallest, gap)
            self._warned = gap > 1.5 * self._smallest + self._resolution
        if self._warned:
            warnings.warn(
                f"{self._path}: frames are not evenly spaced ({self._smallest:.4g} s, but "
                f"{gap:.4g} s before {time:.4g} s); the longer gaps show as ghosts.",
                stacklevel=3,
            )
        self._last = time
