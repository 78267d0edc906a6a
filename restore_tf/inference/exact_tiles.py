"""Restoring a picture piece by piece with the numbers of the whole, so that memory is bounded.

A scale-recurrent network (`restore_scale`, `scale_path`; SRN) is tiled exactly: each scale is cut
up in its own coordinates, every tile sees as far around itself as the network does, and the
assembled image and state go on to the next scale. Numbers come out as for the whole picture.

What cannot be tiled exactly gets tiles that are blended, see `blended_tiles`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from restore_tf.errors import UserError
from restore_tf.networks.layers import legacy_upsample2
from restore_tf.pictures.pixels import from_float, to_float


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far a chain of layers sees, and on which grid.

    Attributes:
      radius: an output pixel depends on inputs at most so many pixels away.
      alignment: pieces must start at multiples of it, or strides fall on other pixels.
    """

    radius: int
    alignment: int


def reach(path) -> Reach:
    """Derives the `Reach` of convolutions that follow one another.

    Args:
      path: the layers on the longest way from input to output; `Conv2D` and `Conv2DTranspose`.
    """
    radius, spacing, widest = 0, 1, 1  # spacing: distance of neighbours, in input pixels
    for layer in path:
        (kernel,), (stride,) = set(layer.kernel_size), set(layer.strides)
        if isinstance(layer, keras.layers.Conv2DTranspose):
            spacing //= stride
            radius += kernel // 2 * spacing
        else:
            radius += kernel // 2 * spacing
            spacing *= stride
        widest = max(widest, spacing)
    return Reach(radius, widest)


@dataclasses.dataclass(frozen=True)
class Span:
    """One tile along one axis: rows (or columns) `begin` … `end`, seen with its surroundings.

    Attributes:
      begin, end: what the tile is to give.
      outer_begin, outer_end: what it has to see for that.
    """

    begin: int
    end: int
    outer_begin: int
    outer_end: int

    @property
    def inner(self) -> slice:
        """Where the tile's result lies within what it sees."""
        return slice(self.begin - self.outer_begin, self.end - self.outer_begin)


def spans(size: int, tile: int, margin: int) -> list[Span]:
    """Cuts an axis into tiles.

    Args:
      size: the axis' length.
      tile: length of a tile with its surroundings; a multiple of the alignment, as `margin` is.
      margin: how far a tile sees beyond what it gives.
    """
    if tile >= size:
        return [Span(0, size, 0, size)]
    found, begin = [], 0
    while begin < size:
        outer_begin = max(0, begin - margin)
        outer_end = min(size, outer_begin + tile)
        # The last tile sees the border and needs no surroundings there.
        end = size if outer_end == size else outer_end - margin
        found.append(Span(begin, end, outer_begin, outer_end))
        begin = end
    return found


def restore_scales(
    model,
    batch: np.ndarray,
    tile: int,
    progress: Callable[[int], None] = lambda pixels: None,
) -> np.ndarray:
    """Restores padded images with a scale-recurrent network, in exact tiles.

    Args:
      model: a network with `scales`, `restore_scale` and `scale_path`.
      batch: (batch, height, width, channels), uint8, uint16 or float, padded to `size_multiple`.
      tile: side of a tile with its surroundings, in pixels of each scale.
      progress: told after each tile how many pixels it gave.

    Returns:
      The last scale's images, of the batch's shape and type; integers are clipped and rounded.

    Raises:
      UserError: a tile too small to give anything.
    """
    see = reach(model.scale_path())
    margin = -(-see.radius // see.alignment) * see.alignment
    tile = tile // see.alignment * see.alignment
    if tile <= 2 * margin:
        raise UserError(
            f"tiles of {tile} pixels: {model.name} sees {margin} pixels around each; expected at "
            f"least {2 * margin + see.alignment}."
        )
    result, state = None, ()
    for exponent in reversed(range(model.scales)):
        scale = _Scale(model, see.alignment, exponent)
        result, state = scale.run(batch, result, state, tile, margin, progress)
    return result


class _Scale:
    """One scale of a scale-recurrent network, restored tile by tile."""

    def __init__(self, model, alignment, exponent):
        self.model = model
        self.alignment = alignment  # also how much coarser the state is than the image
        self.factor = 2**exponent
        self.function = _compiled(model, exponent == model.scales - 1, exponent == 0)

    def run(self, batch, previous, state, tile, margin, progress):
        """Returns the scale's images, and its state where another scale follows."""
        count, height, width, channels = batch.shape
        height, width = height // self.factor, width // self.factor
        last = self.factor == 1
        restored = np.empty((count, height, width, channels), batch.dtype if last else np.float32)
        states = ()
        for rows in spans(height, tile, margin):
            for columns in spans(width, tile, margin):
                blurry = to_float(batch[:, self._strided(rows), self._strided(columns)])
                inputs = [blurry, *self._coarser(previous, state, rows, columns)]
                image, *parts = self.function(*inputs)
                inside = np.asarray(image)[:, rows.inner, columns.inner]
                place = (
                    slice(None),
                    slice(rows.begin, rows.end),
                    slice(columns.begin, columns.end),
                )
                restored[place] = from_float(inside, restored.dtype)
                if not states:
                    states = tuple(self._empty_state(part, count, height, width) for part in parts)
                for whole, part in zip(states, parts, strict=True):
                    self._place(whole, part, rows, columns)
                progress(count * inside.shape[1] * inside.shape[2])
        return restored, states

    def _strided(self, span):
        # SRN takes every scale from the finest picture by plain subsampling.
        return slice(span.outer_begin * self.factor, span.outer_end * self.factor, self.factor)

    def _coarser(self, previous, state, rows, columns):
        """What the scale before gave: pieces of it, and where in their double they begin."""
        if previous is None:
            return []
        pieces = []
        for array, spacing in [(previous, 1), *((part, self.alignment) for part in state)]:
            (top, bottom), (left, right) = (
                (span.outer_begin // spacing, span.outer_end // spacing) for span in (rows, columns)
            )
            # One more row and column: doubling takes means of neighbours.
            pieces.append(array[:, top // 2 : bottom // 2 + 1, left // 2 : right // 2 + 1])
            pieces.append(np.array([top % 2, left % 2, bottom - top, right - left], np.int32))
        return pieces

    def _empty_state(self, part, count, height, width):
        height, width = height // self.alignment, width // self.alignment
        return np.empty((count, height, width, part.shape[-1]), np.float32)

    def _place(self, whole, part, rows, columns):
        inner, outer = [], []
        for span in (rows, columns):
            begin, end = span.begin // self.alignment, span.end // self.alignment
            offset = span.outer_begin // self.alignment
            outer.append(slice(begin, end))
            inner.append(slice(begin - offset, end - offset))
        whole[:, outer[0], outer[1]] = np.asarray(part)[:, inner[0], inner[1]]


def _compiled(model, first, last):
    """A function of one tile: blurry, and for all but the coarsest scale what came before."""
    cache = model.__dict__.setdefault("_compiled_scales", {})
    if (first, last) in cache:
        return cache[first, last]

    def run(blurry, *coarser):
        pieces = [
            _doubled(piece, place) for piece, place in zip(coarser[::2], coarser[1::2], strict=True)
        ]
        previous, *state = pieces or [blurry]
        restored, state = model.restore_scale(blurry, previous, tuple(state) or None)
        return [restored] if last or state is None else [restored, *state]

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def images(channels):
            return tf.TensorSpec((None, None, None, channels), tf.float32)

        place, signature = tf.TensorSpec((4,), tf.int32), [images(model.channels)]
        if not first:
            widths = [model.channels, *([model.state_width] * 2 if model.recurrent else [])]
            signature += [spec for width in widths for spec in (images(width), place)]
        run = tf.function(run, input_signature=signature)
    cache[first, last] = run
    return run


def _doubled(piece, place):
    piece = legacy_upsample2(keras.ops.convert_to_tensor(piece))
    top, left, height, width = (place[i] for i in range(4))
    return piece[:, top : top + height, left : left + width]
