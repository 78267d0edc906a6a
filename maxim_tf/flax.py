"""The authors' .npz: arrays in Flax's layout, and in ours.

The layouts are ours but for transposed convolutions: Flax keeps (2, 2, in, out) and does not flip
the kernel, so that output pixel 2 i + a takes K[1 - a]. Turning the last two axes alone, as one
known port does, loses 2.9 dB.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping

import numpy as np

from restore_tf.errors import UserError

_PREFIX = "opt/target/"  # of every weight; the rest is the optimizer's state
_MAX_BYTES = 2**30  # of the file, unpacked


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns {Flax path: array in Flax's layout} of the authors' .npz.

    Names may have the prefix "opt/target/"; where any has, those without are the optimizer's state
    and are left out.

    Args:
      path: of the file.

    Raises:
      UserError: not a readable .npz, or a very large one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise UserError(f"{path}: unpacks to {size} bytes; expected at most {_MAX_BYTES}.")
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if name.startswith(_PREFIX)] or file.files
            return {name.removeprefix(_PREFIX): file[name] for name in names}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a readable .npz file ({error}).") from None


def to_keras(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the same arrays in our layout.

    Args:
      arrays: {Flax path: array in Flax's layout}.
    """
    return {
        name: from_flax_transposed(array) if _is_transposed(name, array) else array
        for name, array in arrays.items()
    }


def _is_transposed(name, array):
    return name.endswith("ConvTranspose_0/kernel") and array.ndim == 4


def from_flax_transposed(kernel: np.ndarray) -> np.ndarray:
    """Turns a transposed convolution's kernel from Flax's layout into Keras'.

    Args:
      kernel: (2, 2, in, out), where output pixel 2 i + a takes kernel[1 - a].

    Returns:
      (2, 2, out, in), where output pixel 2 i + a takes kernel[a].
    """
    return np.ascontiguousarray(kernel[::-1, ::-1].swapaxes(2, 3))
