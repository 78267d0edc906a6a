"""How far convolutions see, and how an axis is cut into tiles that see that far."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far a chain of layers sees, and on which grid.

    Attributes:
      radius: an output pixel depends on inputs at most so many pixels away.
      alignment: pieces must start at multiples of it, or strides fall on other pixels.
    """

    radius: int
    alignment: int

    @property
    def margin(self) -> int:
        """The radius as a multiple of the alignment: what a tile must see around itself."""
        return -(-self.radius // self.alignment) * self.alignment


def reach(path) -> Reach:
    """Derives the `Reach` of convolutions that follow one another.

    Args:
      path: the layers on the longest way from input to output; `Conv2D`, `Conv2DTranspose` and
        `UpSampling2D` to the nearest pixel.
    """
    from keras.layers import Conv2DTranspose, UpSampling2D  # late: a TFLite file needs no Keras

    radius, spacing, widest = 0, 1, 1  # spacing: distance of neighbours, in input pixels
    for layer in path:
        if isinstance(layer, UpSampling2D):
            (factor,) = set(layer.size)
            # Outputs copy a pixel that lies up to so far from them, seen from either side.
            radius += spacing - spacing // factor
            spacing //= factor
            continue
        (kernel,), (stride,) = set(layer.kernel_size), set(layer.strides)
        (dilation,) = set(layer.dilation_rate)
        if isinstance(layer, Conv2DTranspose):
            spacing //= stride
            radius += kernel // 2 * spacing
        else:
            radius += dilation * (kernel // 2) * spacing
            spacing *= stride
        widest = max(widest, spacing)
    return Reach(radius, widest)


@dataclasses.dataclass(frozen=True)
class Span:
    """One tile along one axis: rows (or columns) `begin` … `end`, seen with its surroundings.

    Attributes:
      begin: first row that the tile gives.
      end: the row after its last.
      outer_begin: first row that the tile has to see.
      outer_end: the row after the last.
    """

    begin: int
    end: int
    outer_begin: int
    outer_end: int

    @property
    def inner(self) -> slice:
        """Where the tile's result lies within what it sees."""
        return slice(self.begin - self.outer_begin, self.end - self.outer_begin)

    @property
    def given(self) -> slice:
        """What the tile is to give."""
        return slice(self.begin, self.end)

    @property
    def seen(self) -> slice:
        """What the tile has to see."""
        return slice(self.outer_begin, self.outer_end)


def spans(size: int, tile: int, margin: int) -> list[Span]:
    """Cuts an axis into tiles.

    Args:
      size: the axis' length.
      tile: length of a tile with its surroundings; a multiple of the alignment, as `margin` is.
      margin: how far a tile sees beyond what it gives.

    Returns:
      A `Span` for each tile, first to last.
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
