"""Reading, computing and writing overlap; one failure costs one job."""

import threading

import pytest

from restore_tf.errors import UserError
from restore_tf.system import pipeline


def test_order_results_and_failures():
    written = []

    def read(job):
        if job == 2:
            raise UserError("2: broken")
        return job * 10

    def compute(job, value):
        if value == 40:
            raise UserError("4: too much")
        return value + 1

    def write(job, value):
        if job == 5:
            raise UserError("5: disk full")
        written.append((job, value))

    outcomes = list(pipeline.process_jobs([1, 2, 3, 4, 5, 6], read, compute, write))
    assert [job for job, _ in outcomes] == [1, 2, 3, 4, 5, 6]
    failures = {job: str(error) for job, error in outcomes if error is not None}
    assert failures == {2: "2: broken", 4: "4: too much", 5: "5: disk full"}
    assert written == [(1, 11), (3, 31), (6, 61)]
    assert list(pipeline.process_jobs([], read, compute, write)) == []


def test_the_three_overlap():
    """Each waits for the others: one after the other, this would never end."""
    reading, writing = {n: threading.Event() for n in range(4)}, threading.Event()

    def read(job):
        reading[job].set()
        return job

    def compute(job, value):
        if job < 3:
            assert reading[job + 1].wait(30)  # the next is read meanwhile
        if job == 1:
            assert writing.wait(30)  # the one before is written meanwhile
        return job

    def write(job, result):
        writing.set()

    assert len(list(pipeline.process_jobs(range(4), read, compute, write))) == 4


def test_no_more_than_three_in_memory():
    lock, alive, most = threading.Lock(), set(), []

    def read(job):
        with lock:
            alive.add(job)
            most.append(len(alive))
        return job

    def write(job, result):
        with lock:
            alive.remove(job)

    list(pipeline.process_jobs(range(50), read, lambda job, value: value, write))
    assert max(most) <= 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_other_exceptions_end_the_run_after_what_is_being_written(error):
    written, threads = [], threading.active_count()

    def compute(job, value):
        if job == 2:
            raise error
        return job

    with pytest.raises(error):
        list(
            pipeline.process_jobs(
                range(9), lambda job: job, compute, lambda job, _: written.append(job)
            )
        )
    assert written == [0, 1]
    assert threading.active_count() == threads


def test_overlapped_work_keeps_order_and_raises_what_goes_wrong():
    written = []
    results = list(pipeline.overlap(range(20), lambda item: item * 2, written.append, waiting=3))
    assert written == list(range(0, 40, 2))
    assert results == [None] * 20

    def broken_items():
        yield 1
        raise OSError("unreadable")

    def fail(item):
        raise ZeroDivisionError

    with pytest.raises(OSError, match="unreadable"):
        list(pipeline.overlap(broken_items(), str, written.append))
    with pytest.raises(ZeroDivisionError):
        list(pipeline.overlap(range(20), str, fail))
    with pytest.raises(ZeroDivisionError):
        list(pipeline.overlap(range(20), fail, str))
    started = []
    stop = pipeline.overlap(range(20), started.append, str, lambda: len(started) == 4)
    assert len(list(stop)) == 4
    assert started == [0, 1, 2, 3]
