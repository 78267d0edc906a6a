"""The package's one logger, "restore_tf".

Libraries that use this package configure it as any other; the commands call `show`. Warnings report
what the caller did not ask for and may not expect; information reports decisions.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

from tqdm import tqdm

from restore_tf.errors import one_line

logger = logging.getLogger("restore_tf")


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Lets each line of code log one message in the block: for messages that recur every frame."""
    seen = set()

    def is_new(record):
        place = (record.pathname, record.lineno)
        new = place not in seen
        seen.add(place)
        return new

    with _filtered(is_new):
        yield


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Yields a list that gets the warnings of this thread while it lasts, each once."""
    found: list[str] = []
    lines = _Collecting(found, threading.get_ident())
    logger.addHandler(lines)
    try:
        yield found
    finally:
        logger.removeHandler(lines)


def silent():
    """Returns a context in which nothing is logged: for trial runs on synthetic data."""
    return _filtered(lambda record: False)


@contextlib.contextmanager
def _filtered(lets_through):
    logger.addFilter(lets_through)
    try:
        yield
    finally:
        logger.removeFilter(lets_through)


def show() -> None:
    """Prints messages to standard error: "warning: …" for warnings, information as it is.

    The same warning is printed once: a file that is read in every epoch would otherwise be warned
    about in every epoch. Each call starts over.
    """
    lines = next((handler for handler in logger.handlers if isinstance(handler, _Lines)), None)
    if lines is None:
        lines = _Lines()
        logger.addHandler(lines)
    lines.warned.clear()
    logger.setLevel(logging.INFO)


class _Collecting(logging.Handler):
    """Keeps one thread's warnings."""

    def __init__(self, found, thread):
        super().__init__(logging.WARNING)
        self._found, self._thread = found, thread

    def emit(self, record):
        message = one_line(record.getMessage())
        if threading.get_ident() == self._thread and message not in self._found:
            self._found.append(message)


class _Lines(logging.Handler):
    """One line a message, printed around progress bars."""

    def __init__(self):
        super().__init__()
        self.warned = set()

    def emit(self, record):
        # Converters log by `logging.info`, which gives the root logger a handler: it would print
        # every message of ours once more.
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler and _is_foreign not in handler.filters:
                handler.addFilter(_is_foreign)
        message = one_line(record.getMessage())
        if record.levelno >= logging.WARNING:
            if message in self.warned:
                return
            self.warned.add(message)
            message = f"warning: {message}"
        # Standard error is looked up at every message: programs that capture it replace it.
        tqdm.write(message, file=sys.stderr)


def _is_foreign(record):
    return record.name != logger.name
