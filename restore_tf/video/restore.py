"""Restoring video: a whole clip, a stretch of it, or stills out of it.

    restore_video("clip.mp4", "sharp.mp4", restore_pixels)
    frames_as_images("clip.mp4", "stills", restore_pixels, frames=parse_frames("10-20"))

`restore_pixels` takes and returns (height, width, 3) uint8 RGB; each frame is restored by itself.
See `clip` for colours and orientation, `writer` for times, sound and other streams.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from restore_tf.errors import UserError
from restore_tf.pictures import files, kinds
from restore_tf.pictures.pixels import scale_of
from restore_tf.system import disk, log, pipeline
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger
from restore_tf.system.record import Record
from restore_tf.system.signals import stop_signals
from restore_tf.video import clip as video_clip
from restore_tf.video import writer as video_writer
from restore_tf.video.clip import Clip
from restore_tf.video.reader import Frame, FrameRanges, Reader, Stretch, parse_frames
from restore_tf.video.writer import Writer

WAITING = 3  # frames decoded ahead, and restored frames waiting to be written
_SHORT = 0.25  # seconds missing at the end that are worth a warning

RestorePixels = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of restoring a video.

    Attributes:
      frames: written.
      seconds: it took.
      width: of a frame as seen, in pixels.
      height: of a frame as seen, in pixels.
      lost: frames that could not be decoded and are missing.
      damaged: frames whose holes the decoder filled by guessing.
      dropped: streams of the source that the output cannot hold.
    """

    frames: int
    seconds: float
    width: int
    height: int
    lost: int = 0
    damaged: int = 0
    dropped: tuple[str, ...] = ()

    @property
    def frames_per_second(self) -> float:
        """Frames written per second of work."""
        return self.frames / self.seconds


def restore_video(
    source: str | os.PathLike,
    output: str | os.PathLike,
    restore_pixels: RestorePixels,
    *,
    frames: FrameRanges | str | None = None,
    quality: int | None = None,
    scale: int = 1,
    progress: bool = True,
) -> Summary:
    """Restores a video, or a stretch of it, into a new file.

    Frames are decoded, restored and encoded one by one; the memory in use does not depend on the
    length. Written under a temporary name: an error, Ctrl-C or SIGTERM leaves no partial file, and
    `output` unchanged. A frame that cannot be decoded is left out, with a warning at the end; the
    others keep their times.

    Args:
      source: a video.
      output: .mp4, .mov, .m4v or .mkv (H.264) or .webm (VP9). Replaced if it exists.
      restore_pixels: (height, width, 3) uint8 to the same, `scale` times as large; called in this
        thread.
      frames: one range, such as "10-20" (see `reader.parse_frames`), or None for all; the output
        starts at time 0, with the sound of the same time.
      quality: the encoder's constant rate factor, 0 to 51 for H.264, 0 to 63 for VP9; smaller is
        better. None: no visible loss (16 and 18).
      scale: how many times as high and wide restored frames are.
      progress: show frames per second and the time left, on terminals only.

    Raises:
      UserError: no video, cut short, HDR, frames that do not exist, an output that cannot be
        written or has an unknown ending, a restore function that changes shape or type.
      KeyboardInterrupt: SIGINT or SIGTERM came.
    """
    source, output = Path(source), _checked_output(output, quality)
    clip = video_clip.probe(source)
    stretch = _one_stretch(clip, frames, output)
    started = time.perf_counter()
    with (
        stop_signals() as stop,
        atomic_path(output) as temporary,
        Reader(clip, stretch) as reader,
        Writer(temporary, output, larger(clip, scale), reader, stretch, quality) as writer,
    ):
        total = stretch.count if stretch else clip.frames or None
        count = _run(reader, restore_pixels, scale, writer.write, stop, total, progress)
        if not count:
            raise UserError(f"{source}: none of its frames can be decoded; it is damaged.")
    lost = reader.lost if stretch is None else stretch.count - count
    _warn_of_losses(clip, reader, lost, writer.uncopied)
    return Summary(
        frames=count,
        seconds=time.perf_counter() - started,
        width=scale * clip.upright_size[0],
        height=scale * clip.upright_size[1],
        lost=lost,
        damaged=reader.damaged,
        dropped=tuple(writer.dropped),
    )


def _checked_output(output, quality):
    video_writer.container_for(Path(output), quality)
    if Path(output).is_dir():
        raise UserError(f"{output}: is a folder; expected the name of a video to write.")
    return Path(output)


def frames_as_images(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    restore_pixels: RestorePixels,
    *,
    frames: FrameRanges | str | None = None,
    suffix: str = ".png",
    jpeg_quality: int = files.JPEG_QUALITY,
    overwrite: bool = False,
    record: Record | None = None,
    progress: bool = True,
) -> list[Path]:
    """Restores frames of a video into stills, named by frame number: clip_000010.png.

    Args:
      source: a video.
      folder: where to write; made if missing.
      restore_pixels: (height, width, 3) uint8 to the same, or a multiple as large; called in this
        thread.
      frames: which, such as "10-20,40" (see `reader.parse_frames`); all by default.
      suffix: the stills' ending, which decides their format.
      jpeg_quality: of JPEG and WebP, 1 to 100.
      overwrite: replace stills that an earlier call wrote and recorded.
      record: lists what this package wrote into the folder, or one above it; by default the
        folder's own.
      progress: show frames per second and the time left, on terminals only.

    Returns:
      The stills' paths. Frames that cannot be decoded are missing, with a warning.

    Raises:
      UserError: as `restore_video`; also an unknown suffix, or a still that exists and may not be
        replaced.
      KeyboardInterrupt: SIGINT or SIGTERM came. Finished stills stay.
    """
    source, folder = Path(source), Path(folder)
    _check_ending(suffix)
    clip = video_clip.probe(source)
    stretch = _stretch(clip, "0-" if frames is None else frames)

    def path(number: int) -> Path:
        return folder / f"{source.stem}_{number:06d}{suffix}"

    record = Record(folder) if record is None else record
    for number in itertools.chain.from_iterable(stretch.ranges):
        record.check_overwrite(path(number), overwrite)
    _say_aspect(clip)
    disk.make_folder(folder)
    written: list[Path] = []

    def write(frame: Frame) -> None:
        files.write_picture(path(frame.number), frame.pixels, jpeg_quality)
        record.add(path(frame.number))
        written.append(path(frame.number))

    with stop_signals() as stop, Reader(clip, stretch, with_others=False) as reader:
        _run(reader, restore_pixels, None, write, stop, stretch.count, progress)
    _warn_of_losses(clip, reader, stretch.count - len(written))
    return written


def _check_ending(suffix):
    if suffix.lower() not in kinds.PICTURES:
        raise UserError(
            f"{suffix}: unknown ending for stills; expected one of {', '.join(kinds.PICTURES)}."
        )


def _say_aspect(clip):
    if clip.aspect != 1:
        logger.warning(
            "%s: its pixels are not square (%s); stills keep them as stored.",
            clip.path,
            clip.aspect,
        )


def _stretch(clip: Clip, frames: FrameRanges | str | None) -> Stretch | None:
    """Returns the frames asked for, None for all of them, once it is sure that they are there."""
    if isinstance(frames, str):
        frames = parse_frames(frames)
    whole = video_clip.whole_frames(clip)
    stretch = None
    if frames is not None:
        times, end = video_clip.frame_times(clip)
        stretch = Stretch(frames.within(len(times), clip.path), times, end)
    if whole is not None and (stretch is None or stretch.ranges[-1].stop > whole[0]):
        raise UserError(
            f"{clip.path}: is cut short, only the first {whole[0]} of its {whole[1]} frames are "
            f"whole; copy it again, or restore those alone, as frames 0-{whole[0] - 1}."
        )
    return stretch


def _one_stretch(clip, frames, output):
    stretch = _stretch(clip, frames)
    if stretch is not None and len(stretch.ranges) > 1:
        raise UserError(
            f"{output}: a video takes one stretch of frames; give one, or save them as images."
        )
    return stretch


def _run(reader, restore_pixels, scale, write, stop, total, progress) -> int:
    """Restores all of a reader's frames; returns how many."""
    count = 0

    def work(item):
        nonlocal count
        if isinstance(item, Frame):
            item = item._replace(pixels=restored(restore_pixels, item, scale))
            count += 1
            bar.update()
        return item

    with (
        tqdm(total=total, unit="frame", disable=None if progress else True) as bar,
        log.once(),  # messages that would recur with every frame
    ):
        for _ in pipeline.overlap(reader, work, write, lambda: stop.requested, WAITING):
            pass
    if stop.requested:
        raise KeyboardInterrupt
    return count


def restored(restore_pixels: RestorePixels, frame: Frame, scale: int | None = 1) -> np.ndarray:
    """Returns a frame's restored pixels.

    Args:
      restore_pixels: (height, width, 3) uint8 to the same, or a multiple as large.
      frame: the degraded one.
      scale: the multiple that is expected; None for any.

    Returns:
      (height, width, 3) uint8, or that multiple as large.

    Raises:
      UserError: `restore_pixels` returned another size or type.
    """
    pixels = np.asarray(restore_pixels(frame.pixels))
    found = scale_of(pixels, frame.pixels) if pixels.ndim == 3 and pixels.shape[2] == 3 else 0
    if not found or found != (scale or found) or pixels.dtype != np.uint8:
        height, width, channels = frame.pixels.shape
        expected = ((scale or 1) * height, (scale or 1) * width, channels)
        raise UserError(
            f"frame {frame.number}: restored to shape {pixels.shape} and type {pixels.dtype}; "
            f"expected {expected} and uint8."
        )
    return pixels


def larger(clip: Clip, scale: int) -> Clip:
    """Returns a clip's description with its width and height multiplied.

    Args:
      clip: the source.
      scale: the factor, 1 or more.
    """
    return dataclasses.replace(clip, width=scale * clip.width, height=scale * clip.height)


def _warn_of_losses(clip, reader, lost, uncopied=0):
    losses = {
        "frames that could not be decoded and are missing": lost,
        "frames with holes that the decoder filled by guessing": reader.damaged,
        "packets of sound or subtitles that could not be copied": uncopied,
    }
    for what, count in losses.items():
        if count:
            logger.warning("%s: %s: %d.", clip.path, what, count)
    if reader.missing_seconds > _SHORT:
        logger.warning(
            "%s: ends %.1f s before the time that its header says; it is cut short.",
            clip.path, reader.missing_seconds,
        )  # fmt: skip
