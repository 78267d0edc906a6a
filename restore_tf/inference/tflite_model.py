"""Runs TFLite files by LiteRT on pictures of any size; needs no TensorFlow.

    model = restore_tf.inference.tflite_model.LiteModel("srn_256x256_int8.tflite")
    restored = restore_tf.restore(model, degraded)

`export.py --format tflite` makes such files, NAME.tflite with NAME.json beside it. A file of a
fixed size restores larger pictures in tiles of that size, see `blended_tiles`.

Needs `pip install 'restore_tf[edge]'`, which brings ai-edge-litert.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.networks.tiler import BlendedTile
from restore_tf.system import quiet

KINDS = ("float32", "float16", "dynamic_int8", "int8", "uint8", "mixed_int8", "int16x8")
METADATA_FORMAT = 1
_PADDINGS = ("edge", "reflect")
_BYTES_PER_PIXEL = 7000.0  # SRN's in float32, for files without this number


class LiteModel:
    """A TFLite file that restores images, ready to run.

    `restore_tf.restore` takes it in place of a `Restorer`. It is not thread-safe.

    Attributes:
      name: the file's name without its ending.
      kind: number format that it computes in, one of `KINDS`; "unknown" without NAME.json.
      channels: image channels, 3 or 1.
      size: the (height, width) in pixels that it takes, None for any.
      size_multiple: of a file for any size, what height and width must be multiples of.
      padding: how pictures are padded at the bottom and right, "edge" or "reflect".
      output_scale: the restored image is so many times as high and as wide.
      colour: how colours pass through one channel, see `Restorer`.
      bytes_per_pixel: memory that it takes, per pixel of what it is run on.
      blended_tile: where tiles may begin; how they are cut, of a file for any size.
      metadata: content of NAME.json; empty without it.
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
        self.metadata = _metadata(path)
        self._interpreter = _interpreter(path, threads)
        self._input, self._output = _image_tensors(self._interpreter, path)
        _, height, width, channels = (int(side) for side in self._input["shape_signature"])
        self.name = path.stem
        self.kind = str(self.metadata.get("kind", "unknown"))
        self.channels = channels
        self.size = None if -1 in (height, width) else (height, width)
        if self.size is None and not self.metadata:
            raise UserError(
                f"{path.with_suffix('.json')}: no such file; a file for any size needs it beside "
                f"{path.name}, it says which sizes the network takes."
            )
        self.size_multiple = self.metadata.get("size_multiple", 1)
        self.padding = self.metadata.get("padding", "edge")
        # A file of fixed size says how much it enlarges by itself.
        enlarges = max(1, int(self._output["shape_signature"][1]) // height) if self.size else 1
        self.output_scale = self.metadata.get("output_scale", enlarges)
        self.colour = self.metadata.get("colour", "planes" if channels == 1 else "rgb")
        self.bytes_per_pixel = self.metadata.get("bytes_per_pixel", _BYTES_PER_PIXEL)
        self.blended_tile = BlendedTile(step=self.metadata.get("tile_step"))
        self._allocated = None

    @property
    def overlap(self) -> tuple[int, int]:
        """How many rows and columns neighbouring tiles share at least, of a file of fixed size."""
        # What a tile misses is beyond its border, so more overlap is better and slower: 256x256
        # tiles of SRN come within 47, 50, 51.6, 52.2 dB of a whole GoPro frame with a sixteenth,
        # an eighth, a quarter, three eighths, in 18, 24, 28, 32 tiles.
        height, width = self.size or (0, 0)
        return height // 4, width // 4

    def tiler(self) -> None:
        """Returns None: a file does not say how far its network sees."""

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
            raise UserError(f"{self.name}: cannot be run ({_line(error)}).") from None
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
            raise UserError(f"{self.name}: cannot be run ({_line(error)}).") from None
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
        raise UserError(f"{path}: damaged, or no TFLite file ({_line(error)}).") from None


def cores() -> int:
    """Returns how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _metadata(path: Path) -> Mapping[str, Any]:
    """What NAME.json says, after a look whether it belongs to the file; {} where there is none."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected what export.py --format tflite writes.")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        usable = (
            found["format"] == METADATA_FORMAT
            and isinstance(found["sha256"], str)
            and isinstance(found["size_multiple"], int)
            and 1 <= found["size_multiple"] <= 4096
            and found["padding"] in _PADDINGS
            and (found.get("tile_step") is None or found["tile_step"] in range(1, 4097))
            and float(found.get("bytes_per_pixel", 1)) > 0
            and found.get("output_scale", 1) in range(1, 17)
            and found.get("colour", "rgb") in ("rgb", "planes", "luminance")
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        usable = False
    if not usable:
        raise UserError(f"{beside}: damaged, or written by another version; export it again.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != found["sha256"]:
        raise UserError(f"{path}: is not the file that {beside.name} describes; export it again.")
    return found


def _line(error):
    """The first line of an error that is not empty."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
