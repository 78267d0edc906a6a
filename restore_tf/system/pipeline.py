"""Overlaps reading, computing and writing of many items in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from restore_tf.errors import UserError

Job = TypeVar("Job")


def overlap(
    items: Iterable[Any],
    work: Callable[[Any], Any],
    write: Callable[[Any], Any],
    stop: Callable[[], bool] = lambda: False,
    waiting: int = 1,
) -> Iterator[Any]:
    """Runs `work` here while one thread makes the next items and another writes the results.

    An exception in any of the three is raised here, after the threads have ended and pending
    results are written.

    Args:
      items: iterated over in a thread.
      work: takes an item, returns the result to write.
      write: takes a result; called in another thread, in the items' order.
      stop: called before each item; true ends the work early.
      waiting: the most items made ahead, and the most results waiting to be written.

    Yields:
      The values that `write` returned.
    """
    end, source = object(), iter(items)
    making, writing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    try:
        made = deque(making.submit(next, source, end) for _ in range(waiting))
        written: deque[Future] = deque()
        while not stop() and (item := made.popleft().result()) is not end:
            made.append(making.submit(next, source, end))
            written.append(writing.submit(write, work(item)))
            del item  # it would be kept alive while the next one is awaited
            if len(written) > waiting:
                yield written.popleft().result()
        while written:
            yield written.popleft().result()
    finally:
        making.shutdown(cancel_futures=True)
        writing.shutdown()


def process_jobs(
    jobs: Iterable[Job],
    read: Callable[[Job], Any],
    compute: Callable[[Job, Any], Any],
    write: Callable[[Job, Any], None],
) -> Iterator[tuple[Job, UserError | None]]:
    """Reads, computes and writes every job, overlapped, in order.

    At most three jobs are in memory: one being read, one computed, one written. A `UserError` in
    any of the three ends its job alone. Other exceptions, and KeyboardInterrupt, end the loop after
    pending writes.

    Args:
      jobs: passed to the three functions.
      read: takes a job, returns its input.
      compute: takes a job and its input; returns its result.
      write: takes a job and its result.

    Yields:
      (job, None) when it is written, or (job, the UserError that ended it).
    """

    def reading():
        for job in jobs:
            yield job, *_attempt(read, job)

    def work(item):
        job, outcome, error = item
        return (job, *_attempt(compute, job, outcome)) if error is None else item

    def finish(item):
        job, outcome, error = item
        return job, _attempt(write, job, outcome)[1] if error is None else error

    return overlap(reading(), work, finish)


def _attempt(function, *arguments):
    """Returns (result, None), or (None, the UserError that it raised)."""
    try:
        return function(*arguments), None
    except UserError as error:
        return None, error
