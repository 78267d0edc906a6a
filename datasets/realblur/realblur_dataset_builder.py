"""TFDS builder of RealBlur; which files make a pair is decided in layout.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from restore_tf.datasets import pairing, records
from restore_tf.datasets.realblur import layout


class Builder(tfds.core.GeneratorBasedBuilder):
    """RealBlur pairs, from the camera's JPEGs (`j`) or from raw (`r`)."""

    # TFDS would derive it from the module name, and that fails in a checkout (see the bridge
    # restore_tf/datasets/__init__.py).
    pkg_dir_path = tfds.core.Path(__file__).parent

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="j", description="From the camera's JPEG pictures."),
        tfds.core.BuilderConfig(name="r", description="From raw pictures."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download RealBlur.tar.gz by hand (README.md says where), unpack it and give the folder"
        " that holds the list files as manual_dir."
    )

    def __init__(self, *, file_format=records.FILE_FORMAT, **kwargs):
        """See the base class; records can be read at any index unless told otherwise."""
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return records.pair_info(self, "https://github.com/rimchang/RealBlur")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        generators = {}
        for split in layout.SPLITS:
            pairs = layout.find_pairs(dl_manager.manual_dir, self.builder_config.name, split)
            generators[split] = self._generate_examples(pairs, split)
        return generators

    def _generate_examples(
        self, pairs: Sequence[pairing.Pair], split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        pairing.check(pairs)
        records.remember_names(self, split, [pair.name for pair in pairs])
        return records.keyed(records.whole_pictures(pairs), len(pairs))
