"""Runs OpenVINO files on pictures of any size, in tiles of the file's size; needs no TensorFlow.

    model = restore_tf.inference.openvino_model.OpenVinoModel("srn_720x1280_int8.xml")
    restored = restore_tf.restore(model, degraded)

`export.py --format openvino` makes such files: NAME.xml, the network; NAME.bin, its weights; and
NAME.json, which `device_file` reads.

Needs `pip install 'restore_tf[openvino]'`.
"""

from __future__ import annotations

import functools
import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.inference.device_file import DeviceFile, one_line_of, read_metadata

KINDS = ("float32", "int8")
ENDINGS = (".xml", ".bin")


class OpenVinoModel(DeviceFile):
    """An OpenVINO file that restores images, compiled for this machine's CPU.

    `restore_tf.restore` takes it in place of a `Restorer`. It is not thread-safe. Attributes are
    `DeviceFile`'s; `kind` is one of `KINDS`.
    """

    takes_bytes = False

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        """Loads and compiles a file.

        Args:
          path: NAME.xml, with NAME.bin beside it. NAME.json is looked for there, too.
          threads: how many to compute with; OpenVINO's own choice by default.

        Raises:
          UserError: openvino is missing, or a file is missing, damaged, changed since it was
            written, or does not restore images.
        """
        path = Path(path)
        if path.suffix != ENDINGS[0]:
            raise UserError(f"{path}: no OpenVINO file; expected NAME{ENDINGS[0]} of export.py.")
        metadata = read_metadata([path.with_suffix(ending) for ending in ENDINGS])
        core, network = _read(path)
        self._shapes = _image_shapes(network, path)
        (_, height, width, channels), restored = self._shapes
        super().__init__(path, metadata, (height, width, channels), restored[1])
        # OpenVINO's own choice is bfloat16 where the processor has it: other numbers than Keras'.
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(network, "CPU", options)
        except RuntimeError as error:
            raise UserError(f"{path}: cannot be run ({one_line_of(error)}).") from None

    def describe(self) -> dict[str, dict[str, Any]]:
        """Returns type and shape of "input" and "output"."""
        return {
            side: {"type": "float32", "shape": list(shape)}
            for side, shape in zip(("input", "output"), self._shapes, strict=True)
        }

    def restore_padded(
        self, images: np.ndarray, seed: int = 0, origins: np.ndarray | None = None
    ) -> np.ndarray:
        """Restores a batch, image by image.

        Args:
          images: (batch, height, width, channels) float32 in [0, 1], of the file's `size`.
          seed: without effect: a file's noise is fixed when it is exported.
          origins: without effect.

        Returns:
          float32, `output_scale` times as high and wide.

        Raises:
          UserError: images of another size or number of channels, or the file cannot be run.
        """
        given, restored = self._shapes
        if images.shape[1:] != given[1:]:
            raise UserError(
                f"images of shape {images.shape[1:]}; {self.name} takes {given[1]}x{given[2]} "
                f"pixels (height x width) and {self.channels} channels."
            )
        try:
            found = [self._compiled(image[None])[0][0] for image in images]
        except RuntimeError as error:
            raise UserError(f"{self.name}: cannot be run ({one_line_of(error)}).") from None
        return np.stack(found) if found else np.empty((0, *restored[1:]), np.float32)


@functools.cache
def _core():
    """OpenVINO's runtime, one for the process.

    On processors with AMX a runtime lends threads a stack for signals. Of several runtimes one took
    the stack of another along at its end, and the next signal ended the process.
    """
    import openvino

    return openvino.Core()


def _read(path):
    try:
        importlib.import_module("openvino")
    except ImportError:
        raise UserError(
            "openvino is not installed, which runs OpenVINO files: pip install "
            "'restore_tf[openvino]'."
        ) from None
    core = _core()
    try:
        return core, core.read_model(path)
    except RuntimeError as error:
        raise UserError(f"{path}: damaged, or no OpenVINO file ({one_line_of(error)}).") from None


def _image_shapes(network, path):
    """Shapes of the one input and output; a UserError where they are not images of one size."""
    tensors = [*network.inputs, *network.outputs]
    shapes = [tensor.partial_shape for tensor in tensors]
    if len(network.inputs) == len(network.outputs) == 1 and all(s.is_static for s in shapes):
        given, restored = (tuple(shape.to_shape()) for shape in shapes)
        floats = all(tensor.element_type.get_type_name() == "f32" for tensor in tensors)
        if floats and len(given) == len(restored) == 4 and given[0] == 1 and given[3] in (1, 3):
            return given, restored
    found = ", ".join(str(shape) for shape in shapes[: len(network.inputs)])
    raise UserError(
        f"{path}: restores no images; expected one input of (1, height, width, 3 or 1) and one "
        f"output, not {found or 'no input'}."
    )
