"""Suppresses what libraries say and import that users of this package did not ask for."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator

# Keras and TensorFlow Lite import these wherever they are installed, for functions that no command
# calls. They can take as long as TensorFlow itself.
NEEDLESS = ("IPython", "jax", "matplotlib", "pandas", "sklearn")
_own_process = False


def declare_own_process() -> None:
    """Declares that this process runs a command of this package and nothing else.

    `import_tensorflow` then imports no needless libraries. Elsewhere it must: Keras asks for pandas
    once, and would not take a table of the program's own afterwards.
    """
    global _own_process
    _own_process = True


def import_tensorflow() -> None:
    """Imports TensorFlow without its libraries' messages about CPU features and GPU drivers.

    TF_CPP_MIN_LOG_LEVEL does not suppress them: they are printed before TensorFlow's log is set up.
    Set it to 0 to see them.
    """
    if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with standard_error(), _without(NEEDLESS if _own_process else ()):
        # Looking for GPUs is what makes CUDA complain on a machine without one.
        importlib.import_module("tensorflow").config.list_physical_devices()


@contextlib.contextmanager
def _without(modules):
    """Within this context these modules seem not to be installed, unless they are imported."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        modules = ()  # that backend may need them
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


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
