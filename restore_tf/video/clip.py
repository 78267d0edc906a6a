"""A video file's properties: size, rate, colour tags, orientation.

A stream without a colour tag gets the matrix that players assume, BT.709 from 1280x720 on and
BT.601 below, and stays untagged; `colours` converts by it.

Phones film sideways and note the angle. The network sees frames upright, as people do; they are
stored sideways again, with the note.

Needs PyAV, the extra `video`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system.log import logger
from restore_tf.video.colours import FULL, LIMITED, SWSCALE_MATRIX, Colour
from restore_tf.video.container import import_av, open_clip, video_stream

_BT709, _BT601 = 1, 6
_NO_MATRIX = (2, 3)  # unknown, reserved
_HDR = {16: "PQ", 18: "HLG"}


@dataclasses.dataclass(frozen=True)
class Orientation:
    """How stored pixels are turned to be seen: swap the axes first, then flip.

    Attributes:
      swap: rows become columns.
      flip_x: left becomes right.
      flip_y: top becomes bottom.
      matrix: the display matrix that says so, nine numbers; None where there is none.
    """

    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False
    matrix: tuple[int, ...] | None = None

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """Turns stored pixels to how they are to be seen; a view.

        Args:
          pixels: (height, width, 3), as stored.
        """
        return self._flipped(pixels.swapaxes(0, 1) if self.swap else pixels)

    def stored(self, pixels: np.ndarray) -> np.ndarray:
        """Turns upright pixels back to how they are stored; a view.

        Args:
          pixels: (height, width, 3), as seen.
        """
        pixels = self._flipped(pixels)
        return pixels.swapaxes(0, 1) if self.swap else pixels

    def _flipped(self, pixels):
        return pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video's properties, as the file states them.

    Attributes:
      path: the file.
      width: in pixels, as stored.
      height: in pixels, as stored.
      frames: how many there should be; 0 where the file does not say.
      rate: mean frames per second; None where the file does not say.
      time_base: the unit of frame times, in seconds.
      start: time of the first frame, in time bases.
      aspect: width of a stored pixel over its height.
      colour: the tags.
      chroma: "420", "422" or "444": how finely colour is stored beside brightness.
      orientation: how it is turned to be seen.
    """

    path: Path
    width: int
    height: int
    frames: int
    rate: Fraction | None
    time_base: Fraction
    start: int
    aspect: Fraction
    colour: Colour
    chroma: str
    orientation: Orientation

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as seen."""
        size = (self.width, self.height)
        return size[::-1] if self.orientation.swap else size

    @property
    def matrix(self) -> int:
        """The matrix to convert with: the tagged one, or the one that players assume."""
        known = self.colour.matrix in SWSCALE_MATRIX
        return self.colour.matrix if known else _guess(self)

    @property
    def frame_step(self) -> int:
        """Mean time from frame to frame, in time bases, at least 1."""
        return max(1, round(1 / ((self.rate or 25) * self.time_base)))


def probe(path: str | os.PathLike) -> Clip:
    """Reads a video's header and first frame; warns of interlacing, alpha and more than 8 bits.

    Args:
      path: the file.

    Raises:
      UserError: no such file, no video, truncated, HDR, an unknown colour matrix, or no PyAV.
    """
    path = Path(path)
    with open_clip(path) as container:
        stream = video_stream(container, path)
        frame = _first_frame(container, stream, path)
        clip = _describe(path, stream, frame)
        _check_pixels(path, frame.format, clip.colour)
        _say_alpha(path, stream, frame.format)
        if frame.interlaced_frame:
            logger.warning(
                "%s: is interlaced: every second row is from another time and would need "
                "restoring of its own. Deinterlace it first.",
                path,
            )
    return clip


def _guess(picture) -> int:
    """The matrix that players assume for a picture's size."""
    return _BT709 if picture.width * picture.height >= 1280 * 720 else _BT601


def _first_frame(container, stream, path):
    for packet in container.demux(stream):
        with contextlib.suppress(import_av(path).error.FFmpegError):
            for frame in packet.decode():
                return frame
    raise UserError(f"{path}: no frame can be decoded; it is cut short or damaged.")


def _describe(path, stream, frame) -> Clip:
    rgb = frame.format.is_rgb  # it becomes YUV, and needs tags of its own
    full = FULL if frame.format.name.startswith("yuvj") else 0
    context = stream.codec_context
    return Clip(
        path=path,
        width=frame.width,
        height=frame.height,
        frames=stream.frames,
        rate=stream.average_rate or stream.guessed_rate,
        time_base=stream.time_base,
        start=frame.pts or 0,
        aspect=stream.sample_aspect_ratio or Fraction(1),
        colour=Colour(
            matrix=_guess(frame) if rgb else int(frame.colorspace),
            range=LIMITED if rgb else int(frame.color_range) or full,
            primaries=int(context.color_primaries),
            transfer=int(context.color_trc),
        ),
        chroma=_chroma(frame.format),
        orientation=_orientation(path, frame),
    )


def _chroma(pixel_format) -> str:
    """The coarsest of the three that holds the source's colour."""
    if pixel_format.is_rgb:
        return "444"
    if len(pixel_format.components) < 3:  # gray
        return "420"
    if pixel_format.chroma_width(64) == 64:
        return "444"
    return "422" if pixel_format.chroma_height(64) == 64 else "420"


def _orientation(path, frame) -> Orientation:
    """Reads the display matrix (ISO/IEC 14496-12, 6.2.2): x' = a x + c y, y' = b x + d y."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    matrix = tuple(np.frombuffer(bytes(data), np.int32).tolist())
    a, b, _, c, d = matrix[:5]
    if a == d == 0:
        return Orientation(swap=True, flip_x=c < 0, flip_y=b < 0, matrix=matrix)
    if b == c == 0:
        return Orientation(flip_x=a < 0, flip_y=d < 0, matrix=matrix)
    logger.warning(
        "%s: is to be shown turned by %s degrees, no quarter turn; its frames are restored as "
        "they are stored.",
        path, frame.rotation,
    )  # fmt: skip
    return Orientation(matrix=matrix)


def _check_pixels(path, pixel_format, colour):
    if colour.transfer in _HDR:
        raise UserError(
            f"{path}: is HDR ({_HDR[colour.transfer]}), the networks know the standard range; "
            "convert it to 8-bit BT.709 first."
        )
    if colour.matrix not in (*SWSCALE_MATRIX, *_NO_MATRIX):
        raise UserError(
            f"{path}: its colour matrix, number {colour.matrix} of H.273, is not supported; "
            "convert it to BT.709 first."
        )
    bits = max(component.bits for component in pixel_format.components)
    if bits > 8:
        logger.warning("%s: has %d bits a channel; it is restored and written in 8.", path, bits)


def _say_alpha(path, stream, pixel_format):
    """VP8 and VP9 have alpha in a second stream, beside frames that are opaque to the decoder."""
    beside = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE", "0"))
    if beside == "1" or any(component.is_alpha for component in pixel_format.components):
        logger.warning("%s: its transparency is left out.", path)


def frame_times(clip: Clip) -> tuple[np.ndarray, int]:
    """Returns all frames' presentation times, ascending, and when the last one ends; in time bases.

    Reads the whole file but decodes nothing.

    Args:
      clip: from `probe`.

    Raises:
      UserError: the file has no presentation times.
    """
    durations: dict[int, int] = {}
    with open_clip(clip.path) as container:
        for packet in container.demux(video_stream(container, clip.path)):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None:
                raise UserError(
                    f"{clip.path}: does not say when its frames are shown, so they have no order "
                    "to number them by; convert it to MP4 first."
                )
            durations[packet.pts] = packet.duration or 0
    times = np.array(sorted(durations), np.int64)
    last = int(times[-1])
    return times, last + (durations[last] or clip.frame_step)


def whole_frames(clip: Clip) -> tuple[int, int] | None:
    """Returns (complete frames, all frames) of a truncated file; None for a complete one.

    MP4, MOV and AVI list where each frame lies, so an incomplete copy is found before the work
    begins. For other files the answer is None.

    Args:
      clip: from `probe`.
    """
    with open_clip(clip.path) as container:
        size = clip.path.stat().st_size
        ends = [e.pos + e.size for e in video_stream(container, clip.path).index_entries]
    return next(((index, len(ends)) for index, end in enumerate(ends) if end > size), None)
