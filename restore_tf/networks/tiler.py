"""How a network is run in tiles: a paper's description, and exact tiles of plain convolutions.

A tiler sees floats alone. The caller reads and writes them, and decides whether the picture is kept
as 8 or 16 bits (`restore_tf.inference.exact_tiles`).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable

import numpy as np

from restore_tf.networks.reach import Reach, spans

# (rows, columns) -> float32 (batch, h, w, channels) of the padded picture; slices may have steps.
Read = Callable[[slice, slice], np.ndarray]
# Takes (rows, columns) of the restored picture and its float32 pixels.
Write = Callable[[slice, slice, np.ndarray], None]


@dataclasses.dataclass(frozen=True)
class BlendedTile:
    """How overlapping tiles of a network that cannot be tiled exactly are cut.

    Attributes:
      side: of the tiles in pixels, even where the whole picture would fit into memory; None for
        the whole where it fits. A network that pools over the picture can do better in tiles of
        its training crops' size.
      smallest: side below which tiles see too little of the picture.
      overlap: pixels that neighbours share at least.
      step: tiles begin at multiples of it; None for the network's `size_multiple`. One whose sizes
        are multiples of more than its strides ask for needs fewer tiles with a smaller step.
      advice: what else the user may try, for the message that tiles were needed.
    """

    side: int | None = None
    smallest: int = 256
    overlap: int = 64
    step: int | None = None
    advice: str = ""


class Tiler(abc.ABC):
    """Restores a picture in tiles, with the same numbers as in one piece.

    Attributes:
      margin: how many pixels a tile sees around what it gives.
      smallest: the least side of a tile, surroundings included, that is worth its time.
      step: sides of tiles are multiples of it, and so is `margin`.
    """

    margin: int
    smallest: int
    step: int

    @abc.abstractmethod
    def bytes_kept(self, pixels: int) -> float:
        """Returns the bytes that stay in memory from tile to tile, beside the picture itself.

        Args:
          pixels: of the degraded batch, all images together.
        """

    @abc.abstractmethod
    def work(self, pixels: int) -> int:
        """Returns the pixels of progress that `restore` reports.

        Args:
          pixels: of the degraded batch, all images together.
        """

    @abc.abstractmethod
    def restore(
        self,
        shape: tuple[int, int, int, int],
        read: Read,
        write: Write,
        tile: int,
        progress: Callable[[int], None],
        seed: int = 0,
    ) -> None:
        """Restores a padded batch.

        Args:
          shape: (batch, height, width, channels) of the degraded images.
          read: gives pieces of them.
          write: takes pieces of the restored images, each pixel once.
          tile: side of a tile with its surroundings; a multiple of `step`, over twice `margin`.
          progress: takes the pixels done, after each tile.
          seed: of what is drawn at random.
        """


class FiniteReach(Tiler):
    """Tiles of a network that sees a fixed distance: each is cut out with what it sees.

    Args:
      model: the `Restorer`; one pass gives its answer.
      reach: how far it sees, in pixels of the degraded picture.
    """

    def __init__(self, model, reach: Reach):
        self._model = model
        self.step = max(reach.alignment, model.size_multiple)
        self.margin = -(-reach.radius // self.step) * self.step
        self.smallest = 3 * self.margin or self.step  # nine times the work of the whole

    def bytes_kept(self, pixels):
        """Returns 0: one pass keeps nothing from tile to tile."""
        return 0.0

    def work(self, pixels):
        """Returns `pixels`: each pixel is restored once."""
        return pixels

    def restore(self, shape, read, write, tile, progress, seed=0):
        """Restores a padded batch tile by tile; see `Tiler`."""
        count, height, width, _ = shape
        scale = self._model.output_scale
        for rows in spans(height, tile, self.margin):
            for columns in spans(width, tile, self.margin):
                origins = np.tile([rows.outer_begin, columns.outer_begin], (count, 1))
                restored = self._model.restore_padded(read(rows.seen, columns.seen), seed, origins)
                inner = [times(span.inner, scale) for span in (rows, columns)]
                given = [times(span.given, scale) for span in (rows, columns)]
                write(*given, restored[:, inner[0], inner[1]])
                progress(count * (rows.end - rows.begin) * (columns.end - columns.begin))


def times(part: slice, scale: int) -> slice:
    """Returns the slice of a picture `scale` times as large that shows the same part.

    Args:
      part: rows or columns of the degraded picture, with a start and a stop.
      scale: the network's `output_scale`.
    """
    return slice(part.start * scale, part.stop * scale)
