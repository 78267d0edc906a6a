"""Opening video files, by PyAV (the extra `video`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError

# A file must not make FFmpeg open other files or addresses, as a playlist named clip.mp4 would.
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv",
}


def import_av(path: str | os.PathLike):
    """Returns the module `av` (PyAV).

    Args:
      path: the video, named in the error.

    Raises:
      UserError: PyAV is not installed; says how to install it.
    """
    try:
        import av
    except ImportError:
        raise UserError(
            f"{path}: reading a video needs PyAV; pip install 'restore_tf[video]'."
        ) from None
    return av


@contextlib.contextmanager
def open_clip(path: Path) -> Iterator[Any]:
    """Opens a video for reading; yields PyAV's container.

    Args:
      path: the file.

    Raises:
      UserError: no such file, no PyAV, or an error of FFmpeg here or inside the block.
    """
    av = import_av(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a video.")
    try:
        with av.open(
            f"file:{path}", container_options=_OPEN_OPTIONS, metadata_errors="replace"
        ) as container:
            yield container
    except av.error.FFmpegError as error:
        raise UserError(
            f"{path}: cannot be read as a video ({error.strerror}); it is cut short, damaged or "
            "no video. Copy or convert it again."
        ) from None


def video_stream(container, path: Path):
    """Returns a container's first video stream that is not a cover picture; enables threads.

    Args:
      container: from `open_clip`.
      path: the file, named in errors.

    Raises:
      UserError: no video in it, or no decoder for it.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        raise UserError(f"{path}: no video found in it; expected a whole video file.")
    if streams[0].codec_context is None:
        raise UserError(f"{path}: no decoder for its video; convert it to H.264 first.")
    streams[0].thread_type = "AUTO"
    return streams[0]


def is_cover(stream) -> bool:
    """Whether a stream is an attached picture, such as an album's cover.

    Args:
      stream: a PyAV stream.
    """
    return bool(stream.disposition & type(stream.disposition).attached_pic)
