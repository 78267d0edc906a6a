"""Which files of HIDE make a pair, from its published folder layout.

    test/{test-close-ups,test-long-shot}/NAME.png   blurred
    GT/NAME.png                                     sharp, of the train and the test pictures

Imports neither TensorFlow nor TFDS.
"""

from __future__ import annotations

import os
from pathlib import Path

from restore_tf.datasets import pairing
from restore_tf.errors import UserError

CONFIGS = ("blur",)
SPLITS = ("test",)

_LAYOUT = "HIDE's test/{test-close-ups,test-long-shot}/NAME.png with GT/NAME.png beside test/"
_DEPTHS = ("", "test-close-ups", "test-long-shot")


def find_pairs(data_dir: str | os.PathLike, config: str, split: str) -> list[pairing.Pair]:
    """Returns the test pairs, sorted by name, e.g. "test-close-ups/1fromGOPR0950".

    Pictures in test/ itself are read too. GT/ also holds the sharp pictures of HIDE's train split,
    so a sharp picture without a partner is no error here.

    Args:
      data_dir: the folder HIDE_dataset, which holds test/ and GT/.
      config: "blur".
      split: "test"; the papers that report on HIDE train on GoPro.

    Raises:
      UserError: unknown config or split, a folder or a partner is missing, or there are no
        pictures.
    """
    pairing.check_choice("hide", config, CONFIGS, split, SPLITS)
    root = pairing.existing_folder(data_dir, _LAYOUT)
    test = pairing.existing_folder(root / "test", _LAYOUT)
    truth = pairing.pictures(pairing.existing_folder(root / "GT", _LAYOUT))
    pairs = [pair for depth in _DEPTHS for pair in _pairs(test, depth, truth)]
    if not pairs:
        raise UserError(f"{test}: holds no pictures; expected {_LAYOUT}.")
    return sorted(pairs)


def _pairs(test: Path, depth: str, truth: dict[str, Path]) -> list[pairing.Pair]:
    folder = test / depth
    if not folder.is_dir():
        return []
    degraded = pairing.pictures(folder)
    sharp = {name: truth[name] for name in degraded if name in truth}
    return pairing.match(degraded, sharp, folder, f"{depth}/" if depth else "")
