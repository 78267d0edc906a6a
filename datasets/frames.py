"""Reads frames for averaging from folders of pictures and from videos.

Frames are streamed: the reader decides how many are in memory.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from restore_tf.datasets.cropping import decode
from restore_tf.datasets.pairing import pictures
from restore_tf.errors import UserError
from restore_tf.pictures.kinds import CLIPS, PICTURES, is_clip, is_picture
from restore_tf.system.folders import walk
from restore_tf.system.log import logger
from restore_tf.video import clip as video_clip
from restore_tf.video.colours import ColourConverter, pixels_of
from restore_tf.video.container import open_clip, video_stream

# Frames a second. Below, a hand-held camera moves several pixels between frames, and an average
# shows copies of an edge instead of blur. GoPro: 240.
_SMOOTH_FRAME_RATE = 100


class Frame:
    """One frame, decoded when its pixels are first read: skipped frames cost little.

    Args:
      number: in the file's name, or the position in the video, counted from 0.
      origin: its name in errors.
      load: decodes it, to uint8 (height, width, 3).
    """

    def __init__(self, number: int, origin: str, load: Callable[[], np.ndarray]):
        self.number = number
        self.origin = origin
        self._load: Callable[[], np.ndarray] | None = load
        self._pixels: np.ndarray | None = None

    def pixels(self) -> np.ndarray:
        """Returns uint8 (height, width, 3)."""
        if self._pixels is None:
            # Letting go of the loader frees the video frame that it holds.
            self._pixels, self._load = self._load(), None
        return self._pixels


class FrameSequence(NamedTuple):
    """A sequence of consecutive frames: its name, its source and a function that streams them."""

    name: str
    source: Path
    frames: Callable[[], Iterator[Frame]]


def find_sequences(sources: Sequence[str | os.PathLike]) -> list[FrameSequence]:
    """Returns the sequences of all sources, in order; each once, however often it is named.

    Args:
      sources: each a folder of frames, a folder of such folders or of videos, or a video. In a
        folder that holds frames, everything else is ignored.

    Raises:
      UserError: no frames or videos, or two sequences of one name.
    """
    found: dict[str, FrameSequence] = {}
    for sequence in itertools.chain.from_iterable(_sequences_in(Path(s)) for s in sources):
        known = found.setdefault(sequence.name, sequence)
        if not os.path.samefile(known.source, sequence.source):
            raise UserError(
                f"{sequence.source}: its name {sequence.name} is also that of {known.source}; "
                "rename one, sequences need names of their own."
            )
    return list(found.values())


def _sequences_in(source: Path) -> Iterator[FrameSequence]:
    if source.is_file():
        if is_picture(source):
            raise UserError(f"{source}: is one picture; name the folder that holds the frames.")
        yield _video(source)
        return
    if not source.is_dir():
        raise UserError(f"{source}: no such file; expected a folder of frames or a video.")
    listed = dict(walk(source, recursive=True))
    folders = [place for place, files in listed.items() if any(map(is_picture, files))]
    folders = [place for place in folders if len(place.parts) < 2]
    clips = [path for path in listed[Path()] if is_clip(path)]
    if Path() in folders:
        folders, clips = [Path()], []
    if not folders and not clips:
        raise UserError(
            f"{source}: no frames in it or its sub-folders, and no videos in it; expected "
            f"{', '.join((*PICTURES, *CLIPS))}."
        )
    for place in folders:
        folder = source / place
        yield FrameSequence(folder.absolute().name, folder, partial(_folder_frames, folder))
    yield from map(_video, clips)


def _video(path):
    return FrameSequence(path.stem, path, partial(_video_frames, path))


def _folder_frames(folder: Path) -> Iterator[Frame]:
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
            logger.warning(
                "%s: the frames jump from number %d to %d; averages of frames that are not "
                "consecutive show ghosts, not blur.",
                folder,
                number,
                following,
            )
            break
    for number in order:
        path = numbered[number]
        yield Frame(number, str(path), partial(decode, path))


def _video_frames(path: Path) -> Iterator[Frame]:
    clip = video_clip.probe(path)
    to_rgb = partial(_to_rgb, ColourConverter(clip), clip.orientation)
    with open_clip(path) as container:
        stream = video_stream(container, path)
        _warn_if_slow(path, stream.average_rate)
        check_time = _SpacingCheck(path, float(stream.time_base))
        number = -1
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise UserError(f"{path}: frame {number} is damaged; copy the video again.")
            check_time(frame.time)
            yield Frame(number, f"{path}, frame {number}", partial(to_rgb, frame))
        if number + 1 < stream.frames:
            logger.warning(
                "%s: ended after %d of the %d frames that its header names; it is cut short or "
                "damaged.",
                path,
                number + 1,
                stream.frames,
            )


def _warn_if_slow(path: Path, rate: Fraction | None) -> None:
    if rate is not None and rate < _SMOOTH_FRAME_RATE:
        logger.warning(
            "%s: %.4g frames a second; below %d the gaps between frames show as ghosts. Ignore "
            "this for slow motion filmed faster.",
            path,
            float(rate),
            _SMOOTH_FRAME_RATE,
        )


def _to_rgb(converter, orientation, frame) -> np.ndarray:
    """An av.VideoFrame turned upright; phones film sideways and store the angle."""
    pixels = pixels_of(converter.to_rgb(frame))
    return np.ascontiguousarray(orientation.upright(pixels))


class _SpacingCheck:
    """Warns once, when two frames lie clearly further apart in time than the closest two."""

    def __init__(self, path: Path, resolution: float):
        self._path = path
        self._resolution = resolution  # of the file's times, in seconds
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
            logger.warning(
                "%s: frames are not evenly spaced (%.4g s, but %.4g s before %.4g s); the longer "
                "gaps show as ghosts.",
                self._path,
                self._smallest,
                gap,
                time,
            )
        self._last = time
