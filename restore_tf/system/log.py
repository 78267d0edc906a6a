"""The package's one logger, "restore_tf".

Libraries that use this package configure it as any other; the commands call `show`. Warnings are
for what the caller did not ask for and may not expect; information is what was decided on the way.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from tqdm import tqdm

logger = logging.getLogger("restore_tf")


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Lets each line of code log one message while it lasts: for what recurs with every frame."""
    seen = set()

    def is_new(record):
        place = (record.pathname, record.lineno)
        new = place not in seen
        seen.add(place)
        return new

    with _filtered(is_new):
        yield


def silent():
    """Returns a context in which nothing is logged: for a trial run on made-up data."""
    return _filtered(lambda record: False)


@contextlib.contextmanager
def _filtered(lets_through):
    logger.addFilter(lets_through)
    try:
        yield
    finally:
        logger.removeFilter(lets_through)


def show() -> None:
    """Prints messages to standard error: "warning: …" for warnings, information as it is."""
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)


class _Lines(logging.Handler):
    """One line a message, printed around progress bars."""

    def emit(self, record):
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        # Standard error is looked up at every message: whoever captures it replaces it.
        tqdm.write(f"{prefix}{record.getMessage()}", file=sys.stderr)
