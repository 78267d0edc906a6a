"""Converts a video's colours from YUV to RGB and back.

Pictures are stored as YUV. Both conversions state the stream's own matrix and range, and round:
PyAV's default conversion truncates, which darkens 4:2:0 by about one gray level.

Needs PyAV, the extra `video`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from restore_tf.video.container import import_av

# The numbers of ITU-T H.273, which FFmpeg uses, and what swscale calls the same matrices.
SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
LIMITED, FULL = 1, 2  # FFmpeg's AVColorRange
# swscale's SWS_LANCZOS, SWS_FULL_CHR_H_INT and SWS_ACCURATE_RND. Without the last two it takes the
# shortcut that truncates. Of its filters for 4:2:0 colour, this one changes least there and back.
_PRECISE = 0x200 | 0x2000 | 0x40000


@dataclasses.dataclass(frozen=True)
class Colour:
    """A stream's colour tags.

    Attributes:
      matrix: from YUV to RGB, a number of ITU-T H.273; 2 is unknown.
      range: 1 limited (16 to 235), 2 full (0 to 255), 0 unknown.
      primaries: of the RGB colours, a number of H.273.
      transfer: the curve between light and value, a number of H.273.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int


class ColourConverter:
    """Converts a clip's frames to RGB and back, by the clip's matrix and range.

    Args:
      clip: the `clip.Clip`.
    """

    def __init__(self, clip):
        self._matrix = SWSCALE_MATRIX[clip.matrix]
        self._range = clip.colour.range or LIMITED
        self._av = import_av(clip.path)
        self._reformatter = self._av.video.reformatter.VideoReformatter()

    def to_rgb(self, frame):
        """Converts a frame to RGB.

        Args:
          frame: an av.VideoFrame of the clip.

        Returns:
          An av.VideoFrame of format rgb24.
        """
        source_range = FULL if frame.format.is_rgb else self._range
        return self._convert(frame, "rgb24", source_range, FULL)

    def from_rgb(self, frame, pixel_format: str):
        """Converts an RGB frame to the clip's matrix and range.

        Args:
          frame: an av.VideoFrame of format rgb24, from `to_rgb`: it keeps where in 4:2:0 the colour
            samples lie, which PyAV cannot set otherwise; without it, colours move by a quarter of a
            pixel.
          pixel_format: FFmpeg's name of the new format, such as "yuv420p".

        Returns:
          An av.VideoFrame.
        """
        return self._convert(frame, pixel_format, FULL, self._range)

    def _convert(self, frame, pixel_format, from_range, to_range):
        return self._reformatter.reformat(
            frame,
            format=pixel_format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=from_range,
            dst_color_range=to_range,
            interpolation=_PRECISE,
        )


def pixels_of(frame) -> np.ndarray:
    """Returns a writable view of a frame's pixels, (height, width, 3) uint8.

    Args:
      frame: an av.VideoFrame of format rgb24.
    """
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    return rows[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)
