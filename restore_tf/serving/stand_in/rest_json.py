"""TensorFlow Serving's JSON: converts requests in rows or columns to arrays, and back.

Strings whose names end in `_bytes` are binary, {"b64": base64}; requests may use that form for any
string. With one input or output its name is left out. (TF Serving's api_rest.md, json_tensor.cc.)
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from restore_tf.serving.stand_in.models import DEFAULT_SIGNATURE
from restore_tf.serving.statuses import StatusError

_BINARY = "_bytes"


def parse(body: bytes) -> dict[str, Any]:
    """Parses a request's JSON object.

    Args:
      body: of the request.

    Raises:
      StatusError: it is no JSON object.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise _invalid("JSON Value: Is not object")
    return request


def signature_name(request: Mapping[str, Any]) -> str:
    """Returns the name of the requested signature.

    Args:
      request: from `parse`.

    Raises:
      StatusError: the name is no string.
    """
    name = request.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise _invalid("'signature_name' key must be a string value.")
    return name or DEFAULT_SIGNATURE


def inputs(request: Mapping[str, Any], definition) -> tuple[dict[str, np.ndarray], bool]:
    """Returns a request's tensors by name, and whether they came in rows.

    Args:
      request: from `parse`.
      definition: the signature's `SignatureDef`.

    Raises:
      StatusError: the request has no inputs, or they fit neither each other nor the signature.
    """
    in_rows = "instances" in request
    if in_rows == ("inputs" in request):
        raise _invalid("expecting one of 'inputs' or 'instances' keys, and only one")
    infos = definition.inputs
    columns = _columns(request["instances"], infos) if in_rows else request["inputs"]
    if not isinstance(columns, dict) or _is_binary(columns):
        if len(infos) > 1:
            raise _invalid(f"expecting an object with the inputs {sorted(infos)}")
        columns = {next(iter(infos)): columns}
    if set(columns) != set(infos):
        raise _invalid(f"inputs {sorted(columns)}: keys must be equal to {sorted(infos)}")
    return {name: _array(name, columns[name], info) for name, info in infos.items()}, in_rows


def _columns(rows, infos):
    if not isinstance(rows, list) or not rows:
        raise _invalid("Expecting 'instances' to be a list with at least one value")
    named = [isinstance(row, dict) and not _is_binary(row) for row in rows]
    if not any(named):
        return rows
    if not all(named) or any(set(row) != set(infos) for row in rows):
        raise _invalid(f"'instances': each must be an object with the keys {sorted(infos)}")
    return {name: [row[name] for row in rows] for name in infos}


def _is_binary(value):
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _array(name, value, info):
    import tensorflow as tf

    dtype = tf.dtypes.as_dtype(info.dtype)
    if dtype == tf.string:
        array = np.array(_strings(name, value), object)
        if not all(isinstance(item, bytes) for item in array.flat):
            raise _invalid(f"{name}: lists of different lengths; expected a full tensor")
        return array
    try:
        array = np.array(value)
    except ValueError:
        raise _invalid(f"{name}: lists of different lengths; expected a full tensor") from None
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}.get(dtype.as_numpy_dtype().dtype.kind, "")
    if array.dtype.kind not in kinds:
        raise _invalid(f"JSON Value: {name} is not of expected type: {dtype.name}")
    return array.astype(dtype.as_numpy_dtype)


def _strings(name, value):
    if isinstance(value, list):
        return [_strings(name, item) for item in value]
    if isinstance(value, str):
        return value.encode()
    if not _is_binary(value):
        raise _invalid(f"JSON Value: {name} is not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"{name}: Unable to base64 decode") from None


def answer(outputs: Mapping[str, np.ndarray], in_rows: bool) -> bytes:
    """Returns an answer's JSON, in the request's form.

    Args:
      outputs: {name: array}; for rows, the first axis counts them.
      in_rows: whether the request had rows ("instances"), see `inputs`.
    """
    columns = {name: _values(name, array.tolist()) for name, array in outputs.items()}
    if len(columns) == 1:
        (content,) = columns.values()
    elif in_rows:
        content = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
    else:
        content = columns
    return json.dumps({"predictions" if in_rows else "outputs": content}).encode()


def _values(name, value):
    if isinstance(value, list):
        return [_values(name, item) for item in value]
    if not isinstance(value, bytes):
        return value
    if name.endswith(_BINARY):
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")


def _invalid(message):
    return StatusError("INVALID_ARGUMENT", message)
