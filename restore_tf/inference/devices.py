"""Free memory of the device that Keras computes on, and the out-of-memory errors of libraries.

Importing this module imports none of these libraries: one that is not imported has taken no
memory.
"""

from __future__ import annotations

import contextlib
import sys

_EXHAUSTED = "RESOURCE_EXHAUSTED"  # the status that JAX puts first in its errors' messages


def free_on_gpu() -> int | None:
    """Returns the bytes that the GPU has left for the network; None where a CPU computes.

    The first GPU of Keras' backend, which is the one that restores.
    """
    if "keras" not in sys.modules:
        return None
    backend = sys.modules["keras"].backend.backend()
    return {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}.get(backend, lambda: None)()


def _tensorflow():
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return None
    from tensorflow.python.client import device_lib  # public functions give the used memory only

    limit = next(
        device.memory_limit
        for device in device_lib.list_local_devices()
        if device.name.endswith("/device:GPU:0")
    )
    return max(limit - tf.config.experimental.get_memory_info("GPU:0")["current"], 0)


def _torch():
    import torch

    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    # PyTorch first uses memory that it has reserved.
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def _jax():
    import jax

    device = jax.local_devices()[0]
    numbers = device.memory_stats() if device.platform == "gpu" else None
    return numbers and max(numbers["bytes_limit"] - numbers["bytes_in_use"], 0)


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception of Python, TensorFlow, PyTorch or JAX means out of memory.

    Args:
      error: the exception.
    """
    kinds = [MemoryError]
    with contextlib.suppress(KeyError, AttributeError):
        kinds.append(sys.modules["tensorflow"].errors.ResourceExhaustedError)
    with contextlib.suppress(KeyError, AttributeError):
        kinds.append(sys.modules["torch"].OutOfMemoryError)
    if isinstance(error, tuple(kinds)):
        return True
    try:
        of_jax = sys.modules["jax"].errors.JaxRuntimeError
    except (KeyError, AttributeError):
        return False
    # One type for every status.
    return isinstance(error, of_jax) and str(error).startswith(_EXHAUSTED)
