"""The number format that layers compute in."""

from __future__ import annotations

import contextlib

import keras


@contextlib.contextmanager
def computing_in(policy: str):
    """Within this context, new layers compute in a Keras dtype policy.

    Args:
      policy: such as "float32" or "mixed_bfloat16".
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
