"""Signals that end long work at the next good moment."""

from __future__ import annotations

import contextlib
import signal


class StopRequest:
    """Whether a signal asked for an end.

    Attributes:
      requested: turns true at the signal.
      number: the signal's; None before.
    """

    requested = False
    number: int | None = None


@contextlib.contextmanager
def stop_signals():
    """Turns SIGINT and SIGTERM into a `StopRequest` while the context lasts."""
    stop = StopRequest()

    def request(number, frame):
        stop.requested, stop.number = True, number

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        previous = [signal.signal(number, request) for number in numbers]
    except ValueError:  # not the main thread: the caller handles signals
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""


@contextlib.contextmanager
def interruptible():
    """Lets SIGTERM end the work as Ctrl-C does while the context lasts: no partial files stay."""

    def end(number, frame):
        raise Terminated

    try:
        previous = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: the caller handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
