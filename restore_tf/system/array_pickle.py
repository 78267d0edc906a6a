"""Reads arrays from a pickle of nested dicts, the form in which JAX projects publish weights.

As `weights.pytorch_pickle` reads PyTorch's: `find_class` never imports but returns stand-ins of
this file for three of NumPy's names, and the program is checked before it runs.
"""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system.pickle_program import Refused, check, shown

_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_NAMES = frozenset({*_RECONSTRUCT, "numpy.ndarray", "numpy.dtype"})
_OPERATIONS = frozenset(
    "PROTO FRAME STOP MARK BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 BINUNICODE SHORT_BINUNICODE BINBYTES "
    "SHORT_BINBYTES EMPTY_DICT EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "SETITEM SETITEMS BUILD GLOBAL STACK_GLOBAL REDUCE".split()
)
_LARGEST = 2**28  # bytes
_MOST = 10_000  # entries of all dicts
_DEEPEST = 8  # dicts in dicts


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns {"outer/inner": array} of a pickle of nested dicts of floating-point arrays.

    Args:
      path: the file.

    Raises:
      UserError: the file cannot be read, is larger than 256 MiB, is damaged, or holds anything
        else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path}: is larger than {_LARGEST >> 20} MB; not read.")
        program = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        check(program, _OPERATIONS, "a pickle of arrays")
        return dict(_flat(_Unpickler(io.BytesIO(program)).load()))
    except Refused as error:
        raise UserError(f"{path}: not read ({error}).") from None
    except (AttributeError, TypeError, pickle.UnpicklingError, ValueError, LookupError) as error:
        raise UserError(f"{path}: damaged, or no pickle of arrays ({shown(error)}).") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        text = f"{module}.{name}"
        if text not in _NAMES:
            raise Refused(f"it asks for {shown(text)}")
        return _Name(text)


class _Name(NamedTuple):
    """Stands in for one of NumPy's names."""

    text: str

    def __call__(self, *arguments):
        match (self.text, arguments):
            case ("numpy.dtype", (str(kind), bool(), bool())) if re.fullmatch("f[248]", kind):
                return _Type(kind)
            case (text, (_Name(text="numpy.ndarray"), (0,), bytes())) if text in _RECONSTRUCT:
                return _Array()
        raise Refused(f"it calls {self.text} in a way of its own")


class _Type:
    """A floating-point dtype; BUILD brings its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, kind):
        self.dtype = np.dtype(kind)

    def __setstate__(self, state):
        match state:
            case (3, "<" | ">" as order, None, None, None, -1, -1, 0):
                self.dtype = self.dtype.newbyteorder(order)
            case _:
                raise Refused("it has a dtype that is no plain number's")


class _Array:
    """An array; BUILD brings shape, dtype, order and numbers."""

    __slots__ = ("values",)

    def __setstate__(self, state):
        match state:
            case (1, tuple(shape), _Type(dtype=dtype), bool(fortran), bytes(raw)):
                values = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
                self.values = values.astype(dtype.newbyteorder("="), copy=False)
            case _:
                raise Refused("it has an array of something else than numbers")


def _flat(content):
    """Yields (path, array) of nested dicts."""
    waiting, seen = [("", content, 0)], 0
    while waiting:
        path, value, depth = waiting.pop()
        seen += 1
        if isinstance(value, _Array):
            yield path, value.values
        elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
            # A dict may hold itself, or one many times over.
            if depth > _DEEPEST or seen + len(waiting) + len(value) > _MOST:
                raise Refused("its dicts are nested too deep, or hold too much")
            waiting += [(f"{path}/{key}" if path else key, value[key], depth + 1) for key in value]
        else:
            raise Refused("it holds something else than dicts of arrays")
