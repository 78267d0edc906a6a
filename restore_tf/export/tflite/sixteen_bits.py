"""Quantises a float TFLite file to values of 16 bits and weights of 8 (int16x8).

Networks that use a convolution several times, as SRN does at each of its scales, have its bias once
in the file. TensorFlow's quantiser writes it in steps of input scale x weight scale, those of its
first use, and every other use reads it in steps of its own input: SRN `quick` came out 28 dB from
Keras, and 60 with a bias for each use.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np

from restore_tf.export.tflite import ranges

_BIASES = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}


def quantise(content: bytes, images: Iterable[np.ndarray]) -> bytes:
    """Returns a float file in 16 bits; pictures stay float32.

    Args:
      content: the file, of fixed size, with one input, a picture.
      images: to measure ranges on: (1, height, width, channels) float32 in [0, 1].

    Raises:
      RuntimeError: an operation has no 16-bit form.
    """
    import tensorflow as tf
    from tensorflow.lite.python.optimize import calibrator  # no public name in TensorFlow 2.21

    calibrated = calibrator.Calibrator(_with_own_biases(content))
    return calibrated.calibrate_and_quantize(
        lambda: ([image] for image in images), tf.float32, tf.float32, False, tf.int16, tf.int64
    )


def _with_own_biases(content):
    """The file, in which no two operations share a bias any more."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    places = {getattr(schema.BuiltinOperator, name): place for name, place in _BIASES.items()}
    for graph in model.subgraphs:
        seen = set()
        for operator in graph.operators:
            place = places.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if place is None or place >= len(operator.inputs) or operator.inputs[place] < 0:
                continue
            bias = int(operator.inputs[place])
            if bias in seen:
                operator.inputs = list(operator.inputs)
                operator.inputs[place] = _copied(model, graph, bias)
            seen.add(bias)
    return ranges.packed(model)


def _copied(model, graph, place):
    """Adds a tensor with the values of another; returns its number."""
    tensor = copy.copy(graph.tensors[place])
    model.buffers.append(copy.copy(model.buffers[tensor.buffer]))
    tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
