"""Splits colour pictures into what networks of one or three channels take, and joins them again.

- "rgb": the three channels together; a gray picture as three equal ones, their mean comes back.
- "planes": red, green and blue each by itself.
- "luminance": Y of YCbCr is restored, Cb and Cr stay as they are (SRCNN, section 4.1).

Full-range BT.601 on [0, 1], sRGB as stored, which is exactly invertible. The functions of YCbCr are
plain arithmetic: they take NumPy arrays and tensors alike.
"""

from __future__ import annotations

import numpy as np

from restore_tf.pictures.pixels import from_float, to_float

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # BT.601


def colour_of(model) -> str:
    """Returns how a model takes colours; a one-channel model that does not say takes planes.

    Args:
      model: has `channels`, and `colour` where it is not the default.

    Returns:
      "rgb", "planes" or "luminance".
    """
    colour = getattr(model, "colour", "rgb")
    return "planes" if colour == "rgb" and model.channels == 1 else colour


def luminance(rgb):
    """Returns the luminance Y of RGB colours.

    Args:
      rgb: (…, 3) in [0, 1].

    Returns:
      (…, 1) in [0, 1].
    """
    return _RED * rgb[..., 0:1] + _GREEN * rgb[..., 1:2] + _BLUE * rgb[..., 2:3]


def to_ycbcr(rgb):
    """Converts RGB to Y, Cb, Cr.

    Args:
      rgb: (…, 3) in [0, 1].

    Returns:
      Three of (…, 1): Y in [0, 1], Cb and Cr in [-0.5, 0.5].
    """
    y = luminance(rgb)
    return y, (rgb[..., 2:3] - y) / (2 * (1 - _BLUE)), (rgb[..., 0:1] - y) / (2 * (1 - _RED))


def to_rgb(y, cb, cr):
    """Converts Y, Cb, Cr to RGB: the inverse of `to_ycbcr`.

    Args:
      y: (…, 1) in [0, 1].
      cb: (…, 1) in [-0.5, 0.5].
      cr: (…, 1) in [-0.5, 0.5].

    Returns:
      Red, green and blue, each (…, 1).
    """
    red, blue = y + 2 * (1 - _RED) * cr, y + 2 * (1 - _BLUE) * cb
    return red, (y - _RED * red - _BLUE * blue) / _GREEN, blue


def split(pixels: np.ndarray, model) -> np.ndarray:
    """Returns a picture as the batch that the model takes.

    Args:
      pixels: (height, width, 3 or 1), uint8, uint16 or float.
      model: has `channels`, and `colour` where it is not the default.

    Returns:
      (batch, height, width, model.channels), of the picture's type; float32 for the luminance of
      colours.
    """
    if model.channels != 1:
        return np.broadcast_to(pixels, (*pixels.shape[:2], model.channels))[None]
    if colour_of(model) == "luminance" and pixels.shape[-1] == 3:
        return luminance(to_float(pixels))[None]
    return np.moveaxis(pixels, -1, 0)[..., None]


def join(batch: np.ndarray, pixels: np.ndarray, model) -> np.ndarray:
    """Returns the picture that a restored batch makes; undoes `split`.

    Args:
      batch: (batch, height, width, channels), as large as the restored picture.
      pixels: the degraded picture that was split. Where its luminance alone was restored, Cb and Cr
        are taken from it, enlarged where the restored one is larger.
      model: as `split`'s.

    Returns:
      (height, width, 3 or 1), of the picture's type.
    """
    if model.channels != 1:
        if pixels.shape[-1] == model.channels:
            return batch[0]
        gray = to_float(batch[0]).mean(axis=-1, keepdims=True)
        return from_float(gray, batch.dtype)
    if colour_of(model) == "luminance" and pixels.shape[-1] == 3:
        scale = batch.shape[1] // pixels.shape[0]
        _, cb, cr = to_ycbcr(enlarge(to_float(pixels), scale))
        return from_float(np.concatenate(to_rgb(batch[0], cb, cr), axis=-1), pixels.dtype)
    return np.moveaxis(batch[..., 0], 0, -1)


def enlarged_to(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarges a picture to its partner's size by bicubic interpolation: the baseline.

    Args:
      pixels: (height, width, channels) of any type.
      size: (height, width), a multiple of the picture's; of the same size nothing is done.

    Returns:
      The picture at the partner's size.
    """
    scale = size[0] // pixels.shape[0]
    if scale <= 1:
        return pixels
    return from_float(enlarge(to_float(pixels), scale), pixels.dtype)


def enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Enlarges a picture by bicubic interpolation: Pillow's filter, Keys' cubic with a = -0.5.

    Args:
      pixels: (height, width, channels), float.
      scale: the factor, 1 or more.

    Returns:
      (scale * height, scale * width, channels) float32, which may leave [0, 1] a little; `pixels`
      themselves for a scale of 1.
    """
    if scale == 1:
        return pixels
    from PIL import Image

    height, width = pixels.shape[:2]
    size = (scale * width, scale * height)
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BICUBIC)
        )
        for plane in np.moveaxis(pixels.astype(np.float32), -1, 0)
    ]
    return np.stack(planes, axis=-1)
