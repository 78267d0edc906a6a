"""Runs an OpenVINO file in a process of its own.

    python -m restore_tf.export.openvino.check JOB.json

For the job see `jobs`. Imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import sys
from typing import Any

from restore_tf.export import tried


def check(file: str, folder: str, restored: str, again: bool = False) -> dict[str, Any]:
    """Runs a file on the crops of `prepared.prepare`.

    Args:
      file: NAME.xml, NAME.bin and NAME.json beside it.
      folder: as `prepared.prepare`'s.
      restored: file to write the restored crops to, as `tried.run_on_crops`'s.
      again: without effect: OpenVINO files have one size.

    Returns:
      input and output (type, shape), and what `tried.run_on_crops` returns.
    """
    from restore_tf.inference.openvino_model import OpenVinoModel

    model, measured = tried.run_on_crops(lambda: OpenVinoModel(file), folder, restored)
    return {**model.describe(), **measured}


if __name__ == "__main__":
    from restore_tf.export import jobs

    sys.exit(jobs.serve(sys.argv[1], {"check": check}))
