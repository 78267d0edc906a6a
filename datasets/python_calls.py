"""Runs NumPy functions inside tf.data without blocking the process's exit.

When Python shuts down, it stops every other thread that needs the interpreter. An iterator that is
still alive then, as in a global variable, would wait for ever for the calls under way in its
threads. So at exit, before that, calls return zeros until no more come: the iterator's buffers are
full then.
"""

from __future__ import annotations

import atexit
import threading
import time

import numpy as np

_QUIET = 0.2  # seconds without a call after which no more are expected
_PATIENCE = 10.0  # seconds to wait for calls under way


class _Gate:
    """Counts the calls under way, and closes at exit."""

    def __init__(self):
        self._lock = threading.Lock()
        self._under_way = 0
        self._last = None
        self._open = True

    def enter(self) -> bool:
        """Counts a call as running; returns False where it is too late for a call."""
        with self._lock:
            if self._last is None:
                atexit.register(self.close)
            self._last = time.monotonic()
            self._under_way += self._open
            return self._open

    def leave(self) -> None:
        """Counts a call as finished."""
        with self._lock:
            self._under_way -= 1

    def close(self) -> None:
        """Refuses further calls, and waits until none runs and none has come for a moment."""
        self._open = False
        start = time.monotonic()
        while (now := time.monotonic()) < start + _PATIENCE:
            if not self._under_way and now > max(start, self._last) + _QUIET:
                return
            time.sleep(_QUIET / 10)


_gate = _Gate()


def python_call(function, inputs, specs):
    """Calls a NumPy function in the graph.

    Args:
      function: takes the inputs as arrays, returns a sequence of arrays. Pure, and called from many
        threads.
      inputs: tensors.
      specs: tf.TensorSpec of each result, with None for an unknown side.

    Returns:
      The results as tensors.
    """
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert  # it would slow every call
    def call(*arrays):
        if not _gate.enter():
            return [np.zeros([n or 1 for n in s.shape], s.dtype.as_numpy_dtype) for s in specs]
        try:
            return [np.ascontiguousarray(array) for array in function(*arrays)]
        finally:
            _gate.leave()

    results = tf.numpy_function(call, inputs, [spec.dtype for spec in specs], stateful=False)
    return [
        tf.ensure_shape(result, spec.shape) for result, spec in zip(results, specs, strict=True)
    ]
