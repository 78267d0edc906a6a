"""Example photos for the page: scikit-image's own (public domain), blurred out of focus."""

from __future__ import annotations

import importlib.resources
import io
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from restore_tf.app.store import Store

# NASA's portrait of Eileen Collins; the cat Chelsea and the cup of coffee, both CC0.
PHOTOS = {"Astronaut": "astronaut.png", "Cat": "chelsea.png", "Coffee": "coffee.png"}
_SIGMA = 1.6  # pixels


def write(store: Store) -> dict[str, tuple[Path, Path]]:
    """Writes the examples; returns {title: (degraded, sharp)}.

    Args:
      store: where to; they are never deleted for their age.
    """
    found = {}
    for title, name in PHOTOS.items():
        source = importlib.resources.files("skimage.data").joinpath(name)
        if source.is_file():
            with source.open("rb") as file, Image.open(file) as image:
                sharp = np.asarray(image.convert("RGB"))
            found[title] = _save(store, _blurred(sharp)), _save(store, sharp)
    return found


def _blurred(pixels):
    """Blurred as light is: in linear intensities."""
    light = (pixels / 255.0) ** 2.2
    blurred = ndimage.gaussian_filter(light, (_SIGMA, _SIGMA, 0), mode="nearest")
    return np.rint(255 * blurred ** (1 / 2.2)).astype(np.uint8)


def _save(store, pixels):
    path = store.new(".png")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    store.keep(path)
    return path
