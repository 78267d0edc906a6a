"""Generates sharp pictures: opaque shapes of every size that occlude one another.

The dead leaves model (Matheron 1968; Lee, Mumford and Huang, "Occlusion models for natural
images", IJCV 2001): shapes of random size, place and colour fall on each other. With sizes drawn
from a power law of exponent -3 it has the edges, the corners, the scale invariance and the heavy
tails of natural pictures, the statistics that a deblurring network learns. Here shapes are also
shaded and textured, cast shadows, and carry lines and rows of letter-like strokes.

Everything is mixed in linear light; coordinates are (row, column) in pixels.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

from restore_tf.datasets import shapes
from restore_tf.datasets.kernels import linear_to_srgb
from restore_tf.errors import UserError

_EDGE = 1.3  # pixels over which an edge rises: a pixel's own width and a good lens
_SMALLEST = 2.5  # radius of a leaf in pixels

# Log-luminance, orange against blue, green against magenta: the axes along which the colours of
# natural pictures vary independently, the last one least (Ohta, Kanade and Sakai, CGIP 1980;
# Ruderman, Cronin and Chiao, JOSA A 1998). Rows give log R, G, B.
_OPPONENT = np.array([[1.0, 1.0, 1.0], [0.7, 0.0, -0.7], [-0.4, 0.8, -0.4]])


def dead_leaves(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paints one picture.

    Args:
      rng: source of randomness; equal states give equal pictures.
      height: in pixels, at least 8.
      width: in pixels, at least 8.

    Returns:
      (height, width, 3) float32 sRGB picture in [0, 1].

    Raises:
      UserError: the size is below 8 pixels.
    """
    if min(height, width) < 8:
        raise UserError(f"height {height}, width {width}: expected at least 8 pixels each.")
    scene = _Scene(rng, height, width)
    area, largest = height * width, 0.4 * min(height, width)
    few = _power_law(rng, 8 + area // 5000, 0.25 * largest, largest)
    many = _power_law(rng, int(area / rng.uniform(250.0, 700.0)), _SMALLEST, 0.6 * largest)
    radii = np.concatenate([few, many])
    # Large leaves tend to lie below, or few small ones would stay visible.
    scene.drop_leaves(radii[np.argsort(-radii * np.exp(rng.normal(0.0, 0.7, len(radii))))])
    for _ in range(rng.poisson(3.0)):
        scene.draw_line(largest)
    for _ in range(rng.poisson(0.6)):
        scene.write()
    for _ in range(rng.poisson(4.0) if rng.random() < 0.3 else 0):
        scene.light_lamp()
    light = np.clip(scene.canvas * np.exp(_slope(rng, height, width)), 0.0, 1.0)
    return np.moveaxis(linear_to_srgb(light), 0, -1).astype(np.float32, order="C")


def _power_law(rng: np.random.Generator, count: int, low: float, high: float) -> np.ndarray:
    """`count` radii in [low, high] with density proportional to r^-3."""
    return low / np.sqrt(1.0 - rng.random(count) * (1.0 - (low / high) ** 2))


def palette(rng: np.random.Generator) -> np.ndarray:
    """Draws 5 to 11 colours that could belong to one scene.

    Args:
      rng: source of randomness.

    Returns:
      (colours, 3) float32 linear RGB in [0.003, 1].
    """
    count = rng.integers(5, 12)
    contrast, chroma = rng.uniform(0.6, 1.1), rng.uniform(0.1, 0.6)
    luminance = rng.normal(math.log(0.18), contrast, count)
    warmth = rng.normal(0.1, 0.2) + rng.laplace(0.0, chroma, count)  # the light's and the thing's
    green = rng.laplace(0.02, 0.35 * chroma, count)
    # Leaves are common and red things too; cold magenta is rare.
    green = np.where((green < -0.2) & (warmth < 0.3), -green, green)
    logs = np.stack([luminance, warmth, green], axis=-1) @ _OPPONENT
    return np.clip(np.exp(logs), 0.003, 1.0).astype(np.float32)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise with a power-law spectrum, mean 0, deviation 1: (height, width) float32."""
    spectrum = fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    down, across = fft.fftfreq(height)[:, None], fft.rfftfreq(width)
    stretch = math.exp(rng.normal(0.0, 0.7))  # grass and wood have a direction
    frequency = np.hypot(down * stretch, across / stretch).astype(np.float32)
    spectrum *= (frequency + np.float32(0.01)) ** np.float32(-rng.uniform(0.6, 1.6))
    spectrum[0, 0] = 0.0
    field = fft.irfft2(spectrum, (height, width))
    return field / field.std()


def _slope(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Uneven light over the whole picture, log scale: (height, width)."""
    steep = rng.normal(0.0, 0.25, 2)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    return (steep[0] * rows + steep[1] * columns).astype(np.float32)


class _Scene:
    """A canvas, and what its shapes share: colours, a texture, a main direction.

    Attributes:
      canvas: (3, height, width) float32 linear RGB; planes, as NumPy is slow at inner axes of 3.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.rng = rng
        self.palette = palette(rng)
        self.texture = _texture(rng, height, width)
        self.tilt = rng.uniform(0.0, math.pi)  # man-made things share their orientation
        self.straight = rng.uniform(0.1, 0.9)
        self.canvas = self.colours(1)[0] * np.exp(np.float32(0.2) * self.texture)

    def places(self, count: int) -> list[list[float]]:
        """Draws random places on the canvas, [row, column] in pixels.

        Args:
          count: how many.
        """
        return (self.rng.random((count, 2)) * self.canvas.shape[1:]).tolist()

    def colours(self, count: int) -> np.ndarray:
        """Draws colours of the palette, with small deviations in brightness and hue.

        Args:
          count: how many.

        Returns:
          (count, 3, 1, 1) float32 linear RGB.
        """
        jitter = self.rng.normal(0.0, 0.3, (count, 1)) + self.rng.normal(0.0, 0.05, (count, 3))
        chosen = self.palette[self.rng.integers(len(self.palette), size=count)] * np.exp(jitter)
        return np.minimum(chosen, 1.0).astype(np.float32)[:, :, None, None]

    def box(self, middle: list[float], reach: float):
        """Returns the part of the canvas that a shape can touch.

        Args:
          middle: (row, column) of the shape, in pixels.
          reach: the shape's largest distance from it, in pixels.

        Returns:
          Slices of the canvas; offsets of their rows (h, 1) and columns (w,) from the middle.
        """
        _, height, width = self.canvas.shape
        row, column = middle
        top, left = max(0, math.floor(row - reach)), max(0, math.floor(column - reach))
        bottom = max(top, min(height, math.ceil(row + reach) + 1))
        right = max(left, min(width, math.ceil(column + reach) + 1))
        rows = np.arange(top, bottom, dtype=np.float32)[:, None] - row
        columns = np.arange(left, right, dtype=np.float32) - column
        return (slice(None), slice(top, bottom), slice(left, right)), rows, columns

    def paint(
        self, shape: shapes.Shape, reach: float, middle, colour, opacity=1.0, edge=_EDGE
    ) -> None:
        """Paints a shape over the canvas.

        Args:
          shape: see `shapes`.
          reach: the shape's largest distance from its middle, in pixels.
          middle: (row, column), in pixels.
          colour: (3, 1, 1) linear RGB, or a function from the box's offsets to (3, h, w).
          opacity: 0 (invisible) to 1.
          edge: width over which the shape fades out, in pixels.
        """
        where, rows, columns = self.box(middle, reach + edge)
        cover = shape(rows, columns)
        cover *= -opacity / edge
        cover += 0.5 * opacity
        np.minimum(np.maximum(cover, 0.0, out=cover), opacity, out=cover)
        below = self.canvas[where]
        change = (colour(rows, columns) if callable(colour) else colour) - below
        change *= cover
        below += change

    def drop_leaves(self, radii: np.ndarray) -> None:
        """Paints leaves over each other, the last on top.

        Args:
          radii: (count,) in pixels.
        """
        count = len(radii)
        chances = self.rng.random((count, 8)).tolist()
        places, colours = self.places(count), self.colours(count)
        shadows = self.rng.random(count) < 0.4
        for index, radius in enumerate(radii.tolist()):
            shape, reach = shapes.random_shape(chances[index], radius, self.tilt, self.straight)
            if radius > 6.0 and shadows[index]:
                down, across = self.rng.normal(0.0, 0.15 * radius, 2).tolist()
                behind = [places[index][0] + down, places[index][1] + across]
                self.paint(shape, reach, behind, np.float32(0.0), 0.5, min(0.5 * radius, 12.0))
            colour = self._relief(colours[index], radius) if radius > 4.0 else colours[index]
            self.paint(shape, reach, places[index], colour)

    def _relief(self, colour: np.ndarray, radius: float):
        """The colour of one leaf with shading and texture, as `paint` takes it."""
        rng = self.rng
        shade_down, shade_across = rng.normal(0.0, 0.25 / radius, 2).tolist()
        kind, strength, angle, period = rng.uniform((0, 0.05, 0, 3), (1, 0.5, math.pi, 12)).tolist()

        def shaded(rows, columns):
            logs = shade_down * rows + shade_across * columns
            if kind < 0.5:
                logs += strength * self._patch(*logs.shape)
            elif kind < 0.6:
                wave = columns * math.cos(angle) + rows * math.sin(angle)
                logs += strength * np.clip(3.0 * np.sin(2 * math.pi / period * wave), -1.0, 1.0)
            return colour * np.exp(logs, out=logs)

        return shaded

    def _patch(self, height: int, width: int) -> np.ndarray:
        top = self.rng.integers(self.texture.shape[0] - height + 1)
        left = self.rng.integers(self.texture.shape[1] - width + 1)
        return self.texture[top : top + height, left : left + width]

    def draw_line(self, largest: float) -> None:
        """Draws a wire, a whisker or a window bar: a thin straight or bent line.

        Args:
          largest: the largest leaf's radius in pixels, which scales the line.
        """
        rng = self.rng
        half_width, size = rng.uniform(0.4, 1.5), rng.uniform(0.2, 1.2) * largest
        if rng.random() < 0.6:
            angle = self.tilt + rng.integers(2) * math.pi / 2 + rng.normal(0.0, 0.2)
            line = shapes.rectangle(size, half_width, angle)
        else:
            line = shapes.outline(
                shapes.ellipse(size, rng.uniform(0.4, 1.0), self.tilt), half_width
            )
        self.paint(line, size + half_width, self.places(1)[0], self.colours(1)[0])

    def write(self) -> None:
        """Writes a few rows of letter-like strokes."""
        rng, colour, (top, left) = self.rng, self.colours(1)[0], self.places(1)[0]
        height = rng.uniform(6.0, 16.0)
        pen = max(0.6, 0.07 * height)
        for row in range(rng.integers(1, 4)):
            for letter in range(rng.integers(4, 12)):
                if rng.random() < 0.15:
                    continue  # a space between words
                # Strokes join points of a grid of 3 x 3, as those of most letters do.
                points = rng.integers(-1, 2, (rng.integers(3, 6), 2)) * (0.5, 0.28) * height
                middle = [top + 1.7 * row * height, left + 0.8 * letter * height]
                self.paint(shapes.strokes(points, pen), 0.6 * height + pen, middle, colour)

    def light_lamp(self) -> None:
        """Lights a small white lamp, which `kernels.degrade` may make far brighter than white."""
        radius = self.rng.uniform(0.7, 2.5)
        self.paint(shapes.disc(radius), radius, self.places(1)[0], np.float32(1.0))
