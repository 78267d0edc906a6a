"""Reads tensors from PyTorch checkpoints (`.pth`) without PyTorch and without running any code.

Since PyTorch 1.6, `torch.save` writes an uncompressed zip archive:

    <folder>/data.pkl      a pickle: nested dicts; a tensor is a storage's key, offset, size, stride
    <folder>/data/<key>    one storage each: raw numbers, shared by all views of it
    <folder>/byteorder     "little" or "big"; absent in older files, which are little-endian

`pytorch_pickle` reads the first, this file the rest. The layout follows PyTorch's own
`torch/serialization.py` and `torch/_utils.py`.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.weights.pytorch_pickle import DTYPES, Refused, Tensor, load, shown

_KEYS = ("state_dict", "params", "params_ema", "model")  # where projects keep the weights
_ZIP = b"PK\x03\x04"
_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # as LONG1, torch.save's before 1.6
_SAFE_TORCH = (2, 6)  # CVE-2025-32434: weights_only=True of older ones can run a file's code
_MAX_DIMENSIONS = 32
# What zipfile, pickletools and pickle raise for damaged files.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def read_state_dict(
    path: str | os.PathLike,
    key: str | None = None,
    *,
    max_bytes: int = 4 * 2**30,
    max_pickle_bytes: int = 64 * 2**20,
    max_entries: int = 100_000,
) -> dict[str, np.ndarray]:
    """Reads the named tensors of a PyTorch checkpoint; executes no code of the file's.

    Files written before PyTorch 1.6 are no zip archives; PyTorch itself reads them where it is
    installed, with `weights_only=True`.

    Args:
      path: a file written by `torch.save`.
      key: the entry that holds the weights. None: "state_dict" where there is one, else the only
        one of "params", "params_ema" and "model", else the file's outermost mapping. The other
        entries ("epoch", "optimizer") are ignored.
      max_bytes: the most that the archive's entries, and the returned tensors as stored, may hold.
      max_pickle_bytes: the most that the archive's `data.pkl` may hold.
      max_entries: the most entries that the archive may have; each storage is one.

    Returns:
      {name: array} in the file's order, names as they are, with `module.` where the file has it.
      Each array owns its numbers, in C order. float16 and bfloat16 become float32; other dtypes
      stay.

    Raises:
      UserError: missing, damaged or cut short, not PyTorch's, larger than the limits, asking for
        anything but tensors and plain data, or without tensors under `key`.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened ({error.strerror}); expected a PyTorch checkpoint (.pth)."
        ) from None
    with file:
        head = file.read(512)
        if head.startswith(_ZIP):
            return _read_zip(path, file, key, max_bytes, max_pickle_bytes, max_entries)
    if _LEGACY_MAGIC in head[:32]:
        return _read_with_torch(path, key)
    raise UserError(f"{path}: not a PyTorch file ({_guess(head)}); expected what torch.save wrote.")


def _read_zip(path, file, key, max_bytes, max_pickle_bytes, max_entries) -> dict[str, np.ndarray]:
    try:
        archive = _Archive(path, file, max_bytes, max_entries)
        content = load(archive.read("data.pkl", max_pickle_bytes))
        tensors = _named_tensors(path, content, key, Tensor)
        return {name: archive.array(name, tensor) for name, tensor in tensors.items()}
    except UserError:  # a ValueError, too
        raise
    except Refused as refusal:
        raise UserError(
            f"{path}: refused: {refusal}, which no table of weights needs. "
            "If you trust the file, save its state_dict alone with PyTorch."
        ) from None
    except _DAMAGE as error:
        raise UserError(
            f"{path}: damaged or cut short ({shown(error)}); download or copy it again."
        ) from None


def _guess(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:100].lower()
    if not head:
        return "it is empty"
    if start.startswith(b"<"):
        return "it is a web page: a download that failed"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: run git lfs pull"
    if head[257:262] == b"ustar":
        return "it is a tar archive"
    return "it is neither a zip archive nor has it the old format's first bytes"


def _named_tensors(path, content, key, kind) -> dict[str, Any]:
    """Returns the str-named values of class `kind` in the mapping that `key` selects."""
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no mapping of names to tensors; save a state_dict().")
    known = ", ".join(shown(name) for name in list(content)[:8]) or "nothing"
    if key is None:
        found = [name for name in _KEYS if isinstance(content.get(name), dict)]
        if len(found) > 1 and found[0] != "state_dict":
            raise UserError(f"{path}: holds {' and '.join(found)}; say which with key=….")
        mapping = content[found[0]] if found else content
    else:
        mapping = content.get(key)
        if not isinstance(mapping, dict):
            raise UserError(f"{path}: has no mapping {shown(key)}; it holds {known}.")
    tensors = {n: t for n, t in mapping.items() if isinstance(n, str) and isinstance(t, kind)}
    if not tensors:
        raise UserError(f"{path}: no named tensors where expected; it holds {known}. Pass key=….")
    return tensors


class _Archive:
    """The zip form's entries: the pickle and the storages."""

    def __init__(self, path, file, max_bytes, max_entries):
        self._path = path
        self._zip = zipfile.ZipFile(file)
        self._left = self._max_bytes = max_bytes
        self._storages = {}
        names = self._zip.namelist()
        total = sum(entry.file_size for entry in self._zip.infolist())
        if len(names) > max_entries:
            raise UserError(f"{path}: {len(names)} entries; at most {max_entries} are read.")
        if total > max_bytes:
            raise self._too_large(total)
        if len(set(names)) != len(names):
            raise UserError(f"{path}: refused: two entries of one name; download it again.")
        folders = [name[: -len("/data.pkl")] for name in names if re.match("[^/]+/data.pkl$", name)]
        if len(folders) != 1:
            raise UserError(f"{path}: not a PyTorch file (a zip archive without <name>/data.pkl).")
        self._folder = folders[0]
        if f"{self._folder}/constants.pkl" in names:
            raise UserError(
                f"{path}: a TorchScript program; expected weights. Save its state_dict() instead."
            )
        self._order = self._byte_order()

    def _too_large(self, size):
        return UserError(
            f"{self._path}: holds {size / 2**30:.2f} GiB of numbers; at most "
            f"{self._max_bytes / 2**30:.2f} GiB are read. Raise max_bytes if that is right."
        )

    def _byte_order(self):
        if f"{self._folder}/byteorder" not in self._zip.namelist():
            return "<"
        order = self.read("byteorder", 16)
        if order not in (b"little", b"big"):
            raise UserError(f"{self._path}: byteorder {shown(order)}; expected little or big.")
        return "<" if order == b"little" else ">"

    def read(self, name, limit: int) -> bytes:
        """Returns an entry's bytes; its checksum is verified.

        Args:
          name: of the entry, below the archive's folder.
          limit: the largest size that is read, in bytes.

        Raises:
          UserError: no such entry, compressed, or larger than `limit`.
        """
        try:
            entry = self._zip.getinfo(f"{self._folder}/{name}")
        except KeyError:
            raise UserError(f"{self._path}: its entry {shown(name)} is missing.") from None
        if entry.compress_type != zipfile.ZIP_STORED:
            raise UserError(
                f"{self._path}: refused: its entry {shown(name)} is compressed, which torch.save "
                "never does; pack it again without compression."
            )
        if entry.file_size > limit:
            raise UserError(
                f"{self._path}: its entry {shown(name)} has {entry.file_size} bytes; at most "
                f"{limit} are read."
            )
        return self._zip.read(entry)

    def array(self, name: str, tensor: Tensor) -> np.ndarray:
        """Returns a tensor's numbers as a C-ordered array that owns them.

        Args:
          name: the tensor's, for messages.
          tensor: from the pickle.

        Raises:
          UserError: a dtype that is not read, or a tensor that reaches outside its storage.
        """
        numbers = self._storage(tensor.storage)
        where = f"{self._path}: tensor {shown(name)}"
        if tensor.dtype not in DTYPES:
            raise UserError(f"{where} has a dtype that is not read; expected a plain number.")
        stored = DTYPES[tensor.dtype]
        if not _fits(tensor, len(numbers) // stored.itemsize):
            raise UserError(f"{where} reaches outside its storage; download the file again.")
        self._left -= math.prod(tensor.size) * stored.itemsize
        if self._left < 0:  # many views of one storage, or strides of 0
            raise self._too_large(self._max_bytes - self._left)
        # The bounds are NumPy's to check, too: ndarray(buffer=…) does, as_strided does not.
        view = np.ndarray(
            tensor.size,
            stored.newbyteorder(self._order),
            buffer=numbers,
            offset=tensor.offset * stored.itemsize,
            strides=[step * stored.itemsize for step in tensor.stride],
        )
        if tensor.dtype == "bfloat16":
            return np.left_shift(view, 16, dtype="u4", out=np.empty(view.shape, "u4")).view("f4")
        returned = {"float16": "f4", "bool": "?"}.get(tensor.dtype, stored.newbyteorder("="))
        return np.array(view, returned, order="C")

    def _storage(self, storage) -> bytes:
        if storage.key not in self._storages:
            self._storages[storage.key] = self.read(f"data/{storage.key}", self._max_bytes)
        numbers = self._storages[storage.key]
        width = DTYPES[storage.dtype].itemsize if storage.dtype else 1
        if len(numbers) != storage.numbers * width:
            raise UserError(
                f"{self._path}: storage {shown(storage.key)} has {len(numbers)} bytes, expected "
                f"{storage.numbers} x {width}; download it again."
            )
        return numbers


def _fits(tensor, count) -> bool:
    """Whether a view with the tensor's offset, size and stride stays within `count` elements."""
    numbers = (tensor.offset, *tensor.size, *tensor.stride)
    if not all(isinstance(number, int) and 0 <= number < 2**62 for number in numbers):
        return False
    if len(tensor.size) != len(tensor.stride) or len(tensor.size) > _MAX_DIMENSIONS:
        return False
    if 0 in tensor.size:
        return tensor.offset <= count
    steps = zip(tensor.size, tensor.stride, strict=True)
    return tensor.offset + sum((size - 1) * step for size, step in steps) < count


def _read_with_torch(path, key) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path}: an old PyTorch file, which only PyTorch itself reads; "
            "pip install 'restore_tf[convert]', or re-save it with torch.save."
        ) from None
    if tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2]) < _SAFE_TORCH:
        raise UserError(
            f"{path}: an old PyTorch file; reading it safely takes PyTorch 2.6 or newer, "
            f"here is {torch.__version__}. Upgrade it, or re-save the file with torch.save."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        tensors = _named_tensors(path, content, key, torch.Tensor)
        halves = (torch.float16, torch.bfloat16)
        floats = {n: t.float() if t.dtype in halves else t for n, t in tensors.items()}
        return {n: np.array(t.detach().numpy(), order="C") for n, t in floats.items()}
    except UserError:
        raise
    except Exception as error:  # torch raises many kinds for damaged and hostile files
        reason = shown(str(error).strip().partition("\n")[0])
        raise UserError(f"{path}: PyTorch cannot read it safely ({reason}).") from None
