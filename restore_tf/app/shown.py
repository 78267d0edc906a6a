"""Parts of the page: displayable pictures, their viewer, scores."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
from collections.abc import Mapping, Sequence

import jinja2
import numpy as np

from restore_tf.app.refusals import Refusal
from restore_tf.app.store import Store
from restore_tf.evaluation import metrics
from restore_tf.pictures import files
from restore_tf.pictures.decoding import Picture
from restore_tf.pictures.pixels import from_float, repeat, to_float

_EXACT_PIXELS = 2_000_000  # larger pictures are shown as JPEG: PNG would take megabytes each
_VOLUME_PIXELS = 2_000_000  # MATLAB's SSIM takes some 20 s for ten million pixels
_QUALITY = 92
RESULTS = "page/results"


@dataclasses.dataclass(frozen=True)
class Score:
    """The scores of a picture against the sharp one.

    Attributes:
      name: "degraded" or "restored".
      psnr: in dB.
      ssim: per channel.
      ssim_matlab: over the RGB volume; None if that would take too long.
    """

    name: str
    psnr: float
    ssim: float
    ssim_matlab: float | None


@functools.cache
def templates() -> jinja2.Environment:
    """Returns the page's templates; values are escaped."""
    folder = importlib.resources.files("restore_tf.app").joinpath("templates")
    names = ("status.html", "viewer.html", "results.html", "clip.html")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in names}
    return jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def render(template: str, /, **values) -> str:
    """Returns a filled template.

    Args:
      template: its file's name.
      **values: for the template.
    """
    return templates().get_template(template).render(**values)


def save_shown(pixels: np.ndarray, alpha: np.ndarray | None, store: Store) -> str:
    """Writes a picture for display, in 8 bits and full size; returns its file's name.

    Small pictures become lossless PNG, large ones JPEG without alpha.

    Args:
      pixels: (height, width, 3) or (height, width), uint8 or uint16, sRGB.
      alpha: (height, width) or None.
      store: for the file.
    """
    eight = pixels if pixels.dtype == np.uint8 else from_float(to_float(pixels), np.uint8)
    exact = pixels.shape[0] * pixels.shape[1] <= _EXACT_PIXELS
    if alpha is not None and alpha.dtype != np.uint8:
        alpha = from_float(to_float(alpha), np.uint8)
    ending = ".png" if exact else ".jpg"
    path = store.new(ending)
    path.write_bytes(files.encode(Picture(eight, alpha if exact else None), ending, _QUALITY))
    return path.name


def viewer(
    pictures: Mapping[str, np.ndarray],
    store: Store,
    root: str,
    left: str,
    right: str,
    alpha: np.ndarray | None = None,
) -> str:
    """Returns a viewer that shows two of several versions of a picture.

    Args:
      pictures: {name: pixels}; smaller ones are enlarged by whole numbers, without smoothing.
      store: for the displayed files.
      root: the page's path.
      left: name of the picture that is shown first, on the left.
      right: likewise, on the right.
      alpha: of the largest one, or None.
    """
    height, width = max(pixels.shape[:2] for pixels in pictures.values())
    links = {}
    for name, pixels in pictures.items():
        pixels = repeat(pixels, max(1, height // pixels.shape[0]))
        fits = alpha is not None and alpha.shape == pixels.shape[:2]
        file = save_shown(pixels, alpha if fits else None, store)
        links[name] = f"{root}/{RESULTS}/{file}"
    return render("viewer.html", links=links, left=left, right=right, width=width, height=height)


def scores(sharp: Picture, pictures: Mapping[str, np.ndarray]) -> list[Score]:
    """Scores pictures against the sharp one; those of another size are left out.

    Args:
      sharp: the sharp picture.
      pictures: {name: (height, width, 3) or (height, width), uint8 or uint16}.

    Raises:
      Refusal: no picture has the sharp one's size.
    """
    height, width = sharp.pixels.shape[:2]
    found = []
    for name, pixels in pictures.items():
        if pixels.shape[:2] == (height, width):
            found.append(_score(name, _colours(sharp.pixels), _colours(pixels)))
    if not found:
        sizes = ", ".join(f"{p.shape[1]}x{p.shape[0]}" for p in pictures.values())
        raise Refusal(f"the sharp picture has {width}x{height} pixels, the others {sizes}.")
    return found


def _score(name, sharp, pixels):
    area = sharp.shape[0] * sharp.shape[1]
    volume = metrics.ssim_matlab(sharp, pixels) if area <= _VOLUME_PIXELS else None
    return Score(name, metrics.psnr(sharp, pixels), metrics.ssim(sharp, pixels), volume)


def _colours(pixels):
    eight = pixels if pixels.dtype == np.uint8 else from_float(to_float(pixels), np.uint8)
    return eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=-1)


def names_for_downloads(names: Sequence[str], endings: Sequence[str]) -> list[str]:
    """Returns a name for each result: the upload's with `_restored`, numbered if taken.

    For pages and ZIP files only: none of these names is used in this machine's file system.

    Args:
      names: of the uploads, as browsers sent them.
      endings: of the results, with their dots.
    """
    taken: set[str] = set()
    found = []
    for name, ending in zip(names, endings, strict=True):
        stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or "picture"
        stem = "".join(letter for letter in stem if letter.isprintable())[:80].strip(". ")
        candidate, number = f"{stem or 'picture'}_restored{ending}", 2
        while candidate.lower() in taken:
            candidate, number = f"{stem}_restored_{number}{ending}", number + 1
        taken.add(candidate.lower())
        found.append(candidate)
    return found
