"""Restores a stream of raw frames: for displays, cameras and pipes.

    model, form = LiteModel("srn.tflite"), FrameFormat(720, 1280)
    summary = stream.restore_stream(model, 0, 1, form, live=True)

One thread reads, one restores, one writes. A live source does not wait: where restoring cannot
keep up, the newest frame is restored and older ones are dropped, so that the delay stays at about
one frame. Memory is fixed: the frames' buffers are allocated once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from restore_tf.system import log
from restore_tf.system.signals import stop_signals
from restore_tf.video.raw_frames import FrameFormat, FrameRestorer
from restore_tf.video.stream_threads import FrameReader, FrameWriter, Latencies, OutputClosed

__all__ = ["OutputClosed", "Summary", "restore_stream"]

_REPORT = 2.0  # seconds between reports


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts and times of a stream.

    Attributes:
      frames: complete frames read; always `written` + `dropped`.
      written: frames written.
      dropped: frames that newer ones replaced, or that were left when a signal ended the stream.
      seconds: from the first frame in to the last one out.
      latency: from a frame's last byte in to its last byte out, in seconds, at 50, 90 and 99
        percent of the frames.
      restoring: the median of the restoring alone, in seconds.
      left_over: bytes of an incomplete last frame.
      signal: the signal that ended it, None at the stream's own end.
    """

    frames: int
    written: int
    dropped: int
    seconds: float
    latency: tuple[float, float, float]
    restoring: float
    left_over: int = 0
    signal: int | None = None

    def __str__(self):
        p50, p90, p99 = (f"{1e3 * seconds:.1f}" for seconds in self.latency)
        rate = self.written / self.seconds if self.seconds else 0.0
        return (
            f"{self.frames} frames in, {self.written} out, {self.dropped} dropped; "
            f"{rate:.1f} frames/s; latency p50 {p50}, p90 {p90}, p99 {p99} ms "
            f"(restoring {1e3 * self.restoring:.1f})"
        )


def restore_stream(
    model,
    source: int,
    sink: int,
    form: FrameFormat,
    *,
    live: bool,
    fps: float | None = None,
    queue: int = 1,
    strength: float = 1.0,
    report: Callable[[Summary], None] = lambda summary: None,
) -> Summary:
    """Restores frames from one file descriptor to another until the first one ends.

    SIGINT and SIGTERM end it after the frame at work, if this is the main thread.

    Args:
      model: a `restore_tf.inference.tflite_model.LiteModel`.
      source: where frames are read; a pipe, a file or a device.
      sink: where restored frames are written.
      form: the frames' format.
      live: drop frames when restoring cannot keep up; otherwise the source waits.
      fps: frames read a second, so that a file plays like a camera; None reads as fast as it can.
      queue: complete frames that may wait, 1 or more; more of them mean fewer gaps and more delay.
      strength: 1 for restored frames, 0 for frames as they are, a mix of both between.
      report: called with the summary so far, every two seconds.

    Raises:
      OutputClosed: the output's reader closed it.
      UserError: reading or writing fails, or a strength outside [0, 1].
    """
    restore = FrameRestorer(model, form, strength)
    frames = [np.zeros(form.bytes, np.uint8) for _ in range(2)]
    restore.warm_up(*frames)
    restoring, reported = Latencies(), time.monotonic()
    with (
        log.once(),  # messages that would recur with every frame
        stop_signals() as stop,
        FrameWriter(sink, stop) as writer,
        FrameReader(source, form, live, fps, queue) as reader,
    ):

        def summary():
            return _summary(reader, writer, restoring, stop)

        for number, (frame, arrived) in enumerate(reader.frames(stop)):
            begin = time.perf_counter()
            restored = frames[number % 2]
            restore(frame, restored)
            restoring.add(time.perf_counter() - begin)
            writer.write(restored, arrived)
            if live:  # the next frame is to be the newest once it can be written
                writer.wait()
            if time.monotonic() - reported > _REPORT:
                reported = time.monotonic()
                report(summary())
        writer.wait()
    return summary()


def _summary(reader, writer, restoring, stop):
    return Summary(
        frames=reader.count,
        written=writer.count,
        dropped=reader.dropped + writer.lost,
        seconds=max(0.0, writer.last - reader.first) if writer.count else 0.0,
        latency=tuple(writer.latencies.percentile(percent) for percent in (50, 90, 99)),
        restoring=restoring.percentile(50),
        left_over=reader.left_over,
        signal=stop.number,
    )
