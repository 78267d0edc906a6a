"""Converts to TFLite in a process of its own: converting leaks memory and may abort.

    python -m restore_tf.export.tflite.convert JOB.json

A job (see `jobs`) is one of two:

- "prepare" loads a run, writes the network as a SavedModel of one input size, cuts the crops that
  files of this size are calibrated and scored on, and restores them with the Keras model.
- "convert" makes one TFLite file of such a SavedModel.

Silent faults of conversion, and how they are avoided:

- `TFLiteConverter.from_concrete_functions` on a Keras 3 model gives a file that outputs NaN: its
  weights are not frozen. Only SavedModels by `keras.export.ExportArchive` are converted.
- Select-TF (Flex) operations are enabled by Keras' own exporter. Here they stay off.
- A concatenation in 8 bits has one scale for all its inputs. The network concatenates its input
  with estimates that reach beyond [0, 1], so the input's scale would be coarser than 1/255. A ReLU
  on the input, which changes no value, gives the input its own scale.
- GELU is converted to six operations, one of which has no 8-bit form; it becomes one (`fused`).
- TFLite's own calibration finds wrong ranges; in 8 bits they are measured here (`ranges`). For
  int16x8 it is used, with the first crop stretched to reach from 0 to 1: otherwise pixels brighter
  than the crops' would be clipped.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.export.tflite.crops import _CROPS, read_crops

_ENDPOINT = "serving_default"
_MIXED = "mixed_int8"
_FLOOR = 35.0  # dB; in mixed files, values with a lower signal-to-noise ratio stay in floats


def prepare(
    workdir: str,
    load_arguments: Mapping[str, Any],
    size: tuple[int, int] | None,
    kinds: Sequence[str],
    crop: tuple[int, int],
    count: int,
    samples: str,
    folder: str,
) -> dict[str, Any]:
    """Writes the input of conversions: SavedModels, and crops with the Keras model's output.

    Args:
      workdir: as for `weights.load.load_model`.
      load_arguments: keyword arguments of `weights.load.load_model`.
      size: (height, width) of the input in pixels, None for any.
      kinds: the conversions to come, of `make.KINDS`.
      crop: (height, width) of the crops in pixels.
      count: how many crops.
      samples: file of a `samples.Samples`.
      folder: existing folder to write to.

    Returns:
      The network's channels, colour, output_scale, size_multiple, padding and tile_step;
      continuous where it is not.

    Raises:
      UserError: as `load_model`, or a size that the network does not take.
    """
    from restore_tf.export.samples import Samples
    from restore_tf.inference.restore import restore
    from restore_tf.pictures.planes import colour_of
    from restore_tf.weights.load import load_model

    model = load_model(workdir, **load_arguments)
    for side in (*(size or ()), *crop):
        if side % model.size_multiple:
            height, width = size or crop
            raise UserError(
                f"--size {height}x{width}: {model.name} takes multiples of {model.size_multiple} "
                "pixels."
            )
    degraded, sharp = Samples.open(samples).crops(crop, count, model, np.uint8)
    pixels = degraded.astype(np.float32) / 255
    reference = np.stack([restore(model, picture, whole=True) for picture in pixels])
    arrays = {"degraded": degraded, "reference": reference}
    np.savez(Path(folder) / _CROPS, **arrays, **({} if sharp is None else {"sharp": sharp}))
    for eight_bit in sorted({_is_eight_bit(kind) for kind in kinds}):
        write_saved_model(model, size, _saved_model(folder, eight_bit), eight_bit)
    return {
        "channels": model.channels,
        "colour": colour_of(model),
        "output_scale": model.output_scale,
        "size_multiple": model.size_multiple,
        "padding": model.padding,
        "tile_step": model.blended_tile.step,
        **({} if model.continuous else {"continuous": False}),
    }


def write_saved_model(
    model, size: tuple[int, int] | None, path: Path, eight_bit: bool = False
) -> None:
    """Writes a network's last stage as a SavedModel for one image at a time.

    Args:
      model: a `Restorer`.
      size: (height, width), None for any.
      path: the folder to make. Its one endpoint takes `images` (1, height, width, channels) and
        gives `restored`, the same shape.
      eight_bit: add the ReLU on the input that 8 bits need, see above.
    """
    import keras
    import tensorflow as tf

    def restore(images):
        images = tf.nn.relu(images) if eight_bit else images
        return {"restored": model.restore_batch(images)}

    signature = tf.TensorSpec((1, *(size or (None, None)), model.channels), tf.float32, "images")
    archive = keras.export.ExportArchive()
    archive.track(model)
    with model.with_folded_weights():
        archive.add_endpoint(_ENDPOINT, restore, [signature])
        archive.write_out(str(path), verbose=False)


def _is_eight_bit(kind):
    return kind in ("int8", "uint8", _MIXED)


def _saved_model(folder, eight_bit):
    return Path(folder) / ("saved_model_eight_bit" if eight_bit else "saved_model")


def convert(folder: str, kind: str, output: str, any_size: bool = False) -> dict[str, Any]:
    """Converts a SavedModel that `prepare` wrote.

    Args:
      folder: as `prepare`'s.
      kind: one of `make.KINDS`.
      output: the file to write.
      any_size: whether the SavedModel takes pictures of any size; for the error's advice.

    Returns:
      {"widened_ranges": how many ranges `ranges` widened}.

    Raises:
      UserError: the network has operations that TFLite lacks.
    """
    import tensorflow as tf

    path = str(_saved_model(folder, _is_eight_bit(kind)))
    converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=[_ENDPOINT])
    sets = tf.lite.OpsSet
    in_16_bits = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    operations = in_16_bits if kind == "int16x8" else sets.TFLITE_BUILTINS
    converter.target_spec.supported_ops = [operations]
    if _is_eight_bit(kind):
        floats = _converted(converter, any_size)
        content, widened = _in_eight_bits(floats, kind, read_crops(folder)[0])
        Path(output).write_bytes(content)
        return {"widened_ranges": widened}
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int16x8":
        crops, _, _ = read_crops(folder)
        converter.representative_dataset = lambda: _calibration(crops)
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


def _calibration(crops) -> Iterator[dict[str, np.ndarray]]:
    for index, crop in enumerate(crops):
        image = crop[None].astype(np.float32) / 255
        yield {"images": stretched(image) if index == 0 else image}


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
    sys.exit(jobs.serve(sys.argv[1], {"prepare": prepare, "convert": convert}))
