"""Arrays of numbers from MATLAB's files (.mat, up to version 7)."""

from __future__ import annotations

import os

import numpy as np

from restore_tf.errors import UserError, one_line


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns all variables of a .mat file, {name: array} in MATLAB's shapes, two axes or more.

    MATLAB drops axes of length 1 at an array's end, beyond the second.

    Args:
      path: a .mat file, up to version 7.

    Raises:
      UserError: it cannot be read, is of version 7.3 (HDF5), or holds anything but numbers.
    """
    from scipy.io import loadmat

    try:
        found = loadmat(path, appendmat=False)
    except NotImplementedError:
        raise UserError(
            f"{path}: is a MATLAB file of version 7.3; save it in MATLAB by save(…, '-v7')."
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or one_line(str(error))})."
        ) from None
    except Exception as error:  # broken files may raise anything
        raise UserError(f"{path}: is no MATLAB file ({one_line(str(error))}).") from None
    arrays = {name: array for name, array in found.items() if not name.startswith("__")}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise UserError(f"{path}: {name} is no array of numbers; expected weights alone.")
    return arrays
