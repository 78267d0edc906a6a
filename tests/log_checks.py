"""What the package's logger says, for tests: as `pytest.warns` has it for Python's warnings."""

import contextlib
import logging
import re

from restore_tf.system.log import logger


class _Collector(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.records = []

    def emit(self, record):
        self.records.append(record)


@contextlib.contextmanager
def _collected():
    handler = _Collector()
    logger.addHandler(handler)
    try:
        yield handler.records
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def warns(match=""):
    """Fails unless the block logs a warning in which the pattern is found."""
    with _collected() as records:
        yield records
    for record in records:
        record.expected = True
    messages = [record.getMessage() for record in records]
    assert any(re.search(match, message) for message in messages), (match, messages)


@contextlib.contextmanager
def no_other_warnings():
    """Fails if the block logs a warning outside of `warns`."""
    with _collected() as records:
        yield
    unexpected = [r.getMessage() for r in records if not getattr(r, "expected", False)]
    assert not unexpected, unexpected
