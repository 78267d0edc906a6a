"""Measures the frames a second that this machine restores, and the time of each part."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.system import pipeline
from restore_tf.video import clip as video_clip
from restore_tf.video.clip import Clip
from restore_tf.video.reader import Frame, Reader
from restore_tf.video.restore import WAITING, RestorePixels, larger, restored
from restore_tf.video.writer import Writer

_FEWEST = 3  # frames that each part is measured on, however slow
_SAMPLE_BYTES = 2**27  # of frames held for the parts that need no decoding
_PARTS = ("decode", "restore", "encode", "pipeline")


def fps_report(
    source: str | os.PathLike,
    restore_pixels: RestorePixels,
    *,
    scale: int = 1,
    seconds: float = 10.0,
) -> dict[str, Any]:
    """Measures decoding, restoring and encoding alone, and all three overlapped, on a clip.

    Works on the clip's first frames, again and again if it is short. One frame is restored before
    anything is measured: the first call compiles. Writes only a temporary file.

    Args:
      source: a video.
      restore_pixels: (height, width, 3) uint8 to the same, `scale` times as large.
      scale: how many times as high and wide restored frames are.
      seconds: approximate total time of the measurement; a slow network takes longer, because
        each part is measured on at least 3 frames.

    Returns:
      "path", "width", "height", "clip_fps" (None if the file does not say), "speed" (the pipeline's
      rate over the clip's: 1 or more is real time; None without clip_fps), and for each of
      "decode", "restore", "encode" and "pipeline" a dictionary with "frames" (measured), "fps"
      (sustained frames per second), "median_ms" and "p95_ms" (latency of a frame, milliseconds;
      for the pipeline from decoded to handed to the encoder, waiting in line included). The ways
      from and to YUV are part of decoding and encoding.

    Raises:
      UserError: no video, cut short, HDR, a restore function that changes shape or type.
    """
    clip = video_clip.probe(source)
    sample = _sample(clip)
    work = functools.partial(_worked, restore_pixels, scale)
    output = larger(clip, scale)
    done = work(sample[0])
    share = seconds / len(_PARTS)
    width, height = clip.upright_size
    report: dict[str, Any] = {"path": str(source), "width": width, "height": height}
    report["decode"] = _timed(_decoded(clip), lambda frame: None, share)
    report["restore"] = _timed(itertools.cycle(sample), work, share)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "encoded.mkv")
        frames = itertools.cycle(sample if scale == 1 else [done])
        report["encode"] = _encoding(output, path, frames, share)
        report["pipeline"] = _pipeline(clip, output, path, work, share)
    report["clip_fps"] = float(clip.rate) if clip.rate else None
    report["speed"] = report["pipeline"]["fps"] / float(clip.rate) if clip.rate else None
    return report


def report_table(report: dict[str, Any]) -> str:
    """Formats a report as a table for people.

    Args:
      report: from `fps_report`.
    """
    lines = [
        f"{report['path']}: {report['width']}x{report['height']}",
        f"{'':10}{'frames/s':>10}{'median ms':>12}{'95% ms':>10}{'frames':>9}",
    ]
    for part in _PARTS:
        row = report[part]
        lines.append(
            f"{part:10}{row['fps']:10.2f}{row['median_ms']:12.1f}{row['p95_ms']:10.1f}"
            f"{row['frames']:9d}"
        )
    lines.append("Each part alone, then all overlapped; latency there includes waiting in line.")
    speed = report["speed"]
    if speed is None:
        lines.append("The file does not say its own rate.")
    elif speed >= 1:
        lines.append(f"Real time: {speed:.2f} times the clip's {report['clip_fps']:.2f} frames/s.")
    else:
        lines.append(
            f"{1 / speed:.1f} times slower than the clip's {report['clip_fps']:.2f} frames/s."
        )
    return "\n".join(lines)


def _decoded(clip: Clip) -> Iterator[Frame]:
    """The clip's frames, again and again, numbered and timed without a break."""
    numbers = itertools.count()
    while True:
        with Reader(clip, with_others=False) as reader:
            for frame in reader:
                number = next(numbers)
                yield frame._replace(number=number, time=clip.start + number * clip.frame_step)


def _sample(clip: Clip) -> list[Frame]:
    most = max(_FEWEST, min(32, _SAMPLE_BYTES // (3 * clip.width * clip.height)))
    with Reader(clip, with_others=False) as reader:
        return list(itertools.islice(reader, most))


def _timed(frames: Iterator[Frame], work: Callable[[Frame], Any], seconds: float) -> dict[str, Any]:
    """Measures getting and working on frames, one after another; the first is not counted."""
    work(next(frames))
    times = [time.perf_counter()]
    while len(times) <= _FEWEST or times[-1] - times[0] < seconds:
        work(next(frames))
        times.append(time.perf_counter())
    return _row(np.diff(times), times[-1] - times[0])


def _encoding(clip, path, frames, seconds) -> dict[str, Any]:
    start = time.perf_counter()
    durations: list[float] = []
    with Writer(path, path, clip) as writer:
        for number, frame in enumerate(frames):
            begin = time.perf_counter()
            writer.write(frame._replace(time=clip.start + number * clip.frame_step))
            durations.append(time.perf_counter() - begin)
            if len(durations) >= _FEWEST and time.perf_counter() - start >= seconds:
                break
    # What the encoder still held back when the last frame went in counts as well.
    return _row(durations, time.perf_counter() - start)


def _worked(restore_pixels, scale, frame):
    return frame._replace(pixels=restored(restore_pixels, frame, scale))


def _pipeline(clip, output, path, work, seconds) -> dict[str, Any]:
    decoded_at: dict[int, float] = {}
    latencies: list[float] = []

    def frames():
        for frame in _decoded(clip):
            decoded_at[frame.number] = time.perf_counter()
            yield frame

    def write(frame):
        writer.write(frame)
        latencies.append(time.perf_counter() - decoded_at.pop(frame.number))

    def stop():
        return len(latencies) >= _FEWEST and time.perf_counter() - start >= seconds

    start = time.perf_counter()
    with Writer(path, path, output) as writer:
        for _ in pipeline.overlap(frames(), work, write, stop, WAITING):
            pass
    return _row(latencies, time.perf_counter() - start)


def _row(latencies, seconds: float) -> dict[str, Any]:
    milliseconds = 1000 * np.asarray(latencies)
    return {
        "frames": len(milliseconds),
        "fps": len(milliseconds) / seconds,
        "median_ms": float(np.median(milliseconds)),
        "p95_ms": float(np.percentile(milliseconds, 95)),
    }
