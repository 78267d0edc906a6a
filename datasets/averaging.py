"""Makes (degraded, sharp) training pairs from sharp high-frame-rate video, by averaging frames.

As GoPro was made (Nah et al. 2017): a shutter that stays open for 7 to 13 frames at 240 frames a
second collects the sum of their light. The degraded picture is the average of consecutive frames,
the sharp one is the middle frame. Input: uint8 sRGB frames from a folder, a folder of such folders,
or a video. Output: the published layout, which the GoPro reader and `train.py` take:

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
- `linear` -> `blur_gamma` as well: the same with the exact sRGB curve of IEC 61966-2-1 in place of
  the power 2.2. No published folder holds it. The two differ by at most a few gray levels.

Different from the published set: there one number of frames holds for a whole sequence (7 in
GOPR0372_07_00, issue 59); here each pair draws its own. Its files differ from one's own averages
of GOPRO_Large_all by about a gray level (issue 65), so no mode reproduces them bit for bit.
"""

from __future__ import annotations

import collections
import itertools
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from restore_tf.datasets.exposure import average, curve
from restore_tf.datasets.frames import Frame, FrameSequence, find_sequences
from restore_tf.datasets.pairing import pictures
from restore_tf.errors import UserError
from restore_tf.pictures.files import write_picture
from restore_tf.system import outputs
from restore_tf.system.log import logger

# Folder of the published layout that each mode writes; the module's docstring says why.
FOLDERS = {"linear": "blur_gamma", "gamma": "blur_gamma", "encoded": "blur"}


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

    A sequence that cannot be read to its end is named in a warning and keeps the pairs made so far;
    the others are made.

    Frames are streamed: at most the largest window's frames are in memory. A pair is named after
    its middle frame: the number in the file's name, or the position in the video, counted from 0.
    Remaining frames at the end, too few for the next window, are dropped.

    Args:
      source: one or several of: a folder of frames, read in the order of the last number in their
        names; a folder of such folders, or of videos, each a sequence; a video. It is named after
        its folder or file. In a folder that holds frames, sub-folders are ignored.
      output_dir: made if missing.
      window: how many frames a degraded picture averages: an odd number, or (smallest, largest),
        both odd; each pair's is then a random odd number between them, all equally likely.
      stride: frames from the start of one window to the start of the next. None: each window
        starts where the one before it ended.
      mode: one of `exposure.MODES`; also decides the degraded pictures' folder.
      seed: of the windows. A sequence's windows depend on the seed and its name only.
      limit: the most pairs of each sequence; None for all.
      overwrite: replace pictures of the same name that the folder's record lists. Others of the
        same name are an error.
      resume: keep existing pictures. Give the settings of the interrupted run; with another mode,
        blur and blur_gamma are written beside the same sharp pictures.

    Returns:
      {sequence: number of its pairs, written or found}.

    Raises:
      UserError: no frames, too few, of different sizes, unreadable, without a number; two
        sequences of one name; pictures in the way; PyAV missing; a bad argument.
      SomeFailed: one of these, for some of several sequences; raised when the others are done.
    """
    smallest, largest = _window_range(window)
    _check_arguments(smallest, largest, stride, mode, limit)
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    sequences = find_sequences(sources)
    _check_pictures(output_dir, sequences, mode, overwrite, resume)
    outputs.check_folder(output_dir)

    def write(sequence):
        windows = _windows(sequence, _sizes(smallest, largest, f"{seed} {sequence.name}"), stride)
        writer = _PairWriter(Path(output_dir), sequence.name, mode, resume)
        return writer.write(itertools.islice(windows, limit))

    return _each(sequences, write)


def _each(sequences, write) -> dict[str, int]:
    """Returns {sequence: count by `write`}; raises a `SomeFailed` at the end if some failed."""
    counts, failed = {}, []
    for sequence in sequences:
        try:
            counts[sequence.name] = write(sequence)
        except UserError as error:
            if len(sequences) == 1:
                raise
            logger.warning("%s: not averaged to its end (%s)", sequence.name, error)
            failed.append(sequence.name)
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
    curve(mode)
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


def _check_pictures(output_dir, sequences, mode: str, overwrite: bool, resume: bool) -> None:
    if overwrite and resume:
        raise UserError("overwrite and resume: choose one; the first replaces, the second keeps.")
    if overwrite or resume:
        return
    for sequence in sequences:
        for side in (FOLDERS[mode], "sharp"):
            folder = Path(output_dir) / "train" / sequence.name / side
            if folder.is_dir() and (present := pictures(folder)):
                raise UserError(
                    f"{next(iter(present.values()))}: already exists; overwrite it, resume, or "
                    "choose another output folder."
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

    def write(self, windows: Iterable[list[Frame]]) -> int:
        """Writes a pair for each window; returns how many.

        Args:
          windows: consecutive frames of each pair.
        """
        count, shape = 0, None
        for folder in self._folders:
            outputs.make_folder(folder)
        with tqdm(desc=self._name, unit=" pairs", leave=False, disable=None) as progress:
            for window in windows:
                shape = self._write_pair(window, shape)
                # The next window is read while this name still holds this one; memory would double.
                del window
                count += 1
                progress.update()
        return count

    def _write_pair(self, window, shape):
        """Writes the missing pictures of one pair; returns the shape of the sequence's frames."""
        middle = window[len(window) // 2]
        paths = [folder / f"{middle.number:06d}.png" for folder in self._folders]
        wanted = [path for path in paths if not (self._resume and path.exists())]
        for path in wanted:
            self._record.check_overwrite(path, not self._resume)
        if wanted:
            shape = _one_shape(window, shape)
        for path in wanted:
            degraded = path is paths[0]
            frames = (frame.pixels() for frame in window)
            write_picture(path, average(frames, self._mode) if degraded else middle.pixels())
            self._record.add(path)
        return shape


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
