"""Assigns PyTorch's named tensors to a network's variables, by name and never by position.

Kernels of convolutions are (out, in, height, width) in PyTorch, (height, width, in, out) in Keras.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError


def assign(
    variables: Mapping[str, Any], tensors: Mapping[str, np.ndarray], source: str, network: str
) -> None:
    """Assigns all tensors of a file to a network's variables.

    Args:
      variables: {name in the file: variable}, all that the network has.
      tensors: {name: array} of the file, in PyTorch's layout. Names may begin with "module.";
        counts of batches, which nothing uses, are left out.
      source: the file, named in errors.
      network: the variables' network in words, for errors, and how to choose another one.

    Raises:
      UserError: a tensor is missing, left over or of another shape. No variable is changed then.
    """
    tensors = {
        name.removeprefix("module."): array
        for name, array in tensors.items()
        if not name.endswith(".num_batches_tracked")
    }
    missing = [name for name in variables if name not in tensors]
    leftover = [name for name in tensors if name not in variables]
    if missing or leftover:
        parts = [f"lacks {_listed(missing)}"] if missing else []
        parts += [f"holds {_listed(leftover)}, which has no place there"] if leftover else []
        raise UserError(f"{source}: does not fit {network}: {'; '.join(parts)}.")
    values = {name: to_keras(tensors[name]) for name in variables}
    for name, variable in variables.items():
        if values[name].shape != tuple(variable.shape):
            raise UserError(
                f"{source}: does not fit {network}: {name} has shape {tensors[name].shape}."
            )
    for name, variable in variables.items():
        variable.assign(values[name])


def of_convolution(name: str, layer) -> dict[str, Any]:
    """Returns {name in the file: variable} of a `Conv2D` called `name` there.

    Args:
      name: of the layer in the file.
      layer: a built `Conv2D`.
    """
    biases = {} if layer.bias is None else {f"{name}.bias": layer.bias}
    return {f"{name}.weight": layer.kernel, **biases}


def of_normalisation(name: str, layer) -> dict[str, Any]:
    """Returns {name in the file: variable} of a `BatchNormalization` called `name` there.

    Args:
      name: of the layer in the file.
      layer: a built `BatchNormalization`.
    """
    return {
        f"{name}.weight": layer.gamma,
        f"{name}.bias": layer.beta,
        f"{name}.running_mean": layer.moving_mean,
        f"{name}.running_var": layer.moving_variance,
    }


def to_keras(tensor: np.ndarray) -> np.ndarray:
    """Returns a tensor in Keras' layout, float32: kernels of convolutions are transposed.

    Args:
      tensor: in PyTorch's layout, of any shape.
    """
    if tensor.ndim == 4:
        tensor = np.transpose(tensor, (2, 3, 1, 0))
    return np.ascontiguousarray(tensor, np.float32)


def files(path: str) -> list[Path]:
    """Returns [the checkpoint's file], or [] where it does not exist; for its SHA-256.

    Args:
      path: the checkpoint.
    """
    return [Path(path)] if Path(path).is_file() else []


def checksum(variables) -> str:
    """Returns the SHA-256 of variables' numbers, float32 in the order that they are given in.

    Args:
      variables: Keras variables; converted to float32 and hashed in this order.
    """
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy(), "<f4").tobytes())
    return digest.hexdigest()


def _listed(names):
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
