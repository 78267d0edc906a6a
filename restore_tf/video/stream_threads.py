"""The two threads of `stream`: one reads raw frames, one writes them."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque

import numpy as np

from restore_tf.errors import UserError

_POLL = 0.1  # seconds after which a waiting thread looks whether it shall stop
_GRACE = 2.0  # seconds that the output's reader has to take the last frame after a signal


class OutputClosed(UserError):
    """The reader of the output closed it."""

    exit_code = 141  # what shells report for SIGPIPE


class Latencies:
    """Percentiles of any number of durations in fixed memory: counts of 1 % wide bins."""

    _LEAST, _WIDTH, _BINS = 1e-6, np.log(1.01), 2400  # up to 2e4 seconds

    def __init__(self):
        self._counts = np.zeros(self._BINS, np.int64)

    def add(self, seconds: float) -> None:
        """Counts one duration.

        Args:
          seconds: the duration; 1e-6 at least.
        """
        place = np.log(max(seconds, self._LEAST) / self._LEAST) / self._WIDTH
        self._counts[min(int(place), self._BINS - 1)] += 1

    def percentile(self, percent: float) -> float:
        """Returns a percentile of the durations, in seconds; 0 without any.

        Args:
          percent: 0 to 100.
        """
        total = self._counts.sum()
        if not total:
            return 0.0
        wanted = max(1, np.ceil(total * percent / 100))
        place = int(np.searchsorted(np.cumsum(self._counts), wanted))
        return float(self._LEAST * np.exp((place + 0.5) * self._WIDTH))


class FrameReader:
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
        """Yields (bytes, when the frame was complete) until the source ends or a stop is requested.

        A frame's buffer is valid until the next frame is requested.

        Args:
          stop: a `system.signals.StopRequest`.

        Raises:
          UserError: the source cannot be read.
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


class FrameWriter:
    """A thread that writes one frame at a time, so that signals are noticed while a pipe is full.

    Attributes:
      count: frames written.
      lost: frames that the output's reader did not take in time after a signal.
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
        # Not for ever: a reader may never take the frame that is being written.
        self._thread.join(0 if self._given_up else _GRACE)

    def write(self, frame, arrived):
        """Hands over a frame once the one before is written.

        Args:
          frame: (bytes,) uint8; kept until it is written.
          arrived: when it was complete, by `time.perf_counter`.

        Raises:
          OutputClosed: the output's reader closed it.
          UserError: the output cannot be written.
        """
        if not self.wait():
            self.lost += 1
            return
        with self._changed:
            self._job = (frame, arrived)
            self._changed.notify_all()

    def wait(self) -> bool:
        """Waits until nothing is left to write.

        Returns:
          False if that took too long after a signal.

        Raises:
          OutputClosed: the reader of the output is gone.
          UserError: the output cannot be written.
        """
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
