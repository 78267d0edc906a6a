"""The base of all TFDS builders here: writes pairs as records.

Importing this imports TFDS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import tensorflow_datasets as tfds

from restore_tf.datasets import pairing, records

_KEYS = 2**128  # TFDS sorts examples on disk by 128-bit keys, in 1,000 buckets


class PairBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds records of pairs; each set's builder adds its own attributes.

    Attributes:
      LAYOUT: the set's layout module, which decides which files make a pair.
      HOMEPAGE: where the set is published.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    LAYOUT: ModuleType
    HOMEPAGE: str

    def __init__(self, *, file_format=records.FILE_FORMAT, **kwargs):
        """See the base class; by default records can be read at any index."""
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {"degraded": image, "sharp": image, "name": tfds.features.Text()}
            ),
            supervised_keys=("degraded", "sharp"),
            homepage=self.HOMEPAGE,
            disable_shuffling=True,  # the order of `names`; training shuffles by itself
            # So that listing the names opens no record.
            metadata=tfds.core.MetadataDict(names={}),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        # A config that exists as records only is made from the first published one.
        config = self.builder_config.name
        published = config if config in self.LAYOUT.CONFIGS else self.LAYOUT.CONFIGS[0]
        return {
            split: self._generate_examples(
                self.LAYOUT.find_pairs(dl_manager.manual_dir, published, split), split
            )
            for split in self.LAYOUT.SPLITS
        }

    def _generate_examples(
        self, pairs: Sequence[pairing.Pair], split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        sizes = pairing.check(pairs)
        names, examples = self._examples(pairs, sizes, split)
        self.info.metadata["names"][split] = names
        return keyed(examples, len(names))

    def _examples(
        self, pairs: Sequence[pairing.Pair], sizes: Sequence[tuple[int, int]], split: str
    ) -> tuple[list[str], Iterable[dict[str, Any]]]:
        """Returns the names of a split's examples, and the examples: here whole pictures.

        TFDS stores the files' bytes as they are.
        """
        examples = ({"degraded": p.degraded, "sharp": p.sharp, "name": p.name} for p in pairs)
        return [pair.name for pair in pairs], examples


def keyed(examples: Iterable[dict[str, Any]], count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (key, example) with growing keys, spread so that TFDS needs little memory.

    TFDS collects a split in 1,000 buckets by key and sorts each in memory. Keys 0, 1, 2 ... would
    all fall into the first bucket: the whole split in memory at once.

    Args:
      examples: in the order of the records.
      count: how many.
    """
    for index, example in enumerate(examples):
        yield index * (_KEYS // count), example
