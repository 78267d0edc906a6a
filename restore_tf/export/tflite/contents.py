"""Reads the operations of a TFLite file from its flatbuffer."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from pathlib import Path

_FLEX = "Flex"  # prefix of the names of TensorFlow's own operations


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
    """The operations of a TFLite file.

    Attributes:
      operations: {name: how many}; custom ones by their own name.
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
      file: path of the file, or its bytes. LiteRT must have loaded it, or it was just converted:
        a damaged one may raise any error here.
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
