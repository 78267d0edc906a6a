"""Raw video frames: converts their bytes to pixels and restores them by a TFLite file.

Buffers of a frame's size are allocated once. What LiteRT and swscale allocate for each frame has a
fixed size and is freed at once, so memory does not grow.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system import log

PIXELS = ("rgb24", "nv12")
MATRICES = {"auto": 2, "bt709": 1, "bt601": 6}  # numbers of ITU-T H.273; 2 is unknown
_LIMITED, _FULL = 1, 2  # FFmpeg's AVColorRange
_MOST_BYTES = 2**31  # what one call reads at most


@dataclasses.dataclass(frozen=True)
class FrameFormat:
    """The format of a stream's frames.

    Attributes:
      height: of a frame, in pixels.
      width: of a frame, in pixels.
      pixels: "rgb24", three bytes a pixel, or "nv12": a plane of brightness, then one of colour
        at half the size with blue and red differences in turn.
      matrix: of NV12, one of `MATRICES`; "auto" is what players assume, BT.709 from 1280x720 on
        and BT.601 below.
      full_range: of NV12, whether black is 0 and white 255, not 16 and 235.

    Raises:
      UserError: unknown pixels or matrix, sides below 1 or far too large, or odd sides in NV12.
    """

    height: int
    width: int
    pixels: str = "rgb24"
    matrix: str = "auto"
    full_range: bool = False

    def __post_init__(self):
        if self.pixels not in PIXELS:
            raise UserError(f"--pixels {self.pixels}: expected one of {', '.join(PIXELS)}.")
        if self.matrix not in MATRICES:
            raise UserError(f"--matrix {self.matrix}: expected one of {', '.join(MATRICES)}.")
        if min(self.height, self.width) < 1:
            raise UserError(f"--size {self}: expected sides of at least 1.")
        if self.bytes > _MOST_BYTES:
            raise UserError(
                f"--size {self}: a frame has {self.bytes} bytes; expected at most 2 GiB."
            )
        if self.pixels == "nv12" and (self.height % 2 or self.width % 2):
            raise UserError(f"--size {self}: NV12 has even sides; crop a row or column first.")

    def __str__(self):
        return f"{self.height}x{self.width}"

    @property
    def bytes(self) -> int:
        """Length of a frame."""
        return self.height * self.width * 3 // (2 if self.pixels == "nv12" else 1)


class FrameRestorer:
    """Restores frames, bytes to bytes.

    A frame of the file's own size is passed to it directly, as uint8 where the file takes that.
    Other sizes, and files for one channel, are restored by `restore_tf.restore`, which pads, tiles
    and crops.

    Args:
      model: a `restore_tf.inference.tflite_model.LiteModel`.
      form: the frames' format.
      strength: 1 for the restored picture, 0 for the frame itself, a mix of both between.
    """

    def __init__(self, model, form: FrameFormat, strength: float = 1.0):
        if not 0 <= strength <= 1:
            raise UserError(f"strength {strength}; expected a number from 0 to 1.")
        if getattr(model, "output_scale", 1) != 1:
            raise UserError(
                f"{model.name}: enlarges {model.output_scale} times; frames of a stream keep their "
                "size. Restore a file of them with restore.py."
            )
        self._model, self._strength = model, strength
        self._layout = _Nv12(form) if form.pixels == "nv12" else _Rgb24(form)
        self._restore = self._way(model, form)
        if self._restore != self._any_size:
            shape = (1, form.height, form.width, 3)
            self._floats, self._mix = (np.empty(shape, np.float32) for _ in range(2))

    def _way(self, model, form):
        sides = (form.height, form.width)
        fits = model.size == sides or (
            model.size is None and not any(side % model.size_multiple for side in sides)
        )
        if not fits or model.channels != 3:
            return self._any_size
        return self._bytes if model.takes_bytes else self._same_size

    def warm_up(self, frame: np.ndarray, restored: np.ndarray) -> None:
        """Restores one frame without logging: a network's first run takes longer.

        Args:
          frame: (bytes,) uint8.
          restored: (bytes,) uint8, overwritten.
        """
        with log.silent():
            self(frame, restored)

    def __call__(self, frame: np.ndarray, restored: np.ndarray) -> None:
        """Restores one frame.

        Args:
          frame: its bytes, (bytes,) uint8.
          restored: (bytes,) uint8, overwritten with the restored frame's.
        """
        pixels, result = self._layout.open(frame, restored)
        self._restore(pixels, result)
        self._layout.close(restored)

    def _bytes(self, pixels, result):
        restored = self._model.run_raw(pixels[None])
        if self._strength == 1:
            result[:] = restored[0]
            return
        np.multiply(restored, np.float32(self._strength), out=self._mix)
        np.multiply(pixels, np.float32(1 - self._strength), out=self._floats[0])
        self._mix += self._floats
        self._round(result)

    def _same_size(self, pixels, result):
        np.divide(pixels, np.float32(255), out=self._floats[0])
        restored = self._model.restore_padded(self._floats)
        np.multiply(restored, np.float32(255 * self._strength), out=self._mix)
        if self._strength < 1:
            self._floats *= np.float32(255 * (1 - self._strength))
            self._mix += self._floats
        self._round(result)

    def _round(self, result):
        np.clip(self._mix, 0, 255, out=self._mix)
        np.rint(self._mix, out=self._mix)
        np.copyto(result, self._mix[0], casting="unsafe")

    def _any_size(self, pixels, result):
        import restore_tf

        result[:] = restore_tf.restore(self._model, pixels, strength=self._strength)


class _Rgb24:
    """RGB frames, whose bytes are the pixels."""

    def __init__(self, form):
        self._shape = (form.height, form.width, 3)

    def open(self, frame, restored):
        """Returns a frame's pixels and where the restored ones go, (height, width, 3) uint8.

        Args:
          frame: (bytes,) uint8.
          restored: (bytes,) uint8.
        """
        return frame.reshape(self._shape), restored.reshape(self._shape)

    def close(self, restored):
        """Stores the restored pixels as bytes.

        Args:
          restored: (bytes,) uint8, as for `open`.
        """


class _Nv12:
    """Converts NV12 to RGB and back by swscale, with rounding; see `colours`."""

    def __init__(self, form):
        from restore_tf.video import clip as video_clip
        from restore_tf.video.colours import Colour, ColourConverter, pixels_of
        from restore_tf.video.container import import_av

        clip = video_clip.Clip(
            path=Path("--pixels nv12"),
            width=form.width,
            height=form.height,
            frames=0,
            rate=None,
            time_base=Fraction(1),
            start=0,
            aspect=Fraction(1),
            colour=Colour(MATRICES[form.matrix], _FULL if form.full_range else _LIMITED, 2, 2),
            chroma="420",
            orientation=video_clip.Orientation(),
        )
        self._pixels_of = pixels_of
        self._converter = ColourConverter(clip)
        self._size = (form.height, form.width)
        self._source = import_av(clip.path).VideoFrame(form.width, form.height, "nv12")
        self._rgb = None

    def open(self, frame, restored):
        """As `_Rgb24.open`; the restored pixels overwrite the frame's.

        Args:
          frame: (bytes,) uint8.
          restored: not used here.
        """
        for plane, rows in zip(_planes(self._source), self._split(frame), strict=True):
            plane[:] = rows
        self._rgb = self._converter.to_rgb(self._source)
        pixels = self._pixels_of(self._rgb)
        return pixels, pixels

    def close(self, restored):
        """As `_Rgb24.close`.

        Args:
          restored: (bytes,) uint8, overwritten.
        """
        stored = self._converter.from_rgb(self._rgb, "nv12")
        for rows, plane in zip(self._split(restored), _planes(stored), strict=True):
            rows[:] = plane

    def _split(self, frame):
        height, width = self._size
        rows = frame.reshape(-1, width)
        return rows[:height], rows[height:]


def _planes(frame):
    """Views of an NV12 frame's two planes, as wide as the picture; rows can be longer."""
    for plane, height in zip(frame.planes, (frame.height, frame.height // 2), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        yield rows[:height, : frame.width]
