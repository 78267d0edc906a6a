"""Converts to OpenVINO in a process of its own.

    python -m restore_tf.export.openvino.convert JOB.json

A job (see `jobs`) makes one file of a SavedModel that `prepared` wrote. OpenVINO reads the
SavedModel; NNCF measures the ranges of 8-bit values on the crops and corrects the biases.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from restore_tf.export.prepared import read_crops, saved_model


def convert(folder: str, kind: str, output: str, any_size: bool = False) -> dict[str, Any]:
    """Converts a SavedModel that `prepared.prepare` wrote.

    Args:
      folder: as `prepared.prepare`'s.
      kind: one of `openvino_model.KINDS`.
      output: NAME.xml to write; NAME.bin is written beside it.
      any_size: without effect; OpenVINO files have one size.

    Returns:
      {"quantised": how many values between layers, and weights, are in 8 bits}.
    """
    import openvino

    network = openvino.Core().read_model(saved_model(folder))
    if kind == "int8":
        network = in_eight_bits(network, read_crops(folder)[0])
    openvino.save_model(network, output, compress_to_fp16=False)
    kinds = [operation.get_type_name() for operation in network.get_ops()]
    return {"quantised": kinds.count("FakeQuantize")}


def in_eight_bits(network, crops: np.ndarray):
    """Quantises an OpenVINO network.

    Args:
      network: an `openvino.Model` of one image.
      crops: (count, height, width, channels) uint8, of the network's size.

    Returns:
      The `openvino.Model` in 8 bits.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # NNCF would send statistics of its use
    import nncf

    images = [crop[None].astype(np.float32) / 255 for crop in crops]
    return nncf.quantize(
        network,
        nncf.Dataset(images),
        preset=nncf.QuantizationPreset.MIXED,  # with zero points: a ReLU's values are positive
        subset_size=len(images),
    )


if __name__ == "__main__":
    from restore_tf.export import jobs

    sys.exit(jobs.serve(sys.argv[1], {"convert": convert}))
