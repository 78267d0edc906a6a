"""Measures the ranges of a network's activations for 8 bits (255 steps), and corrects them.

TFLite's own calibration reads a tensor after later operations have run, and an addition writes its
sum into its operand's memory: the operand gets the range of the sum. It also takes the largest
value of all, so that all others are rounded more coarsely. Here measured tensors share no memory,
and the outermost 1/10,000 of the values at either end is cut off.

The first tensor is the picture and the last is the restored one: both get 0 to 1, which clips the
restored picture and makes a step exactly 1/255.

A convolution whose ReLU is always zero ("dead", as after short trainings) has the range 0 to 0. The
converter gives it a scale of about 1e-8; XNNPACK refuses a convolution whose output scale is so
much finer than that of its sums, and the process aborts while it falls back ("double free or
corruption"). Wider ranges lose nothing: sums come in steps of scale(input) x scale(weights) anyway.

The converter separates ReLUs from transposed convolutions, though they are not needed at all: the
range of a ReLU's output begins at 0, and 8 bits clip lower values. So they are removed, which saves
a pass over the picture each.

A tensor that 8 bits represent badly can stay in floats ("mixed" files): one without a range does.
The criterion is its signal-to-noise ratio: its variance over the mean square of the changes by
rounding and clipping to its own range.

The converter leaves an operation with an unused output in floats in one conversion of four. The
only one is a split: it becomes slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import psutil

from restore_tf.export.tflite import fused

_CUT_OFF = 1e-4  # of the values at either end; light SRN: 42.9 dB from Keras, 42.3 without
_SAMPLED = 2**16  # values of each tensor and picture for the quantiles
_SHARE = 0.5  # of the free memory
# How much finer than a step of its sums an output may be; XNNPACK takes less than 256.
_FINEST = 16.0
_STEPS, _WEIGHT_STEPS = 255.0, 127.0  # of activations and of weights, in 8 bits
_FLOAT32 = 0  # TFLite's number of the type
# Operations that only move values have their input's range, or the converter may find two.
_MOVES = ("RESHAPE", "TRANSPOSE", "MIRROR_PAD", "STRIDED_SLICE")


def add(
    content: bytes,
    images: Iterable[np.ndarray],
    floor: float | None = None,
    memory: float | None = None,
) -> tuple[bytes, int]:
    """Adds the ranges for quantisation to a float TFLite file.

    Args:
      content: the file, of fixed size, with one input and one output, which are pictures.
      images: to measure on: (height, width, channels) float32 in [0, 1], of the file's size.
      floor: tensors with a lower signal-to-noise ratio in 8 bits, in dB, get no range and stay in
        floats, as does the restored picture; None for a file without floats.
      memory: bytes of the tensors that are measured at a time; None for half of the free memory.

    Returns:
      The file with ranges, valid in 8 bits only, and how many of them were widened.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    fused.fuse_gelu(model, graph, schema)
    images, outputs, measured = list(images), graph.outputs, {}
    memory = _SHARE * psutil.virtual_memory().available if memory is None else memory
    for lot in _lots(graph, memory):
        graph.outputs = list(dict.fromkeys([*outputs, *lot]))  # nothing overwrites an output
        measured |= _measure(packed(model), graph, lot, images)
    graph.outputs = outputs
    kept = {place for place, found in measured.items() if floor is None or found[2] >= floor}
    ranges = {place: measured[place][:2] for place in kept}
    ranges[int(graph.inputs[0])] = ranges[int(graph.outputs[0])] = 0.0, 1.0
    if floor is not None:
        del ranges[int(graph.outputs[0])]
        _move(ranges, model, graph, schema.BuiltinOperator)
    widened = _widen(ranges, model, graph, schema.BuiltinOperator)
    _leave_relus_to_ranges(model, graph, schema)
    _slice_in_place_of_split(model, graph, schema)
    for place, (low, high) in ranges.items():
        found = graph.tensors[place].quantization = schema.QuantizationParametersT()
        found.min, found.max = [low], [high if high > low else low + 1.0]  # zeros fit into any
    return packed(model), widened


def packed(model) -> bytes:
    """Returns the bytes of a TFLite file.

    Args:
      model: a `ModelT` of LiteRT's schema.
    """
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _lots(graph, most_bytes) -> Iterator[list[int]]:
    """Cuts the float tensors that operations give into lots; each costs a run over all images."""
    lot, held = [], 0
    for place in (int(place) for operator in graph.operators for place in operator.outputs):
        tensor = graph.tensors[place]
        if tensor.type != _FLOAT32:
            continue
        size = 4 * math.prod(tensor.shape.tolist())
        if lot and held + size > most_bytes:
            yield lot
            lot, held = [], 0
        lot.append(place)
        held += size
    yield lot


def _move(ranges, model, graph, names):
    """Gives the outputs of operations that only move values their input's range, or none."""
    moves = [getattr(names, name) for name in _MOVES]
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode not in moves:
            continue
        place, output = int(operator.inputs[0]), int(operator.outputs[0])
        if place in ranges:
            ranges[output] = ranges[place]
        else:
            ranges.pop(output, None)


def decibels(values: np.ndarray, low: float, high: float) -> float:
    """Returns the signal-to-noise ratio of values in 8 bits, in dB.

    Args:
      values: of any shape.
      low: the range's start, 0 or less.
      high: the range's end, 0 or more.
    """
    step = (high - low) / _STEPS
    if step == 0:
        return math.inf
    zero = np.round(-low / step)
    held = (np.clip(np.round(values / step) + zero, 0, _STEPS) - zero) * step
    noise, signal = np.mean((held - values) ** 2), np.var(values)
    return 10 * math.log10(signal / noise) if noise and signal else math.inf


def _measure(content, graph, places, images) -> dict[int, tuple[float, float, float]]:
    """(low, high, dB) of each of the tensors: the union over the images, and the worst of them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from restore_tf.inference import tflite_model
    from restore_tf.system import quiet

    ranges = dict.fromkeys(
        places, (0.0, 0.0, math.inf)
    )  # 8 bits hold 0 exactly, so it is in every range
    with quiet.standard_error():
        interpreter = Interpreter(
            model_content=content,
            num_threads=tflite_model.cores(),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    for image in images:
        interpreter.set_tensor(int(graph.inputs[0]), image[None])
        interpreter.invoke()
        for place, (low, high, worst) in ranges.items():
            values = interpreter.get_tensor(place).ravel()
            if len(values) > _SAMPLED:
                # Drawn by the tensor alone: how they are cut into lots changes nothing.
                random = np.random.default_rng(place)
                values = values[random.integers(0, len(values), _SAMPLED)]
            least, most = np.quantile(values, (_CUT_OFF, 1 - _CUT_OFF))
            least, most = min(0.0, float(least)), max(0.0, float(most))
            held = decibels(values, least, most)
            ranges[place] = min(low, least), max(high, most), min(worst, held)
    return ranges


def _widen(ranges, model, graph, names) -> int:
    """Widens output ranges too fine for a convolution's input and weights; returns how many."""
    # Which operand is the input; the weights are the second of both.
    inputs = {names.CONV_2D: 0, names.TRANSPOSE_CONV: 2}
    widened = 0
    for operator in graph.operators:  # in the order they run: widened outputs are inputs next
        place = inputs.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if place is None or int(operator.outputs[0]) not in ranges:
            continue
        if int(operator.inputs[place]) not in ranges:  # in floats
            continue
        low, high = ranges[int(operator.inputs[place])]
        step = (high - low) / _STEPS * _weight_step(model, graph.tensors[operator.inputs[1]])
        width = _STEPS * step / _FINEST
        low, high = ranges[int(operator.outputs[0])]
        if high - low < width:
            ranges[int(operator.outputs[0])] = low, low + width
            widened += 1
    return widened


def _leave_relus_to_ranges(model, graph, schema) -> None:
    relu = schema.ActivationFunctionType.RELU
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code != schema.BuiltinOperator.TRANSPOSE_CONV:
            continue
        if operator.builtinOptions.fusedActivationFunction == relu:
            operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE


def _slice_in_place_of_split(model, graph, schema) -> None:
    """Replaces splits with an unused output by slices of the used ones.

    The coarsest scale of a ConvLSTM has one: its state is zero, and so the forget gate is unused.
    """
    used = {int(place) for operator in graph.operators for place in operator.inputs}
    used |= {int(place) for place in graph.outputs}
    operators, graph.operators = graph.operators, []
    for operator in operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        wanted = [int(place) in used for place in operator.outputs]
        if code != schema.BuiltinOperator.SPLIT or all(wanted):
            graph.operators.append(operator)
            continue
        axis = int(
            np.asarray(model.buffers[graph.tensors[operator.inputs[0]].buffer].data).view(np.int32)[
                0
            ]
        )
        begin = np.zeros(len(graph.tensors[operator.inputs[1]].shape), np.int32)
        for place, is_wanted in zip(operator.outputs, wanted, strict=True):
            end = begin + np.asarray(graph.tensors[place].shape, np.int32)
            if is_wanted:
                constants = [
                    _constant(model, graph, schema, each)
                    for each in (begin, end, np.ones_like(begin))
                ]
                graph.operators.append(
                    _strided_slice(model, schema, operator.inputs[1], constants, place)
                )
            begin[axis] = end[axis]


def _constant(model, graph, schema, values) -> int:
    """Adds a tensor of int32 numbers; returns its place."""
    model.buffers.append(schema.BufferT())
    model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
    tensor = schema.TensorT()
    tensor.name = f"slice_{len(graph.tensors)}"
    tensor.shape, tensor.type = np.array(values.shape, np.int32), schema.TensorType.INT32
    tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _strided_slice(model, schema, source, constants, output):
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.STRIDED_SLICE
    code.version = 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = np.array([source, *constants], np.int32)
    operator.outputs = np.array([output], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions
    operator.builtinOptions = schema.StridedSliceOptionsT()
    return operator


def _weight_step(model, weights) -> float:
    """A step of the weights in 8 bits, of the channel where it is coarsest."""
    data = np.asarray(model.buffers[weights.buffer].data, np.uint8)
    return float(np.abs(data.view(np.float32)).max()) / _WEIGHT_STEPS
