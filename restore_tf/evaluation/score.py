"""Scores of a network on a split of a data set, beside the degraded input and unsharp masking."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from skimage.filters import unsharp_mask
from tqdm import tqdm

from restore_tf.errors import UserError
from restore_tf.evaluation import metrics
from restore_tf.evaluation.report import ImageResult
from restore_tf.pictures.files import write_picture
from restore_tf.pictures.pixels import from_float, to_float

METRICS = ("psnr", "ssim_matlab", "ssim", "mse")
ALIGNED = ("realblur_psnr", "realblur_ssim")

# The baseline that costs nothing: what any photo program offers.
UNSHARP_RADIUS = 2.0  # pixels
UNSHARP_AMOUNT = 1.0


def evaluate(
    restore: Callable[[np.ndarray], np.ndarray],
    source,
    names: Sequence[str] = METRICS,
    limit: int | None = None,
    pictures: str | os.PathLike | None = None,
    keep: int = 100,
) -> list[ImageResult]:
    """Restores pictures one by one and scores them.

    Args:
      restore: takes and returns a (height, width, 3) uint8 picture.
      source: pairs read by index, see `restore_tf.datasets.sources`.
      names: metrics, from `METRICS` and `ALIGNED`.
      limit: only the first so many pairs.
      pictures: folder for the PNG files that the report's sliders show, or None. Gets
        degraded/NAME.png, restored/NAME.png and sharp/NAME.png.
      keep: at most so many images keep their files, the ones restored worst.

    Raises:
      UserError: an unknown metric, or none to evaluate.
    """
    for name in names:
        if name not in METRICS + ALIGNED:
            raise UserError(f"--metrics {name}: expected some of {', '.join(METRICS + ALIGNED)}.")
    count = len(source) if limit is None else min(limit, len(source))
    gallery = _Gallery(Path(pictures), keep) if pictures is not None and keep else None
    results = []
    for index in tqdm(range(count), unit="image", disable=None):
        degraded, sharp = source.read(index)
        methods = {
            "degraded": degraded,
            "unsharp": unsharp(degraded),
            "restored": restore(degraded),
        }
        scores, notes = {}, {}
        for method, picture in methods.items():
            scores[method], note = score(sharp, picture, names)
            if note:
                notes[method] = note
        name = source.names[index]
        result = ImageResult(name, sharp.shape[:2], scores, {}, notes)
        if gallery is not None:
            shown = {"degraded": degraded, "restored": methods["restored"], "sharp": sharp}
            gallery.add(index, result, shown)
        results.append(result)
    return results if gallery is None else gallery.finish(results)


def unsharp(picture: np.ndarray) -> np.ndarray:
    """Unsharp masking of a (height, width, 3) uint8 picture (radius 2 pixels, amount 1)."""
    # channel_axis=-1 returns an almost black picture in scikit-image 0.26; 2 is right.
    sharpened = unsharp_mask(to_float(picture), UNSHARP_RADIUS, UNSHARP_AMOUNT, channel_axis=2)
    return from_float(sharpened, np.uint8)


def score(sharp, picture, names: Sequence[str]) -> tuple[Mapping[str, float], str | None]:
    """Returns {metric: value} of one picture, and what a reader must know about it, if anything."""
    plain = {
        "psnr": metrics.psnr,
        "ssim_matlab": metrics.ssim_matlab,
        "ssim": metrics.ssim,
        "mse": metrics.mse,
    }
    values = {name: plain[name](sharp, picture) for name in names if name in plain}
    note = None
    if any(name in ALIGNED for name in names):
        aligned = metrics.realblur(sharp, picture)
        both = {"realblur_psnr": aligned.psnr, "realblur_ssim": aligned.ssim}
        values |= {name: both[name] for name in names if name in ALIGNED}
        note = None if aligned.aligned else "not aligned (ECC did not converge)"
    return values, note


class _Gallery:
    """PNG files of the pictures restored worst; a test set's worth would fill a disk."""

    def __init__(self, folder: Path, keep: int):
        self._folder = folder
        self._keep = keep
        self._kept: list[tuple[float, int, dict[str, str]]] = []

    def add(self, index, result, shown):
        files = {}
        for kind, pixels in shown.items():
            files[kind] = f"{self._folder.name}/{kind}/{result.name}.png"
            path = self._folder / kind / f"{result.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, pixels)
        scores = result.scores["restored"]
        self._kept.append((scores.get("psnr", next(iter(scores.values()))), index, files))
        if len(self._kept) > self._keep:
            self._kept.sort(key=lambda entry: entry[:2])
            _, _, dropped = self._kept.pop()
            for path in dropped.values():
                (self._folder.parent / path).unlink(missing_ok=True)

    def finish(self, results):
        files = {index: paths for _, index, paths in self._kept}
        return [
            ImageResult(r.name, r.size, r.scores, files.get(index, {}), r.notes)
            for index, r in enumerate(results)
        ]
