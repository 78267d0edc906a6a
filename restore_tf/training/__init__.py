"""The training loop and what it remembers; `restore_tf.training.train` is the way in.

Importing this imports neither TensorFlow nor Keras.
"""

import importlib

_HOMES = {"train": "loop", "engine_class": "loop"}

__all__ = ["engine_class", "train"]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return [*globals(), *__all__]
