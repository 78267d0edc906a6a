"""The pickle in a PyTorch checkpoint: dicts and lists of numbers, strings and tensors, no more.

A pickle is a program. `pickle.Unpickler` runs it, with three guards:

- `find_class` never imports. For a fixed table of names it returns stand-ins of this file: calling
  one makes a dict or describes a tensor.
- The stand-ins, and all they make, are tuples without attributes or dicts that ignore BUILD, so
  that no file can change them.
- `pickle_program.check` reads the program first, without running it. Only the operations that
  `torch.save` uses pass.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, NamedTuple

import numpy as np

from restore_tf.system.pickle_program import Refused, check, shown

# torch's name of a dtype: NumPy's dtype of the stored numbers.
DTYPES = {
    name: np.dtype(name)
    for name in (
        "float64 float32 float16 complex128 complex64 "
        "int64 int32 int16 int8 uint64 uint32 uint16 uint8"
    ).split()
} | {
    "bfloat16": np.dtype("u2"),  # NumPy has none: the bits are the upper half of a float32's
    "bool": np.dtype("u1"),
}
_STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.ComplexFloatStorage": "complex64",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    # Bytes; the tensor that looks at them brings the dtype.
    "torch.UntypedStorage": None,
    "torch.storage.UntypedStorage": None,
    "torch.storage.TypedStorage": None,
}
_NAMES = frozenset(
    {
        "collections.OrderedDict",
        "torch.Size",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        *_STORAGES,
        *(f"torch.{dtype}" for dtype in DTYPES),
    }
)
_OPERATIONS = frozenset(
    "PROTO FRAME STOP MARK BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE "
    "EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "APPEND APPENDS SETITEM SETITEMS BUILD GLOBAL STACK_GLOBAL BINPERSID REDUCE".split()
)


class Storage(NamedTuple):
    """A run of numbers in a file: torch's name of their dtype (None: bytes), a key, how many."""

    dtype: str | None
    key: str
    numbers: int


class Tensor(NamedTuple):
    """A view of a storage; `offset` and `stride` count elements."""

    storage: Storage
    dtype: str | None
    offset: int
    size: tuple
    stride: tuple


def load(program: bytes) -> Any:
    """Returns what a pickle describes: dicts, lists, tuples, numbers, str and `Tensor`.

    Args:
      program: the pickle's bytes.

    Raises:
      Refused: it asks for more than that.
      ValueError: it is damaged.
      LookupError: it is damaged.
    """
    check(program, _OPERATIONS, "torch.save")
    try:
        return _Unpickler(io.BytesIO(program)).load()
    except (AttributeError, TypeError, pickle.UnpicklingError) as error:
        raise Refused(f"its pickle does what torch.save never does ({shown(error)})") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        text = f"{module}.{name}"
        if text not in _NAMES:
            raise Refused(f"it asks for {shown(text)}")
        return _Name(text)

    def persistent_load(self, identity):
        match identity:
            case ("storage", _Name(text=text), str(key), _, int(count)) if text in _STORAGES:
                if 0 <= count < 2**62:
                    return Storage(_STORAGES[text], key, count)
        raise Refused("its pickle refers to something that is no storage")


class _Name(NamedTuple):
    """Stands in for a global, e.g. torch.FloatStorage; a call does what `torch.save` meant."""

    text: str

    def __call__(self, *arguments):
        match (self.text.removeprefix("torch._utils."), arguments):
            case ("collections.OrderedDict", ()):
                return _OrderedDict()
            case ("torch.Size", (tuple(size),)):
                return size
            case (
                "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" as function,
                (Storage() as storage, int(offset), tuple(size), tuple(stride), *rest),
            ):
                # rest: requires_grad, backward_hooks, in v3 the dtype; metadata.
                dtype = storage.dtype
                if function.endswith("_v3") and len(rest) > 2 and isinstance(rest[2], _Name):
                    dtype = rest.pop(2).text.removeprefix("torch.")
                if any(rest[2:]):
                    raise Refused("it has a tensor with conjugate or negative bits")
                return Tensor(storage, dtype, offset, size, stride)
            case ("_rebuild_parameter" | "_rebuild_parameter_with_state", (Tensor() as data, *_)):
                return data
        raise Refused(f"it calls {self.text} in a way of its own")


class _OrderedDict(dict):
    """A state_dict; its attribute `_metadata`, which BUILD brings, is not needed here."""

    __slots__ = ()

    def __setstate__(self, state):
        pass
