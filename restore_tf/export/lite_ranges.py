"""The ranges that calibration found, put right where 8 bits cannot or need not work with them.

A convolution whose ReLU never opens ("dead", which short trainings leave) has the range 0 to 0 in
calibration. The converter gives it a scale of about 1e-8; XNNPACK refuses a convolution whose
output is that much finer than what it adds up, and while it steps back the process aborts ("double
free or corruption"). Wider ranges lose nothing: sums come in steps of scale(input) x scale(weights)
anyway.

The converter joins ReLUs to convolutions, but not to transposed ones. It need not even join them:
the range of what a ReLU gives begins at 0, and 8 bits cut off what is below it. So such a ReLU goes
and the transposed convolution gets its range, which saves a pass over the picture.
"""

from __future__ import annotations

import collections

import numpy as np

# How much finer than a step of its sums an output may be; XNNPACK takes less than 256.
_FINEST = 16.0
_STEPS, _WEIGHT_STEPS = 255.0, 127.0  # of activations and of weights, in 8 bits
_FLOAT32, _INT8 = 0, 9  # TFLite's numbers of types


def put_right(calibrated: bytes) -> tuple[bytes, int]:
    """Widens ranges of convolutions' outputs that are out of proportion to their inputs, and leaves
    the ReLUs after transposed convolutions to their ranges.

    Args:
      calibrated: a float TFLite file with ranges, as calibration leaves it. Without the ReLUs it is
        right in 8 bits only.

    Returns:
      The file, and how many ranges were widened.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(calibrated, 0)
    dropped = sum(_drop_relus(model, graph, schema.BuiltinOperator) for graph in model.subgraphs)
    widened = sum(_widen_all(model, graph, schema.BuiltinOperator) for graph in model.subgraphs)
    if not dropped and not widened:
        return calibrated, 0
    builder = flatbuffers.Builder(len(calibrated))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), widened


def _drop_relus(model, graph, names):
    """Lets transposed convolutions give what the ReLUs after them would; returns how many."""
    uses = collections.Counter(int(i) for operator in graph.operators for i in operator.inputs)
    uses.update(int(i) for i in graph.outputs)
    makers, kept = {}, []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        source = int(operator.inputs[0]) if len(operator.inputs) else -1
        found = _range(graph.tensors[source]) if source in makers else None
        if code == names.RELU and found is not None and uses[source] == 1:
            makers[source].outputs = operator.outputs
            # Its own range is not to be trusted: an addition that follows writes its sum into the
            # ReLU's memory, and calibration looks there afterwards.
            given = graph.tensors[operator.outputs[0]].quantization
            given.min, given.max = [0.0], [found[1]]
            continue
        if code == names.TRANSPOSE_CONV:
            makers[int(operator.outputs[0])] = operator
        kept.append(operator)
    dropped = len(graph.operators) - len(kept)
    graph.operators = kept
    return dropped


def _widen_all(model, graph, names):
    # Which operand is the input; the weights are the second of both.
    inputs = {names.CONV_2D: 0, names.TRANSPOSE_CONV: 2}
    widened = 0
    for operator in graph.operators:  # in the order they run: widened outputs are inputs next
        place = inputs.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if place is None:
            continue
        source, weights = (graph.tensors[operator.inputs[i]] for i in (place, 1))
        step = _width(source) / _STEPS * _weight_step(weights, model.buffers[weights.buffer])
        widened += _widen(graph.tensors[operator.outputs[0]], _STEPS * step / _FINEST)
    return widened


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
