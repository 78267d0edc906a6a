"""Inspects and runs a TFLite file in a process of its own, which a bad file can abort.

    python -m restore_tf.export.tflite.check JOB.json

For the job see `jobs`. Neither TensorFlow nor Keras is imported.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.export import tried
from restore_tf.export.prepared import read_crops
from restore_tf.export.tflite.contents import contents


def check(
    file: str, folder: str, restored: str, threads: int | None = None, again: bool = False
) -> dict[str, Any]:
    """Runs a file on the crops of `prepared.prepare`.

    Args:
      file: the TFLite file, its NAME.json beside it.
      folder: as `prepared.prepare`'s.
      restored: file to write the restored crops to, as `tried.run_on_crops`'s.
      threads: as `LiteModel`'s.
      again: also run it on another size, then on the first again; for files of any size.

    Returns:
      operations, custom, dynamic, flex, floats (see `Contents`), input and output (type, shape,
      scale, zero point), and what `tried.run_on_crops` returns.

    Raises:
      UserError: with `again`, other outputs after a picture of another size.
    """
    from restore_tf.inference.tflite_model import LiteModel

    model, measured = tried.run_on_crops(lambda: LiteModel(file, threads), folder, restored)
    if again:
        image = read_crops(folder)[0][:1].astype(np.float32) / 255
        _run_on_another_size(model, image, np.load(restored)[:1])
    found = contents(file)
    return {
        "operations": found.operations,
        "custom": found.custom,
        "dynamic": found.dynamic,
        "flex": found.flex,
        "floats": found.floats,
        **model.describe(),
        **measured,
    }


def _run_on_another_size(model, image, expected):
    """Finds files that keep their first size, which would give wrong numbers silently."""
    half = image.shape[1] // 2 // model.size_multiple * model.size_multiple
    if half:
        model.restore_padded(np.ascontiguousarray(image[:, :half]))
    if not np.array_equal(model.restore_padded(image), expected):
        raise UserError(f"{model.name}: gives other numbers after a picture of another size.")


if __name__ == "__main__":
    from restore_tf.export import jobs

    sys.exit(jobs.serve(sys.argv[1], {"check": check}))
