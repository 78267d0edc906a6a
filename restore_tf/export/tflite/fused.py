"""Replaces the six operations of a GELU by TFLite's own one.

x * sigmoid(x * (a * x^2 + b)) is GELU in its tanh form. TFLite's converter recognises TensorFlow's
own form of it only. In 8 bits each of the six operations rounds its result, and squares have no
8-bit form: a square would be left in floats. GELU has one, a table of 256 entries.
"""

from __future__ import annotations

import collections

import numpy as np

_GELU_1 = 1.5957691216057308  # 2 sqrt(2 / pi)
_GELU_3 = 0.044715 * _GELU_1


def fuse_gelu(model, graph, schema) -> int:
    """Replaces the GELUs of a parsed float file by one operation each; returns how many.

    Args:
      model: a `schema.ModelT`.
      graph: its one subgraph.
      schema: `ai_edge_litert.schema_py_generated`.
    """
    parsed = _Parsed(model, graph, schema.BuiltinOperator)
    replaced, gone = [], set()
    for operator in graph.operators:
        found = _gelu(parsed, operator)
        if found is not None:
            place, inner, last = found
            replaced.append((place, last))
            gone.update(map(id, inner))
    if replaced:
        index = _code(model, schema)
    for place, operator in replaced:
        operator.opcodeIndex, operator.inputs = index, np.array([place], np.int32)
        operator.builtinOptionsType = schema.BuiltinOptions.GeluOptions
        operator.builtinOptions = schema.GeluOptionsT()
        operator.builtinOptions.approximate = True
    graph.operators = [operator for operator in graph.operators if id(operator) not in gone]
    return len(replaced)


class _Parsed:
    """Looks up which operations write and read a tensor."""

    def __init__(self, model, graph, names):
        self._model, self._graph, self.names = model, graph, names
        self._makers, self._takers = {}, collections.Counter()
        for operator in graph.operators:
            self._makers |= {int(place): operator for place in operator.outputs}
            self._takers.update(int(place) for place in operator.inputs)
        self._takers.update(int(place) for place in graph.outputs)

    def is_a(self, operator, name) -> bool:
        if operator is None:
            return False
        code = self._model.operatorCodes[operator.opcodeIndex].builtinCode
        return code == getattr(self.names, name)

    def maker(self, place, name):
        """Returns the operation that writes a tensor with one reader, or None.

        Args:
          place: the tensor's index.
          name: of the operation, such as "MUL"; of another one, None is returned.
        """
        operator = self._makers.get(int(place))
        alone = self._takers[int(place)] == 1
        return operator if alone and self.is_a(operator, name) else None

    def number(self, place):
        """Returns a tensor's constant; None where it is no constant or has several numbers.

        Args:
          place: the tensor's index.
        """
        tensor = self._graph.tensors[int(place)]
        data = self._model.buffers[tensor.buffer].data
        if data is None or len(data) != 4:
            return None
        return float(np.asarray(data, np.uint8).view(np.float32)[0])

    def with_number(self, operator, number):
        """Returns the other operand of an operation with a constant operand, or None.

        Args:
          operator: has two operands.
          number: the constant, to 1e-4 of it.
        """
        for this, other in (operator.inputs, operator.inputs[::-1]):
            found = self.number(this)
            if found is not None and np.isclose(found, number, rtol=1e-4):
                return int(other)
        return None


def _gelu(parsed, last):
    """(x, the operations before the last, the last) where `last` is the last of a GELU."""
    if not parsed.is_a(last, "MUL"):
        return None
    for gate, x in (last.inputs, last.inputs[::-1]):
        sigmoid = parsed.maker(gate, "LOGISTIC")
        inner = sigmoid and parsed.maker(sigmoid.inputs[0], "MUL")
        rest = inner and _square_of(parsed, inner, int(x))
        if rest:
            return int(x), [*rest, inner, sigmoid], last
    return None


def _square_of(parsed, inner, x):
    """The operations of a * x^2 + b that `inner` multiplies x with, or None."""
    for this, other in (inner.inputs, inner.inputs[::-1]):
        add = parsed.maker(other, "ADD") if int(this) == x else None
        scaled = add and parsed.with_number(add, _GELU_1)
        multiply = None if scaled is None else parsed.maker(scaled, "MUL")
        squared = multiply and parsed.with_number(multiply, _GELU_3)
        square = None if squared is None else parsed.maker(squared, "SQUARE")
        if square and int(square.inputs[0]) == x:
            return [square, multiply, add]
    return None


def _code(model, schema):
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.GELU, 127
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
