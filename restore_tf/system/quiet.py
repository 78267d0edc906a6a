"""Suppresses libraries' messages that users of this package did not ask for."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow without its libraries' messages about CPU features and GPU drivers.

    TF_CPP_MIN_LOG_LEVEL does not suppress them: they are printed before TensorFlow's log is set up.
    Set it to 0 to see them.
    """
    if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with standard_error():
        # Looking for GPUs is what makes CUDA complain on a machine without one.
        importlib.import_module("tensorflow").config.list_physical_devices()


@contextlib.contextmanager
def standard_error() -> Iterator[None]:
    """Suppresses standard error in the block, C++'s too; prints it if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
