"""Reads a video: decoded frames one by one, and the packets of its other streams."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from restore_tf.errors import UserError
from restore_tf.video.clip import Clip
from restore_tf.video.colours import ColourConverter, pixels_of
from restore_tf.video.container import import_av, open_clip, video_stream

_DISCARD_ALL = 48  # FFmpeg's AVDISCARD_ALL


@dataclasses.dataclass(frozen=True)
class FrameRanges:
    """Ranges of frame numbers, from a user.

    Attributes:
      text: as given.
      bounds: (first, last) of each range, both included; a last of None means to the end.
    """

    text: str
    bounds: tuple[tuple[int, int | None], ...]

    def within(self, count: int, path: str | os.PathLike) -> tuple[range, ...]:
        """Returns the ranges in a clip of `count` frames, ascending, without overlap.

        Args:
          count: the clip's number of frames.
          path: the clip, named in the error.

        Raises:
          UserError: a range reaches beyond the end.
        """
        ranges: list[range] = []
        for first, last in sorted(self.bounds, key=lambda bounds: bounds[0]):
            if max(first, last or 0) >= count:
                raise UserError(
                    f"frames {self.text}: {path} has {count} frames, numbered 0 to {count - 1}."
                )
            stop = count if last is None else last + 1
            if ranges and first <= ranges[-1].stop:
                ranges[-1] = range(ranges[-1].start, max(stop, ranges[-1].stop))
            else:
                ranges.append(range(first, stop))
        return tuple(ranges)


def parse_frames(text: str) -> FrameRanges:
    """Parses frame numbers: "10-20", "15", "10-" (to the end), "-20" (from 0), or several.

    Frames are numbered from 0, in the order in which they are shown; both ends are included.

    Args:
      text: ranges, separated by commas.

    Raises:
      UserError: another form, or a range whose end comes before its start.
    """
    bounds = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(?:(\d+)|(\d+)-(\d*)|-(\d+))\s*", part)
        if match is None:
            raise UserError(
                f"frames {text!r}: expected numbers such as 10-20, 15, 10-, -20 or 10-20,40."
            )
        one, first, last, until = match.groups()
        bound = (
            int(one or first or 0),
            int(one or last or until) if one or last or until else None,
        )
        if bound[1] is not None and bound[1] < bound[0]:
            raise UserError(f"frames {text!r}: {bound[0]} comes after {bound[1]}; swap them.")
        bounds.append(bound)
    return FrameRanges(text, tuple(bounds))


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Chosen frames of a clip.

    Attributes:
      ranges: of frame numbers, ascending, without overlap.
      times: when each of ALL frames of the clip is shown, ascending, in time bases.
      clip_end: when the clip's last frame ends, in time bases.
    """

    ranges: tuple[range, ...]
    times: np.ndarray
    clip_end: int

    @property
    def count(self) -> int:
        """How many frames are chosen."""
        return sum(map(len, self.ranges))

    @property
    def start(self) -> int:
        """When the first chosen frame is shown."""
        return int(self.times[self.ranges[0].start])

    @property
    def last(self) -> int:
        """When the last chosen frame is shown."""
        return int(self.times[self.ranges[-1].stop - 1])

    @property
    def end(self) -> int:
        """When the last chosen frame ends."""
        following = self.ranges[-1].stop
        return int(self.times[following]) if following < len(self.times) else self.clip_end

    def number(self, time: int) -> int:
        """Returns the number of the frame shown at a time; lost frames before it do not shift it.

        Args:
          time: in time bases.
        """
        return int(np.searchsorted(self.times, time))

    def __contains__(self, number: int) -> bool:
        return any(number in chosen for chosen in self.ranges)


class Frame(NamedTuple):
    """A decoded frame.

    Attributes:
      number: from 0, in the order of presentation.
      time: of presentation, in time bases of the clip.
      duration: in time bases; 0 where the file does not say.
      pixels: (height, width, 3) uint8 RGB, upright.
      picture: the av.VideoFrame, RGB, that `Writer` fills with restored pixels.
    """

    number: int
    time: int
    duration: int
    pixels: np.ndarray
    picture: Any


class Reader:
    """Iterates over a clip's frames, as `Frame`, and its other streams' packets, as PyAV has them.

    A context manager; iterate once. A frame that cannot be decoded is counted and left out.

    Args:
      clip: the source.
      stretch: the frames to deliver; None delivers all.
      with_others: also deliver the other streams' packets.

    Attributes:
      container: the open PyAV container.
      video: its video stream.
      others: the streams beside the video.
      lost: how many times decoding failed so far.
      damaged: frames whose holes the decoder filled by guessing.
    """

    # How far apart in a file the sound and the picture of one time may lie, in seconds.
    _INTERLEAVING = 10
    _MOST_FAILURES = 3

    def __init__(self, clip: Clip, stretch: Stretch | None = None, with_others: bool = True):
        self.container: Any = None
        self.video: Any = None
        self.others: list[Any] = []
        self.lost = self.damaged = 0
        self._clip, self._stretch, self._with_others = clip, stretch, with_others
        self._error = import_av(clip.path).error.FFmpegError
        self._converter = ColourConverter(clip)
        self._exit = contextlib.ExitStack()
        self._header_end = self._end = 0.0
        self._count = 0
        self._time: int | None = None  # of the newest frame

    def __enter__(self):
        self.container = self._exit.enter_context(open_clip(self._clip.path))
        self.video = video_stream(self.container, self._clip.path)
        if self._with_others:
            self.others = [
                stream
                for stream in self.container.streams
                # FFmpeg marks streams so that it has read itself: the chapters' titles.
                if stream.index != self.video.index
                and int(getattr(stream, "discard", 0)) != _DISCARD_ALL
            ]
        # Other formats have an index instead, which `whole_frames` looks at.
        if "matroska" in self.container.format.name and self._stretch is None:
            self._header_end = (self.container.duration or 0) / 1e6  # counted from time 0
        return self

    def __exit__(self, *exception):
        return self._exit.__exit__(*exception)

    def __iter__(self) -> Iterator[Any]:
        for packet in self._packets():
            if packet is not None and packet.stream.index != self.video.index:
                if packet.size:
                    yield packet
            elif not self._has_all():
                yield from self._frames(packet)
            elif self._is_past(packet):
                return

    def _packets(self):
        """All packets, and None at the end; reading goes on after an error."""
        failures = 0
        while failures < self._MOST_FAILURES:
            try:
                for packet in self.container.demux([self.video, *self.others]):
                    failures = 0
                    if packet.pts is not None:
                        end = packet.pts + (packet.duration or 0)
                        self._end = max(self._end, float(end * packet.time_base))
                    yield packet
                return
            except self._error:
                failures += 1
        self.lost += 1
        yield None

    @property
    def missing_seconds(self) -> float:
        """By how much a Matroska file read to its end falls short of the length in its header."""
        return max(0.0, self._header_end - self._end)

    def _has_all(self) -> bool:
        return bool(self._stretch and self._time is not None and self._time >= self._stretch.last)

    def _is_past(self, packet) -> bool:
        """Whether packets from here on are too late for the stretch, even those stored late."""
        if packet is None or not self.others:
            return True
        time = packet.pts if packet.dts is None else packet.dts
        behind = 0 if time is None else (time - self._stretch.end) * self._clip.time_base
        return behind > self._INTERLEAVING

    def _frames(self, packet) -> Iterator[Frame]:
        try:
            frames = self.video.codec_context.decode(packet)
        except self._error:
            self.lost += 1
            return
        for frame in frames:
            self._time = self._time_of(frame)
            number = self._stretch.number(self._time) if self._stretch else self._count
            self._count += 1
            if self._stretch is None or number in self._stretch:
                self.damaged += bool(frame.is_corrupt)
                picture = self._picture(frame, number)
                pixels = self._clip.orientation.upright(pixels_of(picture))
                # A copy: the writer overwrites the picture, and callers may keep what they get.
                yield Frame(number, self._time, frame.duration or 0, pixels.copy(), picture)

    def _time_of(self, frame) -> int:
        """The frame's time, extrapolated where it is missing or does not advance."""
        if frame.pts is None:
            return 0 if self._time is None else self._time + self._clip.frame_step
        return frame.pts if self._time is None else max(frame.pts, self._time + 1)

    def _picture(self, frame, number):
        clip = self._clip
        if (frame.width, frame.height) != (clip.width, clip.height):
            raise UserError(
                f"{clip.path}: frame {number} is {frame.width}x{frame.height} pixels, the first "
                f"is {clip.width}x{clip.height}; cut the clip where its size changes."
            )
        return self._converter.to_rgb(frame)
