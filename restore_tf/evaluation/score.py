"""Scores of a network on a split of a data set, beside the degraded input and unsharp masking."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from skimage.filters import unsharp_mask
from tqdm import tqdm

from restore_tf.errors import UserError
from restore_tf.evaluation import metrics, super_resolution
from restore_tf.evaluation.report import ImageResult
from restore_tf.networks import pretrained
from restore_tf.pictures.files import write_picture
from restore_tf.pictures.pixels import from_float, to_float
from restore_tf.pictures.planes import enlarged_to
from restore_tf.system import outputs
from restore_tf.system.log import logger

METRICS = ("psnr", "ssim_matlab", "ssim", "mse", "gmsd", "lpips")  # unless others are asked for
ALIGNED = ("realblur_psnr", "realblur_ssim")

# The free baseline: any photo program has it.
UNSHARP_RADIUS = 2.0  # pixels
UNSHARP_AMOUNT = 1.0


def _lpips(sharp, restored):
    from restore_tf.evaluation import perceptual  # imports Keras

    return perceptual.lpips(sharp, restored)


def _lpips_vgg(sharp, restored):
    from restore_tf.evaluation import perceptual

    return perceptual.lpips_vgg(sharp, restored)


# Functions of (sharp, restored), see `metrics`.
MEASURES = {
    "psnr": metrics.psnr,
    "ssim_matlab": metrics.ssim_matlab,
    "ssim": metrics.ssim,
    "mse": metrics.mse,
    "gmsd": metrics.gmsd,
    "lpips": _lpips,
    "lpips_vgg": _lpips_vgg,
}
# Functions of (sharp, restored, pixels to cut at each border), for networks that enlarge.
ENLARGED = {
    "psnr_y": super_resolution.psnr_y,
    "ssim_y": super_resolution.ssim_y,
    "psnr_shaved": super_resolution.psnr_shaved,
}
_PERCEPTUAL = ("lpips", "lpips_vgg")  # need weights, and pictures of some size


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of an evaluation.

    Attributes:
      rows: one per picture that was scored.
      left_out: {name: reason} of the pictures that could not be scored.
    """

    rows: list[ImageResult]
    left_out: dict[str, str]


def check_names(names: Sequence[str]) -> None:
    """Checks the names of metrics.

    Args:
      names: of metrics.

    Raises:
      UserError: one is unknown, or there are none.
    """
    known = (*MEASURES, *ENLARGED, *ALIGNED)
    for name in names:
        if name not in known:
            raise UserError(f"--metrics {name}: expected some of {', '.join(known)}.")
    if not names:
        raise UserError(f"--metrics: empty; expected some of {', '.join(known)}.")


def missing(names: Sequence[str]) -> dict[str, str]:
    """Returns {metric: why} of the metrics that cannot be measured on this machine.

    Args:
      names: of metrics.
    """
    lacking = () if pretrained.is_installed() else _PERCEPTUAL
    return {name: f"not installed ({pretrained.INSTALL})" for name in names if name in lacking}


def too_small(name: str, size: tuple[int, int]) -> str | None:
    """Returns why a metric does not take pictures of a size; None where it does.

    Args:
      name: of the metric.
      size: (height, width) in pixels.
    """
    if name in _PERCEPTUAL and min(size) < pretrained.LPIPS_SIDE:
        return f"smaller than the {pretrained.LPIPS_SIDE} pixels that LPIPS takes"
    return None


def evaluate(
    restore: Callable[[np.ndarray], np.ndarray],
    source,
    names: Sequence[str] = METRICS,
    limit: int | None = None,
    pictures: str | os.PathLike | None = None,
    keep: int = 100,
) -> Scores:
    """Restores pictures one by one and scores them.

    A pair that cannot be scored (damaged, of two sizes, too small for a metric) is logged as a
    warning and left out; the others are scored.

    Args:
      restore: takes and returns a (height, width, 3) uint8 picture.
      source: pairs read by index, see `restore_tf.datasets.sources`.
      names: metrics, from `MEASURES` and `ALIGNED`; those that are `missing` are left out.
      limit: the number of pairs, from the first; None for all.
      pictures: folder for the PNG files that the report's sliders show, degraded/NAME.png,
        restored/NAME.png and sharp/NAME.png; None for none.
      keep: the number of images, restored worst, whose files are kept.

    Raises:
      UserError: an unknown metric, or no pair that could be scored.
    """
    check_names(names)
    lacking = missing(names)
    names = [name for name in names if name not in lacking]
    count = len(source) if limit is None else min(limit, len(source))
    gallery = _Gallery(Path(pictures), keep) if pictures is not None and keep else None
    results, left_out = [], {}
    for index in tqdm(range(count), unit="image", disable=None):
        name = source.names[index]
        try:
            degraded, sharp = source.read(index)
            result, shown = _score_pair(restore, name, degraded, sharp, names)
        except UserError as error:
            logger.warning("%s: left out (%s)", name, error)
            left_out[name] = str(error)
            continue
        if gallery is not None:
            gallery.add(index, result, shown)
        results.append((index, result))
    if not results:
        first = next(iter(left_out.items()), None)
        reason = f"; the first, {first[0]}: {first[1]}" if first else "; there are none"
        raise UserError(f"none of {count} pictures could be scored{reason}")
    rows = [result for _, result in results] if gallery is None else gallery.finish(results)
    return Scores(rows, left_out)


def _score_pair(restore, name, degraded, sharp, names):
    """The `ImageResult` of one pair, and {kind: pixels} to show."""
    scores, notes = {}, {}
    shave = sharp.shape[0] // degraded.shape[0] if sharp.shape[0] > degraded.shape[0] else 0
    baseline = enlarged_to(degraded, sharp.shape[:2])  # bicubic, where the network enlarges
    methods = {  # the network last: a metric that refuses the picture does so before it runs
        "degraded": lambda: baseline,
        "unsharp": lambda: unsharp(baseline),
        "restored": lambda: restore(degraded),
    }
    for method, make in methods.items():
        restored = make()
        scores[method], note = score(sharp, restored, names, shave)
        if note:
            notes[method] = note
    shown = {"degraded": baseline, "restored": restored, "sharp": sharp}
    return ImageResult(name, sharp.shape[:2], scores, {}, notes), shown


def unsharp(picture: np.ndarray) -> np.ndarray:
    """Returns a picture after unsharp masking with radius 2 pixels and amount 1.

    Args:
      picture: (height, width, 3) uint8.
    """
    # channel_axis=-1 returns an almost black picture in scikit-image 0.26; 2 is right.
    sharpened = unsharp_mask(to_float(picture), UNSHARP_RADIUS, UNSHARP_AMOUNT, channel_axis=2)
    return from_float(sharpened, np.uint8)


def score(
    sharp, picture, names: Sequence[str], shave: int = 0
) -> tuple[Mapping[str, float], str | None]:
    """Scores one picture.

    Args:
      sharp: (height, width, 3) uint8 or float, see the head of `metrics`.
      picture: to be scored, of the same shape.
      names: of metrics.
      shave: pixels that those of `ENLARGED` cut at each border.

    Returns:
      {metric: value}, and a note on the scores for a reader, or None.

    Raises:
      UserError: the shapes differ, or a picture is not one.
    """
    size = np.shape(sharp)[:2]
    notes = {name: why for name in names if (why := too_small(name, size))}
    measured = [name for name in names if name in MEASURES and name not in notes]
    values = {name: MEASURES[name](sharp, picture) for name in measured}
    values |= {n: ENLARGED[n](sharp, picture, shave) for n in names if n in ENLARGED}
    said = sorted(set(notes.values()))
    if any(name in ALIGNED for name in names):
        aligned = metrics.realblur(sharp, picture)
        both = {"realblur_psnr": aligned.psnr, "realblur_ssim": aligned.ssim}
        values |= {name: both[name] for name in names if name in ALIGNED}
        said += [] if aligned.aligned else ["not aligned (ECC did not converge)"]
    return values, "; ".join(said) or None


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
            outputs.make_folder(path.parent)
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
            dataclasses.replace(result, pictures=files.get(index, {})) for index, result in results
        ]
