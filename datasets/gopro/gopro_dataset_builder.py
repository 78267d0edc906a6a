"""TFDS builder of GoPro; which files make a pair is decided in layout.py."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

from restore_tf.datasets import pairing, records
from restore_tf.datasets.gopro import layout
from restore_tf.errors import UserError

# PNG level 3 is 2.6 times faster than the default 6 on these frames and 6% larger.
_COMPRESSION = 3


class Builder(tfds.core.GeneratorBasedBuilder):
    """GoPro pairs as whole frames (`blur`, `blur_gamma`) or as training crops (`crops`)."""

    # TFDS would derive it from the module name, and that fails in a checkout (see the bridge
    # restore_tf/datasets/__init__.py).
    pkg_dir_path = tfds.core.Path(__file__).parent

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
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

    def __init__(self, *, file_format=records.FILE_FORMAT, **kwargs):
        """See the base class; records can be read at any index unless told otherwise."""
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return records.pair_info(self, "https://seungjunnah.github.io/Datasets/gopro")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        crops = self.builder_config.name == "crops"
        config = "blur" if crops else self.builder_config.name
        generators = {}
        for split in layout.SPLITS:
            pairs = layout.find_pairs(dl_manager.manual_dir, config, split)
            generators[split] = self._generate_examples(pairs, split, crops and split != "test")
        return generators

    def _generate_examples(
        self, pairs: Sequence[pairing.Pair], split: str, crops: bool
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        sizes = pairing.check(pairs)
        if not crops:
            records.remember_names(self, split, [pair.name for pair in pairs])
            return records.keyed(records.whole_pictures(pairs), len(pairs))
        boxes = [layout.crop_boxes(*size) for size in sizes]
        names = [
            layout.crop_name(pair, box)
            for pair, frame in zip(pairs, boxes, strict=True)
            for box in frame
        ]
        records.remember_names(self, split, names)
        return records.keyed(_crops(pairs, boxes), len(names))


def _crops(
    pairs: Sequence[pairing.Pair], boxes: Sequence[Sequence[tuple[int, int, int, int]]]
) -> Iterator[dict[str, Any]]:
    for pair, frame in zip(pairs, boxes, strict=True):
        degraded, sharp = _read(pair.degraded), _read(pair.sharp)
        for box in frame:
            yield {
                "degraded": _png(degraded, box),
                "sharp": _png(sharp, box),
                "name": layout.crop_name(pair, box),
            }


def _read(path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise UserError(f"{path}: cannot be decoded ({error}); replace it.") from None


def _png(image: Image.Image, box: tuple[int, int, int, int]) -> bytes:
    top, left, height, width = box
    file = io.BytesIO()
    crop = image.crop((left, top, left + width, top + height))
    crop.save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()
