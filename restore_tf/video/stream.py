"""Restoring raw frames as they come: for displays, cameras and pipes.

    summary = stream.run(LiteModel("srn.tflite"), 0, 1, FrameFormat(720, 1280), live=True)

One thread reads, one restores, one writes. A live source does not wait: where restoring cannot
keep up, the newest frame is taken and older ones are dropped, so that what is shown is as late as
one frame takes and never later. Memory is fixed: the frames' buffers are made once.
"""

from __future__ import annotations

import dataclasses
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system import log
from restore_tf.system.signals import stop_signals
from restore_tf.video.raw_frames import FrameFormat, FrameRestorer

_POLL = 0.1  # seconds after which a waiting thread looks whether it shall stop
_GRACE = 2.0  # seconds that a reader of ours has to take the last frame after a signal
_REPORT = 2.0  # seconds between reports


class OutputClosed(UserError):
    """Who read our output went away."""

    exit_code = 141  # what shells report for SIGPIPE


class Latencies:
    """Percentiles of any number of durations in fixed memory: counts of 1 % wide bins."""

    _LEAST, _WIDTH, _BINS = 1e-6, np.log(1.01), 2400  # up to 2e4 seconds

    def __init__(self):
        self._counts = np.zeros(self._BINS, np.int64)

    def add(self, seconds: float) -> None:
        """Counts one."""
        place = np.log(max(seconds, self._LEAST) / self._LEAST) / self._WIDTH
        self._counts[min(int(place), self._BINS - 1)] += 1

    def percentile(self, percent: float) -> float:
        """Returns the duration, in seconds, that so many percent do not exceed; 0 without any."""
        total = self._counts.sum()
        if not total:
            return 0.0
        wanted = max(1, np.ceil(total * percent / 100))
        place = int(np.searchsorted(np.cumsum(self._counts), wanted))
        return float(self._LEAST * np.exp((place + 0.5) * self._WIDTH))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
      frames: that came in whole; always `written` + `dropped`.
      written: frames that went out.
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


def run(
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
      form: what frames are.
      live: drop frames when restoring cannot keep up; otherwise the source waits.
      fps: read so many frames a second, to have a file play like a camera.
      queue: whole frames that may wait; more of them make for fewer gaps and more delay.
      strength: 1 for restored frames, 0 for frames as they are, a mix of both between.
      report: told every two seconds how things stand.

    Raises:
      OutputClosed: nobody reads the output any more.
      UserError: reading or writing fails, or a strength outside [0, 1].
    """
    restore = FrameRestorer(model, form, strength)
    frames = [np.zeros(form.bytes, np.uint8) for _ in range(2)]
    restore.warm_up(*frames)
    restoring, reported = Latencies(), time.monotonic()
    with (
        log.once(),  # what is true of every frame
        stop_signals() as stop,
        _Writer(sink, stop) as writer,
        _Reader(source, form, live, fps, queue) as reader,
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


class _Reader:
    """A thread that reads frames into a fixed set of buffers.

    Attributes:
      count: whole frames read.
      dropped: frames that were not handed out.
      left_over: bytes read of an incomplete last frame.
      first: when the first frame was whole, by `time.perf_counter`.
    """

    def __init__(self, source, form, live, fps, queue):
        self.count = self.dropped = self.left_over = 0
        self.first = 0.0
        self._source, self._form = source, form
        self._live, self._pause, self._queue = live, 1 / fps if fps else 0.0, queue
        # One is being filled and one is at work, beside those that wait.
        self._free = deque(np.empty(form.bytes, np.uint8) for _ in range(queue + 2))
        self._ready = deque()
        self._changed = threading.Condition()
        self._ended, self._error = False, None
        self._wake = os.pipe()  # written to when the thread is to end
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="frames in", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._closing.set()
        os.write(self._wake[1], b"x")
        with self._changed:
            self.dropped += len(self._ready)
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join()
        for end in self._wake:
            os.close(end)

    def frames(self, stop):
        """Yields (bytes, when they were whole) until the source ends or `stop` is requested.

        The bytes stay as they are until the next one is asked for.
        """
        while True:
            with self._changed:
                while not (self._ready or self._ended or stop.requested):
                    self._changed.wait(_POLL)
                if stop.requested or not self._ready:
                    break
                frame, arrived = self._ready.popleft()
            yield frame, arrived
            with self._changed:
                self._free.append(frame)
                self._changed.notify_all()
        if self._error is not None:
            raise UserError(f"the input: cannot be read ({self._error.strerror}).")

    def _work(self):
        poll = select.poll()
        for file in (self._source, self._wake[0]):
            poll.register(file, select.POLLIN)
        try:
            while (frame := self._buffer()) is not None and self._fill(frame, poll):
                self._hand_over(frame)
        except OSError as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _buffer(self):
        """An unused buffer; None when it is time to end."""
        with self._changed:
            while not self._free and not self._closing.is_set():
                self._changed.wait(_POLL)
            return None if self._closing.is_set() else self._free.popleft()

    def _fill(self, frame, poll):
        """Reads one frame; whether it came whole."""
        view, filled = memoryview(frame), 0
        while filled < len(view):
            if self._wake[0] in dict(poll.poll()):
                return False
            # Not through a file object: at exit, a thread that waits in one brings Python down.
            count = os.readv(self._source, [view[filled:]])
            if not count:
                self.left_over = filled
                return False
            filled += count
        if self._pause and self.count:
            due = self.first + self.count * self._pause
            return not self._closing.wait(max(0.0, due - time.perf_counter()))
        return True

    def _hand_over(self, frame):
        now = time.perf_counter()
        with self._changed:
            self.first = self.first or now
            self.count += 1
            self._ready.append((frame, now))
            if self._closing.is_set():
                self.dropped += len(self._ready)
                self._ready.clear()
            while self._live and len(self._ready) > self._queue:
                self._free.append(self._ready.popleft()[0])
                self.dropped += 1
            self._changed.notify_all()


class _Writer:
    """A thread that writes one frame at a time, so that a signal is heard while a pipe is full.

    Attributes:
      count: frames written.
      lost: frames that nobody took in time after a signal.
      last: when the last one was written, by `time.perf_counter`.
      latencies: from each frame's arrival to its last byte out.
    """

    def __init__(self, sink, stop):
        self.count, self.lost, self.last = 0, 0, 0.0
        self.latencies = Latencies()
        self._sink, self._stop = sink, stop
        self._job, self._error = None, None
        self._closed = self._given_up = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="frames out", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Not for ever: who shall take what is being written may never come.
        self._thread.join(0 if self._given_up else _GRACE)

    def write(self, frame, arrived):
        """Hands over a frame once the one before is written."""
        if not self.wait():
            self.lost += 1
            return
        with self._changed:
            self._job = (frame, arrived)
            self._changed.notify_all()

    def wait(self) -> bool:
        """Waits until nothing is left to write; False if that took too long after a signal."""
        deadline = None
        with self._changed:
            while self._job is not None and not self._given_up:
                if self._stop.requested:
                    deadline = deadline or time.monotonic() + _GRACE
                    if time.monotonic() > deadline:
                        self._given_up = True
                        self.lost += 1
                self._changed.wait(_POLL)
        if isinstance(self._error, BrokenPipeError):
            raise OutputClosed(f"the output: closed by its reader after {self.count} frames.")
        if self._error is not None:
            raise UserError(f"the output: cannot be written ({self._error.strerror}).")
        return not self._given_up

    def _work(self):
        while (job := self._next()) is not None:
            frame, arrived = job
            try:
                view = memoryview(frame)
                while len(view):
                    view = view[os.write(self._sink, view) :]
            except OSError as error:
                self._error = error
            with self._changed:
                if self._error is None and not self._given_up:
                    self.count += 1
                    self.last = time.perf_counter()
                    self.latencies.add(self.last - arrived)
                self._job = None
                self._changed.notify_all()

    def _next(self):
        with self._changed:
            while self._job is None and not self._closed:
                self._changed.wait()
            return self._job
