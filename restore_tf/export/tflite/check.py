"""Looking at a TFLite file and running it, in a process of its own: a bad file can abort it.

    python -m restore_tf.export.lite_check JOB.json

For the job see `jobs`. Neither TensorFlow nor Keras is imported.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError

_SECONDS = 10.0  # at most, that timing takes once the first frame is done
_FRAMES = 20
_FLEX = "Flex"  # what the names of TensorFlow's own operations begin with

# Operands that say a shape or a place, by operation; in a static file they are constants.
_SHAPE_OPERANDS = {
    "RESHAPE": (1,),
    "STRIDED_SLICE": (1, 2, 3),
    "SLICE": (1, 2),
    "PAD": (1,),
    "PADV2": (1,),
    "MIRROR_PAD": (1,),
    "TILE": (1,),
    "BROADCAST_TO": (1,),
    "FILL": (0,),
    "TRANSPOSE_CONV": (0,),
    "EXPAND_DIMS": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SPLIT": (0,),
    "TRANSPOSE": (1,),
    "MEAN": (1,),
    "SUM": (1,),
}
_SHAPE_OPERATIONS = ("SHAPE", "RANK", "WHERE", "WHILE", "IF")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a TFLite file is made of.

    Attributes:
      operations: how many there are of each, by name; custom ones by their own.
      custom: names of the operations that LiteRT does not have, TensorFlow's among them.
      dynamic: why the file is not static, one phrase for each kind of reason; empty if it is.
      floats: names of the operations that compute in float32.
    """

    operations: dict[str, int]
    custom: tuple[str, ...]
    dynamic: tuple[str, ...]
    floats: tuple[str, ...]

    @property
    def flex(self) -> tuple[str, ...]:
        """Operations that need TensorFlow's kernels (select-TF) on the device."""
        return tuple(name for name in self.custom if name.startswith(_FLEX))


def contents(file: str | os.PathLike | bytes) -> Contents:
    """Reads the operations of a TFLite file.

    Args:
      file: path of the file, or what is in it. It has been converted just now or LiteRT has loaded
        it: one that is damaged may not be readable here.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    counts, custom, dynamic, floats = collections.Counter(), set(), set(), set()
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for place in range(graph.OperatorsLength()):
            operator = graph.Operators(place)
            code = model.OperatorCodes(operator.OpcodeIndex())
            name = _operation_name(code)
            if code.CustomCode() is not None:
                custom.add(name)
            counts[name] += 1
            dynamic.update(_dynamic_operands(name, operator, graph, model))
            outputs = [graph.Tensors(operator.Outputs(i)) for i in range(operator.OutputsLength())]
            if any(output.Type() == schema.TensorType.FLOAT32 for output in outputs):
                floats.add(name)
        for place in range(graph.TensorsLength()):
            tensor = graph.Tensors(place)
            if any(tensor.ShapeSignature(i) < 0 for i in range(tensor.ShapeSignatureLength())):
                dynamic.add("tensors of unknown size")
    lists = (tuple(sorted(names)) for names in (custom, dynamic, floats - {"DEQUANTIZE"}))
    return Contents(dict(sorted(counts.items())), *lists)


def _operation_name(code):
    if code.CustomCode() is not None:
        return code.CustomCode().decode("utf-8", "replace")
    # Files for old readers give numbers above 127 in the second field.
    return _names()[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]


@functools.cache
def _names():
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {value: name for name, value in vars(BuiltinOperator).items() if name.isupper()}


def _dynamic_operands(name, operator, graph, model):
    if name in _SHAPE_OPERATIONS:
        return [name]
    places = [place for place in _SHAPE_OPERANDS.get(name, ()) if place < operator.InputsLength()]
    tensors = [graph.Tensors(operator.Inputs(place)) for place in places]
    if any(model.Buffers(tensor.Buffer()).DataLength() == 0 for tensor in tensors):
        return [f"{name} whose shape is computed"]
    return []


def check(
    file: str, folder: str, restored: str, threads: int | None = None, again: bool = False
) -> dict[str, Any]:
    """Runs a file on the crops of `lite_convert.prepare`.

    Args:
      file: the TFLite file, its NAME.json beside it.
      folder: as `prepare`'s.
      restored: file to write the restored crops to, float32 of the crops' shape, as `.npy`.
      threads: as `LiteModel`'s.
      again: of a file for any size, run it on another size too, and on the first again.

    Returns:
      operations, custom, dynamic, flex, floats (see `Contents`), input and output (type, shape,
      scale, zero point), ms (median of a frame, after the first), peak_mb (of this process),
      bytes_per_pixel (what loading and running added to it, per pixel), finite (whether all outputs
      are numbers).
    """
    from restore_tf.export.lite_convert import read_crops
    from restore_tf.lite import LiteModel

    degraded, _, _ = read_crops(folder)
    images = degraded.astype(np.float32) / 255
    before = peak_bytes()
    model = LiteModel(file, threads)
    outputs = [model.run(images[:1])]
    times = _times(model, degraded[:1] if model.takes_bytes else images[:1])
    outputs += [model.run(image[None]) for image in images[1:]]
    peak = peak_bytes()
    if again:
        _run_on_another_size(model, images[:1], outputs[0])
    outputs = np.concatenate(outputs)
    np.save(restored, outputs)
    found = contents(file)
    return {
        "operations": found.operations,
        "custom": found.custom,
        "dynamic": found.dynamic,
        "flex": found.flex,
        "floats": found.floats,
        **model.describe(),
        "ms": 1e3 * statistics.median(times),
        "peak_mb": peak / 1e6,
        "bytes_per_pixel": max(1.0, (peak - before) / images[0, ..., 0].size),
        "finite": bool(np.isfinite(outputs).all()),
    }


def _times(model, images):
    """Seconds of each frame."""
    run = model.run_raw if model.takes_bytes else model.run
    times = []
    while len(times) < _FRAMES and sum(times) < _SECONDS:
        begin = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - begin)
    return times


def _run_on_another_size(model, image, expected):
    """A file that remembers the first size it saw would give wrong numbers silently."""
    half = image.shape[1] // 2 // model.size_multiple * model.size_multiple
    if half:
        model.run(np.ascontiguousarray(image[:, :half]))
    if not np.array_equal(model.run(image), expected):
        raise UserError(f"{model.name}: gives other numbers after a picture of another size.")


def peak_bytes() -> int:
    """Returns the most memory that this process has held so far, in bytes.

    Linux' own count for the program that runs: `getrusage` there remembers what the process was
    forked from.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        line = next(line for line in lines.splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    from restore_tf.export import jobs

    sys.exit(jobs.serve(sys.argv[1], {"check": check}))
