"""Loads the versions of a SavedModel and runs their signatures within limits.

Part of the stand-in server: it loads `DIR/<number>/saved_model.pb` as TensorFlow Serving does. The
requests it takes name a model, a version and a signature; none of them becomes a path.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.serving.statuses import NAMES, StatusError

DEFAULT_SIGNATURE = "serving_default"
# Lines that TensorFlow puts around the reason: the place in the graph, and Python's stack.
_AROUND = re.compile(
    r"Graph execution error:|Detected at node|<?stack trace|\d+ root error|\[\[", re.I
)
_LONGEST_MESSAGE = 1000  # characters; gRPC carries messages in headers of 8 KiB


@dataclasses.dataclass(frozen=True)
class Version:
    """One loaded version.

    Attributes:
      number: its folder's name.
      loaded: from `tf.saved_model.load`.
      definitions: {signature name: `SignatureDef`} of the file.
    """

    number: int
    loaded: Any
    definitions: Mapping[str, Any]

    def definition(self, signature: str):
        """Returns a signature's `SignatureDef`.

        Args:
          signature: its name.

        Raises:
          StatusError: there is none of that name.
        """
        if signature not in self.definitions:
            known = ", ".join(sorted(self.definitions))
            raise StatusError(
                "FAILED_PRECONDITION",
                f'Serving signature key "{signature}" not found; there are {known}',
            )
        return self.definitions[signature]

    def run_signature(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs a signature on arrays.

        Args:
          signature: its name.
          inputs: {name: array}, which `check` accepts.

        Returns:
          {name: array} of its outputs.
        """
        import tensorflow as tf

        call = self.loaded.signatures[signature]
        outputs = call(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    def check(self, signature: str, inputs: Mapping[str, np.ndarray]) -> None:
        """Checks inputs against a signature.

        Args:
          signature: its name.
          inputs: {name: array}.

        Raises:
          StatusError: other names, types or shapes than the signature's, or no such signature.
        """
        import tensorflow as tf

        expected = self.definition(signature).inputs
        if set(inputs) != set(expected):
            raise StatusError(
                "INVALID_ARGUMENT",
                f"inputs {sorted(inputs)} do not match signature {signature}; expected "
                f"{sorted(expected)}",
            )
        for name, info in expected.items():
            given, dtype = inputs[name], tf.dtypes.as_dtype(info.dtype)
            given_dtype = tf.string if given.dtype.kind in "OS" else tf.as_dtype(given.dtype)
            if given_dtype != dtype:
                raise StatusError(
                    "INVALID_ARGUMENT", f"{name}: is {given_dtype.name}; expected {dtype.name}"
                )
            shape = tf.TensorShape(info.tensor_shape)
            if not shape.is_compatible_with(given.shape):
                raise StatusError(
                    "INVALID_ARGUMENT",
                    f"{name}: has the shape {list(given.shape)}; expected {shape}",
                )


class Model:
    """A named model: its versions by number.

    Attributes:
      name: its name in requests.
      versions: {number: `Version`}, ascending.
    """

    def __init__(self, name: str, versions: Mapping[int, Version]):
        self.name = name
        self.versions = dict(sorted(versions.items()))

    def version(self, name: str, number: int | None = None) -> Version:
        """Returns the asked version, the highest by default; a StatusError if there is none.

        Args:
          name: the model's name, as requested.
          number: the version's; None for the highest.

        Returns:
          The version.

        Raises:
          StatusError: there is none.
        """
        if name == self.name and number is None:
            return self.versions[max(self.versions)]
        if name != self.name or number not in self.versions:
            asked = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise StatusError("NOT_FOUND", f"Servable not found for request: {asked}")
        return self.versions[number]


def load(directory: str | Path, name: str) -> Model:
    """Loads every version below a folder: its sub-folders with a number as name.

    Args:
      directory: the folder.
      name: the model's name in requests.

    Raises:
      UserError: no such folder, no version in it, or one that cannot be loaded.
    """
    import tensorflow as tf

    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(
            f"{directory}: no such folder; expected the saved_model folder of export.py."
        )
    numbered = [p for p in directory.iterdir() if p.name.isascii() and p.name.isdigit()]
    folders = [p for p in numbered if (p / "saved_model.pb").is_file()]
    if not folders:
        raise UserError(
            f"{directory}: has no versions; expected sub-folders such as 1 with a saved_model.pb."
        )
    versions = {}
    for folder in folders:
        try:
            loaded = tf.saved_model.load(str(folder))
            versions[int(folder.name)] = Version(int(folder.name), loaded, _definitions(folder))
        except Exception as error:  # TensorFlow raises many kinds on damaged files
            reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
            raise UserError(f"{folder}: cannot be loaded ({reason}).") from error
    return Model(name, versions)


def _definitions(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    content.ParseFromString((folder / "saved_model.pb").read_bytes())
    graphs = [graph for graph in content.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise ValueError("no graph is tagged serve")
    definitions = graphs[0].signature_def
    # TensorFlow's own; it takes no requests.
    return {name: definitions[name] for name in definitions if name != "__saved_model_init_op"}


class Runner:
    """Runs computations, a few at a time, with a short queue before them.

    A full queue refuses (UNAVAILABLE), as that of TensorFlow Serving does, so that clients wait and
    try again. A passed deadline is answered at once; a computation that has begun runs to its end
    and keeps its place until then: TensorFlow does not stop it either, not even in a session with a
    time-out.

    Args:
      concurrent: computations at the same time, 1 or more.
      queued: computations that may wait, 0 or more.
    """

    def __init__(self, concurrent: int, queued: int):
        self._pool = ThreadPoolExecutor(concurrent, thread_name_prefix="compute")
        self._limit = concurrent + queued
        self._places = threading.BoundedSemaphore(self._limit)

    def run(self, computation: Callable[[], Any], timeout: float | None) -> Any:
        """Runs a computation and returns its result.

        Args:
          computation: takes no arguments.
          timeout: seconds until the deadline, the time in the queue included; None for none.

        Raises:
          StatusError: the queue is full, the deadline passed, or the computation failed.
        """
        if not self._places.acquire(blocking=False):
            raise StatusError(
                "UNAVAILABLE", f"the queue is full: {self._limit} requests are being worked on"
            )
        future = self._pool.submit(computation)
        future.add_done_callback(lambda _: self._places.release())
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise StatusError("DEADLINE_EXCEEDED", f"no answer within {timeout:.3g} s") from None
        except CancelledError:
            raise StatusError("UNAVAILABLE", "the server is stopping") from None
        except Exception as error:
            raise as_status(error) from error

    def stop(self) -> None:
        """Waits for running computations; queued ones fail as UNAVAILABLE."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def as_status(error: Exception) -> StatusError:
    """Returns the status that TensorFlow Serving would answer for an exception.

    Args:
      error: raised by a computation.
    """
    import tensorflow as tf

    if isinstance(error, StatusError):
        return error
    code = "INTERNAL"
    if isinstance(error, tf.errors.OpError) and 0 < error.error_code < len(NAMES):
        code = NAMES[error.error_code]
    elif isinstance(error, MemoryError):
        code = "RESOURCE_EXHAUSTED"
    lines = (line.strip() for line in str(getattr(error, "message", error)).splitlines())
    lines = [line for line in lines if line and not _AROUND.match(line)]
    return StatusError(code, (lines or [type(error).__name__])[0][:_LONGEST_MESSAGE])
