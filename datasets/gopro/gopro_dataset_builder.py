"""TFDS builder of GoPro; which files make a pair is decided in layout.py."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from restore_tf.datasets import pairing
from restore_tf.datasets.cropping import decode
from restore_tf.datasets.gopro import layout
from restore_tf.datasets.pair_builder import PairBuilder

# PNG level 3 is 2.6 times faster than the default 6 on these frames and 6% larger.
_COMPRESSION = 3


class Builder(PairBuilder):
    """GoPro pairs as whole frames (`blur`, `blur_gamma`) or as training crops (`crops`)."""

    # TFDS would derive it from the module name, and that fails in a checkout (see the bridge
    # restore_tf/datasets/__init__.py).
    pkg_dir_path = tfds.core.Path(__file__).parent

    LAYOUT = layout
    HOMEPAGE = "https://seungjunnah.github.io/Datasets/gopro"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="blur", description="Linear average; what papers use."),
        tfds.core.BuilderConfig(name="blur_gamma", description="Averaged with a camera's gamma."),
        tfds.core.BuilderConfig(
            name="crops", description="`blur` in 512x512 crops; test stays whole frames."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download GOPRO_Large.zip by hand (README.md says where), unpack it and give the folder"
        " that holds train/ and test/ as manual_dir."
    )

    def _examples(self, pairs, sizes, split):
        if self.builder_config.name != "crops" or split == "test":
            return super()._examples(pairs, sizes, split)
        boxes = [layout.crop_boxes(*size) for size in sizes]
        names = [
            layout.crop_name(pair, box)
            for pair, frame in zip(pairs, boxes, strict=True)
            for box in frame
        ]
        return names, _crops(pairs, boxes)


def _crops(
    pairs: Sequence[pairing.Pair], boxes: Sequence[Sequence[tuple[int, int, int, int]]]
) -> Iterator[dict[str, Any]]:
    for pair, frame in zip(pairs, boxes, strict=True):
        degraded, sharp = decode(pair.degraded), decode(pair.sharp)
        for box in frame:
            yield {
                "degraded": _png(degraded, box),
                "sharp": _png(sharp, box),
                "name": layout.crop_name(pair, box),
            }


def _png(pixels: np.ndarray, box: tuple[int, int, int, int]) -> bytes:
    top, left, height, width = box
    file = io.BytesIO()
    crop = Image.fromarray(pixels[top : top + height, left : left + width])
    crop.save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()
