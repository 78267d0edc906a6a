"""The ranges that calibration found, put right where 8 bits cannot work with them.

A convolution whose ReLU never opens ("dead", which short trainings leave) has the range 0 to 0 in
calibration. The converter gives it a scale of about 1e-8; XNNPACK refuses a convolution whose
output is that much finer than what it adds up, and while it steps back the process aborts ("double
free or corruption"). Wider ranges lose nothing: sums come in steps of scale(input) x scale(weights)
anyway.
"""

from __future__ import annotations

import numpy as np

# How much finer than a step of its sums an output may be; XNNPACK takes less than 256.
_FINEST = 16.0
_STEPS, _WEIGHT_STEPS = 255.0, 127.0  # of activations and of weights, in 8 bits
_FLOAT32, _INT8 = 0, 9  # TFLite's numbers of types


def widen(calibrated: bytes) -> tuple[bytes, int]:
    """Widens the ranges of convolutions' outputs that are out of proportion to their inputs.

    Args:
      calibrated: a float TFLite file with ranges, as calibration leaves it.

    Returns:
      The file, and how many ranges were widened.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(calibrated, 0)
    # Which operand is the input; the weights are the second of both.
    inputs = {
        schema.BuiltinOperator.CONV_2D: 0,
        schema.BuiltinOperator.TRANSPOSE_CONV: 2,
    }
    widened = 0
    for graph in model.subgraphs:
        for operator in graph.operators:  # in the order they run: widened outputs are inputs next
            place = inputs.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if place is None:
                continue
            source, weights = (graph.tensors[operator.inputs[i]] for i in (place, 1))
            step = _width(source) / _STEPS * _weight_step(weights, model.buffers[weights.buffer])
            widened += _widen(graph.tensors[operator.outputs[0]], _STEPS * step / _FINEST)
    if not widened:
        return calibrated, 0
    builder = flatbuffers.Builder(len(calibrated))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), widened


def _weight_step(weights, buffer):
    """What a step of the weights is in 8 bits, of the channel where it is coarsest."""
    if weights.type == _INT8:  # next to a fake quantisation weights are in 8 bits already
        return float(np.max(weights.quantization.scale))
    if weights.type != _FLOAT32 or buffer.data is None:
        return 0.0
    values = np.frombuffer(np.asarray(buffer.data, np.uint8).tobytes(), np.float32)
    return float(np.abs(values).max(initial=0.0)) / _WEIGHT_STEPS


def _range(tensor):
    """(low, high) as it will be quantised: 0 is always in it; None for what has none."""
    found = tensor.quantization
    if found is None or found.min is None or len(found.min) != 1:
        return None
    return min(float(found.min[0]), 0.0), max(float(found.max[0]), 0.0)


def _width(tensor):
    low, high = _range(tensor) or (0.0, 0.0)
    return high - low


def _widen(tensor, width):
    """Raises the upper end until the range is as wide as `width`; returns whether it did."""
    found = _range(tensor)
    if found is None or found[1] - found[0] >= width:
        return False
    tensor.quantization.min, tensor.quantization.max = [found[0]], [found[0] + width]
    return True
