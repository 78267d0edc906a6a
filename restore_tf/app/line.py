"""The queue: a bounded number of requests in front of a few computing threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from restore_tf.app.refusals import Busy, Cancelled, Stopping


class Line:
    """The queue. A request takes a place before its body is read, which bounds their number."""

    def __init__(self, queue: int, concurrency: int):
        """Makes an empty queue.

        Args:
          queue: the number of requests that may wait, besides the running ones.
          concurrency: computations at the same time.
        """
        self._most = queue + concurrency
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="restore")
        self._places: list[Place] = []
        self._changed = threading.Condition()
        self._closed = False

    def enter(self) -> Place:
        """Takes a place; `Place.leave` gives it back.

        Raises:
          Busy: no place is free.
          Stopping: `close` was called.
        """
        with self._changed:
            if self._closed:
                raise Stopping("the server is stopping; ask again later.")
            if len(self._places) >= self._most:
                raise Busy(f"{len(self._places)} pictures are already in the queue; try later.")
            place = Place(self, self._pool)
            self._places.append(place)
            return place

    def ahead(self, place: Place) -> int:
        """Returns how many places were taken before a place.

        Args:
          place: of this line.
        """
        with self._changed:
            return self._places.index(place) if place in self._places else 0

    def _remove(self, place):
        with self._changed:
            if place in self._places:
                self._places.remove(place)
                self._changed.notify_all()

    @property
    def taken(self) -> int:
        """The number of taken places."""
        return len(self._places)

    @property
    def computing(self) -> int:
        """The number of running computations."""
        with self._changed:
            return sum(place.running for place in self._places)

    @property
    def closed(self) -> bool:
        """Whether new requests are refused."""
        return self._closed

    def close(self) -> None:
        """Refuses new and waiting requests, and returns when running ones have ended."""
        with self._changed:
            self._closed = True
            for place in self._places:
                if not place.running:
                    place.cancel()
            self._changed.wait_for(lambda: not self._places)
        self._pool.shutdown()


class Place:
    """One request's place in the line.

    Attributes:
      running: whether its work is computed now.
      done: finished pixels, or frames of a clip.
      total: pixels or frames of the whole work; 0 until known.
      started: `time.monotonic()` when the computation began, None before.
      expected: estimated seconds of the whole work, from earlier pictures; None if unknown.
    """

    def __init__(self, line: Line, pool: ThreadPoolExecutor):
        self._line, self._pool = line, pool
        self._cancelled = threading.Event()
        self._future: Future | None = None
        self.running, self.started, self.done, self.total = False, None, 0, 0
        self.expected: float | None = None

    def submit(self, work: Callable[[Place], Any]) -> Future:
        """Queues work, which runs when it is this place's turn.

        Args:
          work: a function of this place.

        Returns:
          The future of its result. It raises `Cancelled` if the place is cancelled.

        Raises:
          Cancelled: the place was cancelled already.
        """
        self.check()
        self._future = self._pool.submit(self._run, work)
        self._future.add_done_callback(lambda _: self._release())
        return self._future

    def _run(self, work):
        self.running, self.started = True, time.monotonic()
        try:
            self.check()
            return work(self)
        finally:
            self.running = False

    def progress(self, done: int, total: int) -> None:
        """Records the progress of the work.

        Args:
          done: finished pixels, or frames of a clip.
          total: pixels or frames of the whole work.

        Raises:
          Cancelled: the place was cancelled.
        """
        self.done, self.total = done, total
        self.check()

    def check(self) -> None:
        """Raises if the place was cancelled.

        Raises:
          Cancelled: it was.
        """
        if self._cancelled.is_set():
            raise Cancelled

    @property
    def cancelled(self) -> bool:
        """Whether the place was cancelled."""
        return self._cancelled.is_set()

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the computation ends; None if unknown."""
        if self.started is None:
            return None
        gone = time.monotonic() - self.started
        if self.done and self.total:
            return gone * (self.total - self.done) / self.done
        return None if self.expected is None else max(0.0, self.expected - gone)

    @property
    def ahead(self) -> int:
        """The number of unfinished requests before this one."""
        return self._line.ahead(self)

    def cancel(self) -> None:
        """Stops the work at its next step, or before it begins."""
        self._cancelled.set()
        if self._future is not None:
            self._future.cancel()

    def leave(self) -> None:
        """Gives the place back, and cancels its work if that is not finished."""
        if self._future is None or self._future.done():
            self._release()
        else:
            self.cancel()

    def _release(self):
        self._line._remove(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()
