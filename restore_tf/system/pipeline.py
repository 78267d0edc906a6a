"""Reading, computing and writing at the same time, for many files one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from restore_tf.errors import UserError

Job = TypeVar("Job")


def run(
    jobs: Sequence[Job],
    read: Callable[[Job], Any],
    compute: Callable[[Any], Any],
    write: Callable[[Job, Any], None],
) -> Iterator[tuple[Job, UserError | None]]:
    """Does every job, and yields each when it is done or has failed, in order.

    While one job is computed, here, the next is read and the one before is written, by a thread
    each; so three are in memory at most. A `UserError` in any of the three ends its job alone.
    Other exceptions, and KeyboardInterrupt, end the run, after what is being written.

    Args:
      jobs: what is to be done.
      read: takes a job, returns what `compute` takes.
      compute: returns what is to be written.
      write: takes a job and what was computed for it.
    """
    if not jobs:
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        reading = reader.submit(read, jobs[0])
        writing: tuple[Job, Future] | None = None
        for job, following in zip(jobs, [*jobs[1:], None], strict=True):
            outcome, error = _attempt(reading.result)
            reading = reader.submit(read, following) if following is not None else None
            if error is None:
                outcome, error = _attempt(compute, outcome)
            if writing is not None:
                yield writing[0], _attempt(writing[1].result)[1]
            writing = (job, writer.submit(_finish, write, job, outcome, error))
            outcome = None  # the writer's alone, so that it can be freed
        yield writing[0], _attempt(writing[1].result)[1]


def _attempt(function, *arguments):
    """Returns (result, None), or (None, the UserError that it raised)."""
    try:
        return function(*arguments), None
    except UserError as error:
        return None, error


def _finish(write, job, outcome, error):
    if error is not None:
        raise error
    write(job, outcome)
