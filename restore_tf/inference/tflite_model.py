"""Runs TFLite files by LiteRT on pictures of any size; needs no TensorFlow.

    model = restore_tf.inference.tflite_model.LiteModel("srn_256x256_int8.tflite")
    restored = restore_tf.restore(model, degraded)

`export.py --format tflite` makes such files, NAME.tflite with NAME.json beside it. A file of a
fixed size restores larger pictures in tiles of that size, see `blended_tiles`.

Needs `pip install 'restore_tf[edge]'`, which brings ai-edge-litert.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.inference.device_file import DeviceFile, cores, one_line_of, read_metadata
from restore_tf.system import quiet

KINDS = ("float32", "float16", "dynamic_int8", "int8", "uint8", "mixed_int8", "int16x8")


class LiteModel(DeviceFile):
    """A TFLite file that restores images, ready to run.

    `restore_tf.restore` takes it in place of a `Restorer`. It is not thread-safe. Attributes are
    `DeviceFile`'s; `kind` is one of `KINDS`.
    """

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        """Loads a file.

        Args:
          path: NAME.tflite. NAME.json is looked for beside it; a file of fixed size does without.
          threads: how many to compute with; by default as many cores as the process may use.

        Raises:
          UserError: ai-edge-litert is missing, or the file is missing, damaged, changed since it
            was written, or does not restore images.
        """
        path = Path(path)
        metadata = read_metadata([path])
        self._interpreter = _interpreter(path, threads)
        self._input, self._output = _image_tensors(self._interpreter, path)
        _, *sides, channels = (int(side) for side in self._input["shape_signature"])
        height, width = (None if side == -1 else side for side in sides)
        super().__init__(
            path, metadata, (height, width, channels), int(self._output["shape_signature"][1])
        )
        self._allocated = None

    @property
    def scales(self) -> tuple[tuple[float, int], tuple[float, int]]:
        """(scale, zero point) of input and output; scale 0 where they are floats."""
        return self._input["quantization"], self._output["quantization"]

    def describe(self) -> dict[str, dict[str, Any]]:
        """Returns type, shape, scale and zero point of "input" and "output"."""
        return {
            side: {
                "type": np.dtype(tensor["dtype"]).name,
                "shape": [int(length) for length in tensor["shape_signature"]],
                "scale": float(tensor["quantization"][0]),
                "zero_point": int(tensor["quantization"][1]),
            }
            for side, tensor in (("input", self._input), ("output", self._output))
        }

    @property
    def takes_bytes(self) -> bool:
        """Whether the file takes and gives uint8, as `run_raw` needs."""
        return self._input["dtype"] == np.uint8 and self._output["dtype"] == np.uint8

    def restore_padded(
        self, images: np.ndarray, seed: int = 0, origins: np.ndarray | None = None
    ) -> np.ndarray:
        """Restores a batch, image by image.

        Where the file takes integers, images are quantised (rounded and clipped), and the result is
          turned back into floats.

        Args:
          images: (batch, height, width, channels) float32 in [0, 1], of the file's `size`.
          seed: without effect: a file's noise is fixed when it is exported.
          origins: without effect.

        Returns:
          float32, `output_scale` times as high and wide.

        Raises:
          UserError: images of another size or number of channels, or the file cannot be run.
        """
        into, out = self._input, self._output
        given = (quantize(image, into["quantization"], into["dtype"]) for image in images)
        restored = [dequantize(self._invoke(image), out["quantization"]) for image in given]
        return np.stack(restored) if restored else np.empty(images.shape, np.float32)

    def run_raw(self, images: np.ndarray) -> np.ndarray:
        """Restores a batch of bytes with a file of kind "uint8", as pictures have them.

        Where the file's scales are exactly 1/255 on both sides, as in those that `export.py`
        writes, nothing is computed outside of it.

        Args:
          images: (batch, height, width, channels) uint8, of the file's `size`.

        Returns:
          uint8 of the same shape.

        Raises:
          UserError: another kind of file, or as `restore_padded`.
        """
        if not self.takes_bytes:
            raise UserError(f"{self.name}: takes no bytes; export it with --kinds uint8.")
        if not all(is_bytes(scale) for scale in self.scales):
            from restore_tf.pictures.pixels import from_float, to_float

            return from_float(self.restore_padded(to_float(images)), np.uint8)
        restored = [self._invoke(image) for image in images]
        return np.stack(restored) if restored else np.empty(images.shape, np.uint8)

    def _invoke(self, image):
        shape = (1, *image.shape)
        self._allocate(shape)
        try:
            self._interpreter.set_tensor(self._input["index"], image[None])
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.name}: cannot be run ({one_line_of(error)}).") from None
        restored = self._interpreter.get_tensor(self._output["index"])[0]
        height, width, channels = image.shape
        expected = (self.output_scale * height, self.output_scale * width, channels)
        if restored.shape != expected:
            raise UserError(
                f"{self.name}: gives {restored.shape} for {image.shape}; expected {expected}."
            )
        return restored

    def _allocate(self, shape):
        """Makes room for images of this shape, where that is not done yet."""
        if shape == self._allocated:
            return
        if shape[-1] != self.channels or self.size not in (None, shape[1:3]):
            sides = "any" if self.size is None else "x".join(map(str, self.size))
            raise UserError(
                f"images of shape {shape[1:]}; {self.name} takes {sides} pixels (height x width) "
                f"and {self.channels} channels."
            )
        try:
            if self.size is None:
                self._interpreter.resize_tensor_input(self._input["index"], shape, strict=True)
            with quiet.standard_error():
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.name}: cannot be run ({one_line_of(error)}).") from None
        self._allocated = shape


def quantize(values: np.ndarray, scale: tuple[float, int], dtype) -> np.ndarray:
    """Turns floats into a file's integers: values / scale + zero point, rounded and clipped.

    Args:
      values: floats of any shape.
      scale: (scale, zero point); a scale of 0 means that the file takes floats.
      dtype: the file's type.
    """
    step, zero = scale
    if step == 0:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / step) + zero, limits.min, limits.max).astype(dtype)


def dequantize(values: np.ndarray, scale: tuple[float, int]) -> np.ndarray:
    """Turns a file's integers into floats: (value - zero point) * scale.

    Args:
      values: of any shape and the file's type.
      scale: (scale, zero point); a scale of 0 means that the file gives floats, which stay.

    Returns:
      float32 of the same shape.
    """
    step, zero = scale
    if step == 0:
        return values.astype(np.float32)
    return (values.astype(np.float32) - zero) * np.float32(step)


def is_bytes(scale: tuple[float, int]) -> bool:
    """Returns whether a file's integers are a picture's bytes: scale exactly 1/255, zero point 0.

    Args:
      scale: (scale, zero point).
    """
    return scale[1] == 0 and np.float32(scale[0]) == np.float32(1 / 255)


def _interpreter(path, threads):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise UserError(
            "ai_edge_litert is not installed, which runs TFLite files: pip install "
            "'restore_tf[edge]'."
        ) from None
    try:
        with quiet.standard_error():  # LiteRT prints a line about XNNPACK
            return Interpreter(str(path), num_threads=threads or cores())
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: damaged, or no TFLite file ({one_line_of(error)}).") from None


def _image_tensors(interpreter, path):
    """The one input and output; a UserError where they are not images."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) == len(outputs) == 1:
        into, out = inputs[0], outputs[0]
        shape = into["shape_signature"]
        if len(shape) == 4 and shape[0] in (1, -1) and shape[3] in (1, 3):
            return into, out
    shapes = ", ".join(str(tensor["shape_signature"].tolist()) for tensor in inputs)
    raise UserError(
        f"{path}: restores no images; expected one input of (1, height, width, 3 or 1) and one "
        f"output, not {shapes or 'no input'}."
    )
