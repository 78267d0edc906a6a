"""A network's cost per pixel of the picture, counted in its TensorFlow graph."""

from __future__ import annotations

import dataclasses
import math

from restore_tf.system.log import logger

_SIDE = 64  # of the picture that is counted on, or the next larger one that a network takes


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one forward pass, per pixel of the picture.

    Attributes:
      multiplications: multiply-adds of all convolutions and matrix products.
      values: their output values.
      taps: input positions that kernels larger than 1x1 read, all channels of a position counted
        as one. XNNPACK keeps a pointer of 8 bytes for each.
      tensorflow_bytes: memory that TensorFlow takes.
      widest: output values of the largest of them; at full resolution, its channels.
      size_multiple: the network's, in pixels.
      runs: of the network for one picture; 3 where it restores the colours one by one.
    """

    multiplications: float
    values: float
    taps: float
    tensorflow_bytes: float
    widest: float = 0.0
    size_multiple: int = 1
    runs: int = 1

    def repeated(self, factor: float) -> Cost:
        """Returns the cost of more work of the same kind in one graph; memory stays.

        Args:
          factor: how many times the work.
        """
        return dataclasses.replace(
            self,
            multiplications=factor * self.multiplications,
            values=factor * self.values,
            taps=factor * self.taps,
        )


def count(model, restoring: bool = False) -> Cost:
    """Counts a network's convolutions, transposed and depthwise ones too, and matrix products.

    Operations on a picture's mean alone, such as the gates of channel attention, are counted as if
    every 64x64 pixels had one; they are negligible. Functions and loops of the graph are not
    counted: a warning says how many there are.

    Args:
      model: a `Restorer`; one that restores the colours one by one is counted for one of them.
      restoring: count `restore_batch`, all passes of a sampler, in place of one call.

    Returns:
      The `Cost` of one picture.
    """
    import tensorflow as tf

    model.build()
    side = _SIDE + -_SIDE % model.size_multiple
    signature = tf.TensorSpec((1, side, side, model.channels))
    call = model.restore_batch if restoring else lambda images: model(images, training=False)[-1]
    function = tf.function(call, autograph=False)
    graph = function.get_concrete_function(signature).graph
    operations = graph.get_operations()
    unseen = sum(each.type in _FUNCTIONS for each in operations)
    if unseen:
        logger.warning(
            "%s: %d functions of its graph (grouped convolutions, loops) are not counted.",
            model.name,
            unseen,
        )
    found = [_COUNTERS[each.type](each) for each in operations if each.type in _COUNTERS]
    multiplications, values, taps = (sum(each) / side**2 for each in zip(*found, strict=True))
    widest = max(values for _, values, _ in found) / side**2
    one_by_one = model.channels == 1 and getattr(model, "colour", None) != "luminance"
    return Cost(
        multiplications,
        values,
        taps,
        model.bytes_per_pixel,
        widest,
        model.size_multiple,
        3 if one_by_one else 1,
    )


def _convolution(operation):
    """(multiply-adds, values, taps). A kernel's shape is (height, width, inputs, outputs)."""
    output = operation.outputs[0].shape
    return _taps(operation, output[:3], output)


def _transposed(operation):
    return _taps(operation, operation.inputs[2].shape[:3], operation.outputs[0].shape)


def _taps(operation, pixels, output):
    # A depthwise kernel's (height, width, inputs, outputs of each) comes to the same product.
    *sides, inputs, outputs = operation.inputs[1].shape
    taps = math.prod(pixels) * math.prod(sides)
    return taps * inputs * outputs, math.prod(output), taps if max(sides) > 1 else 0


def _matrix_product(operation):
    transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    summed = operation.inputs[0].shape[-2 if transposed else -1]
    values = math.prod(operation.outputs[0].shape)
    return values * summed, values, 0


def _einsum(operation):
    terms, _, result = operation.get_attr("equation").decode().partition("->")
    sizes = {}
    for term, tensor in zip(terms.split(","), operation.inputs, strict=True):
        head, _, tail = term.partition("...")
        shape = tuple(tensor.shape)
        sizes |= dict(zip(head, shape, strict=False))
        sizes |= dict(zip(reversed(tail), reversed(shape), strict=False))
    values = math.prod(operation.outputs[0].shape)
    summed = math.prod(size for label, size in sizes.items() if label not in result)
    return values * summed, values, 0


_COUNTERS = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _convolution,
    "Conv2DBackpropInput": _transposed,
    "MatMul": _matrix_product,
    "BatchMatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "BatchMatMulV3": _matrix_product,
    "Einsum": _einsum,
}
_FUNCTIONS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile")
