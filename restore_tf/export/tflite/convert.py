"""Converts to TFLite in a process of its own: converting leaks memory and may abort.

    python -m restore_tf.export.tflite.convert JOB.json

A job (see `jobs`) makes one file of a SavedModel that `prepared` wrote.

Silent faults of conversion, and how they are avoided:

- `TFLiteConverter.from_concrete_functions` on a Keras 3 model gives a file that outputs NaN: its
  weights are not frozen. Only SavedModels by `keras.export.ExportArchive` are converted.
- Select-TF (Flex) operations are enabled by Keras' own exporter. Here they stay off.
- A concatenation in 8 bits has one scale for all its inputs. The network concatenates its input
  with estimates that reach beyond [0, 1], so the input's scale would be coarser than 1/255. A ReLU
  on the input, which changes no value, gives the input its own scale.
- GELU is converted to six operations, one of which has no 8-bit form; it becomes one (`fused`).
- TFLite's own calibration finds wrong ranges; in 8 bits they are measured here (`ranges`). For
  int16x8 it is used (`sixteen_bits`), with the first crop stretched to reach from 0 to 1: otherwise
  pixels brighter than the crops' would be clipped.
- Quantising the same file twice can give two: an operation with an output that nothing uses (the
  ConvLSTM's split at the coarsest scale) is left in floats now and then. `ranges` replaces it.
- ai-edge-quantizer 0.10 has public names and was compared (SRN at 128x128, MPRNet at 64x64). Its
  calibration fails on SRN; its file of MPRNet keeps floats in every leaky ReLU and aborts LiteRT.
  With the ranges measured here its MPRNet is 39.87 dB from Keras, still with floats, and XNNPACK
  refuses its SRN. TensorFlow's quantiser: 39.88 and 52.1 dB, no floats.
- A fake quantisation anywhere in a SavedModel makes it count as trained for 8 bits, and float16 and
  dynamic-range files of it keep float32 weights. So there is none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.export.prepared import ENDPOINT, read_crops, saved_model
from restore_tf.export.tflite import sixteen_bits

_MIXED = "mixed_int8"
_FLOOR = 35.0  # dB; in mixed files, values with a lower signal-to-noise ratio stay in floats


def is_eight_bit(kind: str) -> bool:
    """Returns whether a kind's values are in 8 bits.

    Args:
      kind: one of `tflite_model.KINDS`.
    """
    return kind in ("int8", "uint8", _MIXED)


def convert(folder: str, kind: str, output: str, any_size: bool = False) -> dict[str, Any]:
    """Converts a SavedModel that `prepared.prepare` wrote.

    Args:
      folder: as `prepared.prepare`'s.
      kind: one of `make.KINDS`.
      output: the file to write.
      any_size: whether the SavedModel takes pictures of any size; for the error's advice.

    Returns:
      {"widened_ranges": how many ranges `ranges` widened}.

    Raises:
      UserError: the network has operations that TFLite lacks.
    """
    import tensorflow as tf

    path = str(saved_model(folder, is_eight_bit(kind)))
    converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=[ENDPOINT])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if is_eight_bit(kind):
        floats = _converted(converter, any_size)
        content, widened = _in_eight_bits(floats, kind, read_crops(folder)[0])
        Path(output).write_bytes(content)
        return {"widened_ranges": widened}
    if kind == "int16x8":
        images = _calibration(read_crops(folder)[0])
        content = sixteen_bits.quantise(_converted(converter, any_size), images)
        Path(output).write_bytes(content)
        return {"widened_ranges": 0}
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    Path(output).write_bytes(_converted(converter, any_size))
    return {"widened_ranges": 0}


def _converted(converter, any_size):
    """The file. TensorFlow's own error of an operation that TFLite lacks fills a page."""
    try:
        return converter.convert()
    except Exception as error:  # its class has no public name
        lacking = re.search(r"\b(?:TF Select|Custom) ops: (\w+(?:, \w+)*)", str(error))
        if lacking is None:
            raise
        # A sampler's noise is such a case: whole numbers in bits, a constant where the size is.
        advice = " where the size is open; files of a fixed --size HEIGHTxWIDTH may do without"
        raise UserError(f"TFLite lacks {lacking[1]}{advice * any_size}.") from None


def _in_eight_bits(content, kind, crops):
    """A float file in 8 bits, and how many ranges were widened."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize  # no public name in TensorFlow 2.21

    from restore_tf.export.tflite import ranges

    images = (crop.astype(np.float32) / 255 for crop in crops)
    ranged, widened = ranges.add(content, images, _FLOOR if kind == _MIXED else None)
    outside = tf.uint8 if kind == "uint8" else tf.float32
    return mlir_quantize(ranged, input_data_type=outside, output_data_type=outside), widened


def _calibration(crops) -> Iterator[np.ndarray]:
    for index, crop in enumerate(crops):
        image = crop[None].astype(np.float32) / 255
        yield stretched(image) if index == 0 else image


def stretched(image: np.ndarray) -> np.ndarray:
    """Stretches an image's contrast to reach from exactly 0 to exactly 1.

    An image of one value gets its first pixel black and its last one white.

    Args:
      image: floats of any shape.
    """
    low, high = image.min(), image.max()
    if low == high:
        image = image.copy()
        image.flat[0], image.flat[-1] = 0, 1
        return image
    return (image - low) / (high - low)


if __name__ == "__main__":
    from restore_tf.export import jobs
    from restore_tf.system.quiet import import_tensorflow

    import_tensorflow()
    sys.exit(jobs.serve(sys.argv[1], {"convert": convert}))
