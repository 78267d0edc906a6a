"""Which files of GOPRO_Large make a pair, from its published folder layout.

    {train,test}/GOPRxxxx_xx_xx/{blur,blur_gamma,sharp}/NNNNNN.png

Imports neither TensorFlow nor TFDS.
"""

from __future__ import annotations

import os
from pathlib import Path

from restore_tf.datasets import pairing
from restore_tf.errors import UserError

# `blur` averages the stored frames; papers train and report on it. `blur_gamma` averages them after
# undoing a gamma of 2.2, closer to a camera.
CONFIGS = ("blur", "blur_gamma")
RECORD_CONFIGS = ("crops",)  # exist as prepared records only, made from `blur`
SPLITS = ("train", "validation", "test")

CROP = 512  # pixels, the side of a training crop
CROP_STEP = 256  # pixels between the origins of neighbouring crops

_LAYOUT = "GoPro's {train,test}/GOPRxxxx_xx_xx/{blur,blur_gamma,sharp}/NNNNNN.png"


def find_pairs(data_dir: str | os.PathLike, config: str, split: str) -> list[pairing.Pair]:
    """Returns the pairs of one split, sorted by name, e.g. "GOPR0372_07_00/000047".

    The publishers give train and test only. `validation` is held out of train by whole sequences
    (`pairing.hold_out`: 2 of the 22), so `test` stays for the final evaluation alone.

    Args:
      data_dir: the folder that holds train/ and test/.
      config: one of CONFIGS, the kind of blur.
      split: one of SPLITS.

    Raises:
      UserError: unknown config or split, a folder or a partner is missing, or there are no
        pictures.
    """
    if config in RECORD_CONFIGS:
        raise UserError(
            f"{data_dir}: holds no prepared records of gopro {config}; prepare them with: python -m"
            f" restore_tf.datasets.records gopro {config} --manual_dir GOPRO_Large --data_dir"
            " RECORDS, and give RECORDS as data_dir."
        )
    pairing.check_choice("gopro", config, CONFIGS + RECORD_CONFIGS, split, SPLITS)
    root = pairing.existing_folder(data_dir, _LAYOUT)
    if split == "test":
        return _published(root / "test", config)
    return pairing.training_split(_published(root / "train", config), split)


def _published(folder: Path, config: str) -> list[pairing.Pair]:
    pairing.existing_folder(folder, _LAYOUT)
    pairs = []
    for sequence in sorted(folder.glob("[!.]*/")):
        degraded = pairing.existing_folder(sequence / config, _LAYOUT)
        sharp = pairing.existing_folder(sequence / "sharp", _LAYOUT)
        pairs += pairing.match(
            pairing.pictures(degraded), pairing.pictures(sharp), sequence, f"{sequence.name}/"
        )
    if not pairs:
        raise UserError(f"{folder}: holds no pictures; expected {_LAYOUT}.")
    return pairs


def crop_boxes(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Returns the training crops of one frame as (top, left, height, width), in pixels.

    The usual 512/256 grid: origins every 256 pixels and, where that leaves a rest, one last crop at
    the border. 1280x720 gives rows 0, 208 and columns 0, 256, 512, 768: 8 crops a frame, 16,824 in
    all. A side shorter than 512 is taken whole.

    Args:
      height: of the frame, in pixels.
      width: of the frame, in pixels.
    """
    return [
        (top, left, min(CROP, height), min(CROP, width))
        for top in _origins(height)
        for left in _origins(width)
    ]


def crop_name(pair: pairing.Pair, box: tuple[int, int, int, int]) -> str:
    """Returns a crop's name, e.g. "GOPR0372_07_00/000047_y208_x768".

    Args:
      pair: of the frame.
      box: from `crop_boxes`.
    """
    return f"{pair.name}_y{box[0]}_x{box[1]}"


def _origins(size: int) -> list[int]:
    last = max(size - CROP, 0)
    origins = list(range(0, last + 1, CROP_STEP))
    return origins if origins[-1] == last else [*origins, last]
