"""Colour profiles (ICC): networks expect sRGB, so other colours are converted, with a warning."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools

import numpy as np
from PIL import Image, ImageCms

from restore_tf.system.log import logger

# Colours outside sRGB are clipped, all others keep their appearance; photographs' usual choice.
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_SAME = 2  # 8-bit levels: sRGB profiles of different makers differ by rounding


@dataclasses.dataclass(frozen=True)
class Profile:
    """What an embedded colour profile is.

    Attributes:
      space: "RGB", "GRAY", "CMYK", …; empty for a damaged profile.
      name: its own description.
      srgb: whether its colours are those of sRGB.
    """

    space: str
    name: str
    srgb: bool


@functools.lru_cache(maxsize=16)
def inspect(icc: bytes) -> Profile:
    """Describes an ICC profile; never raises, a damaged profile has an empty space.

    Args:
      icc: the profile's bytes.
    """
    try:
        profile = _open(icc)
        space = profile.profile.xcolor_space.strip()
        name = ImageCms.getProfileDescription(profile).strip() or "without a name"
        return Profile(space, name, space == "RGB" and _is_srgb(profile))
    except (OSError, ImageCms.PyCMSError, TypeError, ValueError):
        return Profile("", "damaged", False)


def _open(icc):
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


def _is_srgb(profile):
    """Looks at a few colours instead of the name: there are many sRGB profiles, and many names."""
    levels = (0, 32, 96, 160, 224, 255)
    colours = np.array(list(itertools.product(levels, repeat=3)), np.uint8)[None]
    converted = np.asarray(_transform(Image.fromarray(colours), profile))
    return int(np.abs(converted.astype(int) - colours).max()) <= _SAME


def _transform(image, profile):
    return ImageCms.profileToProfile(
        image, profile, _open(srgb_profile()), _INTENT, outputMode="RGB", flags=_FLAGS
    )


@functools.cache
def srgb_profile() -> bytes:
    """Returns an sRGB profile, the same bytes every time."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Little CMS writes the time of day into the header (ICC.1 section 7.2.8).
    return data[:24] + bytes([7, 208, 0, 1, 0, 1]) + bytes(6) + data[36:]


def cmyk_to_srgb(image: Image.Image, icc: bytes | None, name: str) -> tuple[Image.Image, bytes]:
    """Returns a CMYK picture as sRGB, by its profile or plain inversion, and the new profile.

    Args:
      image: Pillow's, of mode "CMYK".
      icc: the embedded profile; None, or one of another space, means plain inversion.
      name: what to call the file in the warning.

    Returns:
      The picture in mode "RGB", and an sRGB profile.
    """
    profile = inspect(icc) if icc else None
    if profile is not None and profile.space == "CMYK":
        logger.warning("%s: converted from CMYK (%s) to sRGB.", name, profile.name)
        return _transform(image, _open(icc)), srgb_profile()
    logger.warning(
        "%s: converted from CMYK to sRGB; it has no CMYK profile, so colours are approximate.", name
    )
    return image.convert("RGB"), srgb_profile()


def to_srgb(pixels: np.ndarray, icc: bytes | None, name: str) -> tuple[np.ndarray, bytes | None]:
    """Returns pixels as sRGB and the profile to write with them; logs what it converts.

    sRGB pictures, gray ones with a gray profile, and those without a profile come back untouched.

    Args:
      pixels: (height, width, 3) or (height, width); uint8 or uint16.
      icc: the embedded profile; None or empty for none.
      name: what to call the file in warnings.

    Raises:
      UserError: libvips cannot convert 16-bit pixels.
      ValueError: 16-bit pixels, and libvips is not installed.
    """
    if not icc:
        return pixels, None
    profile = inspect(icc)
    kind = "RGB" if pixels.ndim == 3 else "GRAY"
    if not profile.space:
        logger.warning(
            "%s: its colour profile is damaged; kept as it is, the pixels are taken as sRGB.", name
        )
        return pixels, icc
    if profile.space != kind:
        logger.warning(
            "%s: its colour profile (%s) is for %s, its pixels are %s; the profile is left out.",
            name, profile.name, profile.space, kind,
        )  # fmt: skip
        return pixels, None
    if profile.srgb or kind == "GRAY":
        return pixels, icc
    logger.warning("%s: converted from %s to sRGB.", name, profile.name)
    if pixels.dtype == np.uint16:
        from restore_tf.pictures import sixteen_bits

        return sixteen_bits.to_srgb(pixels, icc, name), srgb_profile()
    return np.asarray(_transform(Image.fromarray(pixels), _open(icc))), srgb_profile()
