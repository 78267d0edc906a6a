"""Writes a video: encodes restored frames at their own times and copies the other streams.

The frames' time base is the source's: variable rates and start offsets survive. Matroska and WebM
count in milliseconds, so times are rounded to those there, and they cannot begin before time 0:
where sound does, as AAC in MP4 may, all streams move by the same time.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, NamedTuple

from restore_tf.errors import UserError
from restore_tf.system.log import logger
from restore_tf.video.clip import Clip
from restore_tf.video.colours import ColourConverter, pixels_of
from restore_tf.video.container import import_av, is_cover
from restore_tf.video.reader import Frame, Reader, Stretch


class _Container(NamedTuple):
    name: str  # FFmpeg's name of the format
    encoder: str


# AVI is missing on purpose: it has no frame times, only a rate.
CONTAINERS = {
    ".mp4": _Container("mp4", "libx264"),
    ".m4v": _Container("mp4", "libx264"),
    ".mov": _Container("mov", "libx264"),
    ".mkv": _Container("matroska", "libx264"),
    ".webm": _Container("webm", "libvpx-vp9"),
}
_OPTIONS = {
    # Frames that x264 looks ahead fill memory; the preset has 40.
    "libx264": {"crf": "16", "preset": "medium", "rc-lookahead": "20"},
    # Without b = 0 VP9 takes the quality for a mere limit.
    "libvpx-vp9": {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"},
}
_WORST_QUALITY = {"libx264": 51, "libvpx-vp9": 63}
# What describes the content; the rest describes the file that it was in.
_KEPT_METADATA = ("language", "title", "handler_name", "creation_time")
_STALE_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder")


class Writer:
    """Writes restored frames and copied packets into a new file. A context manager.

    Args:
      path: the file to write, usually a temporary one.
      name: the output's name in errors and warnings; its ending decides the format.
      clip: the source, with the size of the restored frames.
      reader: the open source, for the streams to copy; None copies none.
      stretch: the restored frames; they are moved to start at time 0. None for all.
      quality: constant rate factor, 0 to 51 for H.264, 0 to 63 for VP9; smaller is better. None:
        16 and 18, where the eye sees no loss.

    Attributes:
      dropped: the streams that the format cannot hold; each had a warning.
      uncopied: packets of the other streams that the format refused.

    Raises:
      UserError: an unknown ending, a bad quality, a file that cannot be written.
    """

    def __init__(
        self,
        path: Path,
        name: Path,
        clip: Clip,
        reader: Reader | None = None,
        stretch: Stretch | None = None,
        quality: int | None = None,
    ):
        self.dropped: list[str] = []
        self.uncopied = 0
        self._name, self._clip, self._stretch = name, clip, stretch
        self._av = import_av(clip.path)
        self._format = container_for(name, quality)
        self._converter = ColourConverter(clip)
        # MP4 plays nothing from before time 0.
        self._origin = stretch.start if stretch else min(0, clip.start)
        with self._errors():
            self._output = self._av.open(f"file:{path}", "w", format=self._format.name)
            self._video = self._add_video(quality)
            self._copies = {} if reader is None else self._add_copies(reader)

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        if kind is not None:
            with contextlib.suppress(self._av.error.FFmpegError):
                self._output.close()
            return
        with self._errors():
            self._output.mux(self._video.encode(None))
            self._output.close()

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except self._av.error.FFmpegError as error:
            raise UserError(f"{self._name}: cannot be written ({error.strerror}).") from None

    def _add_video(self, quality):
        clip, encoder = self._clip, self._format.encoder
        options = dict(_OPTIONS[encoder])
        if quality is not None:
            options["crf"] = str(quality)
        # For players the rate is only a hint at the decoder's speed; some recorders write 1000.
        rate = min(clip.rate or 25, 240)
        stream = self._output.add_stream(encoder, rate=rate, options=options)
        context = stream.codec_context
        context.width, context.height = clip.width, clip.height
        context.pix_fmt = _pixel_format(clip, self._name, encoder)
        stream.time_base = context.time_base = clip.time_base
        context.sample_aspect_ratio = clip.aspect
        context.color_range = clip.colour.range
        context.colorspace = clip.colour.matrix
        context.color_primaries = clip.colour.primaries
        context.color_trc = clip.colour.transfer
        context.flags |= int(self._av.codec.context.Flags.frame_duration)
        stream.set_display_matrix(clip.orientation.matrix)
        if clip.aspect != 1 and self._format.name == "webm":
            logger.warning(
                "%s: pixels that are not square (%s) cannot be noted in WebM; choose another "
                "ending to keep the picture's shape.",
                self._name, clip.aspect,
            )  # fmt: skip
        return stream

    def _add_copies(self, reader: Reader) -> dict[int, Any]:
        whole = self._stretch is None
        source, copies = reader.container, {}
        for stream in reader.others:
            if whole and stream.type == "data" and "timecode" in stream.metadata:
                continue  # MP4 and MOV make this track themselves, from the tag copied below
            if not _can_hold(self._av, self._format.name, stream):
                self.dropped.append(_describe(stream))
                logger.warning("%s: cannot hold %s; it is left out.", self._name, self.dropped[-1])
                continue
            if stream.type == "video" and not is_cover(stream):
                logger.warning(
                    "%s: %s is copied as it is; only the first video is restored.",
                    self._name, _describe(stream),
                )  # fmt: skip
            copy = self._output.add_stream_from_template(stream, opaque=True)
            copy.time_base, copy.disposition = stream.time_base, stream.disposition
            copy.metadata.update(_kept(stream.metadata))
            copies[stream.index] = copy
        self._video.metadata.update(_kept(reader.video.metadata, *["timecode"] * whole))
        stale = _STALE_METADATA if whole else (*_STALE_METADATA, "timecode")
        kept = {key: value for key, value in source.metadata.items() if key.lower() not in stale}
        self._output.metadata.update(kept)
        if whole:
            self._output.set_chapters(source.chapters())
        return copies

    def write(self, item: Any) -> None:
        """Writes an item of a `Reader`.

        Args:
          item: a `Frame` with restored pixels, or a PyAV packet of another stream.

        Raises:
          UserError: it cannot be written.
        """
        if isinstance(item, Frame):
            self._write_frame(item)
        else:
            self._write_packet(item)

    def _write_frame(self, frame: Frame) -> None:
        with self._errors():
            picture = frame.picture
            if (picture.width, picture.height) != (self._clip.width, self._clip.height):
                picture = self._av.VideoFrame(self._clip.width, self._clip.height, "rgb24")
            pixels_of(picture)[:] = self._clip.orientation.stored(frame.pixels)
            picture = self._converter.from_rgb(picture, self._video.codec_context.pix_fmt)
            picture.pict_type = 0  # the source's kind of frame, which the encoder would obey
            picture.pts, picture.time_base = frame.time - self._origin, self._clip.time_base
            picture.duration = frame.duration
            self._output.mux(self._video.encode(picture))

    def _write_packet(self, packet) -> None:
        copy = self._copies.get(packet.stream.index)
        if copy is None or not self._place(packet):
            return
        packet.stream = copy
        refused = (self._av.error.ArgumentError, self._av.error.InvalidDataError)
        with self._errors():
            try:
                self._output.mux(packet)
            except refused:  # such as a decreasing time; the next packets may be right
                self.uncopied += 1

    def _place(self, packet) -> bool:
        """Moves a packet to the output's time; returns whether it belongs there."""
        if is_cover(packet.stream):
            packet.pts = packet.dts = 0  # it has no time, but must be given one
            return True
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.pts is None:
            packet.pts = packet.dts
        if packet.pts is None:
            return False
        unit = self._clip.time_base / packet.time_base
        shift = round(self._origin * unit)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        if self._stretch is None:
            return True
        length = (self._stretch.end - self._origin) * unit
        end = packet.pts + (packet.duration or 0)
        if packet.pts >= length or (end <= 0 and packet.pts < 0):
            return False
        # Sound that reaches over the edge stays whole: a decoder needs it, and MP4 notes where to
        # begin. A subtitle or a time code is cut.
        if packet.stream.type != "audio":
            start = max(packet.pts, 0)
            packet.dts += start - packet.pts
            packet.pts, packet.duration = start, max(0, min(end, round(length)) - start)
        return True


def container_for(path: Path, quality: int | None = None) -> _Container:
    """Returns the format and the encoder that belong to an output's ending.

    Args:
      path: the output.
      quality: as `Writer`'s.

    Raises:
      UserError: an ending that is not written, or a quality that the encoder does not have.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise UserError(
            f"{path}: unknown ending for a restored video; expected one of {', '.join(CONTAINERS)}."
        )
    worst = _WORST_QUALITY[container.encoder]
    if quality is not None and not 0 <= quality <= worst:
        raise UserError(f"quality {quality}: expected 0 (best) to {worst} for {path.suffix}.")
    return container


def _pixel_format(clip: Clip, name: Path, encoder: str) -> str:
    chroma = clip.chroma
    if encoder == "libx264" and (clip.width % 2 or (clip.height % 2 and chroma == "420")):
        chroma = "444"
    if chroma != "420":
        reason = "so is its source" if chroma == clip.chroma else "its size is odd"
        logger.warning(
            "%s: is written as 4:%s:%s because %s; browsers and televisions may play 4:2:0 only.",
            name, chroma[1], chroma[2], reason,
        )  # fmt: skip
    return f"yuv{chroma}p"


def _can_hold(av, format_name: str, stream) -> bool:
    """Tries it, in memory, with this stream alone."""
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as container:
            copy = container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
            if stream.type == "data":  # some kinds fail only once there is something to note
                packet = av.Packet(bytes(4))
                packet.stream, packet.time_base = copy, stream.time_base
                packet.pts = packet.dts = 0
                container.mux(packet)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _describe(stream) -> str:
    context = stream.codec_context
    kind = context.name if context else stream.metadata.get("handler_name", "unknown")
    return f"{stream.type} stream {stream.index} ({kind})"


def _kept(metadata: dict[str, str], *more: str) -> dict[str, str]:
    keys = (*_KEPT_METADATA, *more)
    return {key: value for key, value in metadata.items() if key.lower() in keys}
