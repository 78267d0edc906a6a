"""Which files of the Blur dataset (kwentar) make a pair, from its published folder layout.

    sharp/ID_DEVICE_S.jpg  motion_blurred/ID_DEVICE_M.jpg  defocused_blurred/ID_DEVICE_F.jpg

ID is 0 to 349; extensions are .jpg, .JPG and .jpeg. Imports neither TensorFlow nor TFDS.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from restore_tf.datasets import pairing
from restore_tf.errors import UserError

CONFIGS = ("motion", "defocus")
SPLITS = ("train", "validation", "test")

_LAYOUT = (
    "the Blur dataset's sharp/ID_*_S.*, motion_blurred/ID_*_M.* and defocused_blurred/ID_*_F.*"
)
_DEGRADED = {"motion": ("motion_blurred", "M"), "defocus": ("defocused_blurred", "F")}

# The publisher has no splits. These limits on ID are this package's and must not change: 280, 35
# and 35 scenes. Blocks, not every tenth ID, because neighbouring IDs come from one device and walk.
_IDS = {"train": range(280), "validation": range(280, 315), "test": range(315, 350)}


def find_pairs(data_dir: str | os.PathLike, config: str, split: str) -> list[pairing.Pair]:
    """Returns the pairs of one split, sorted by name: the ID as three digits, e.g. "089".

    The pictures of a scene were taken one after the other by hand: they show the same thing but
    are not aligned, so PSNR and SSIM between them say little (README.md).

    Args:
      data_dir: the folder that holds sharp/, motion_blurred/ and defocused_blurred/.
      config: "motion" or "defocus".
      split: one of SPLITS: IDs 0-279, 280-314 and 315-349.

    Raises:
      UserError: unknown config or split, a folder or a partner is missing, a name is not of the
        form above, or there are no pictures.
    """
    pairing.check_choice("blur_dataset", config, CONFIGS, split, SPLITS)
    root = pairing.existing_folder(data_dir, _LAYOUT)
    degraded = _by_id(pairing.existing_folder(root / _DEGRADED[config][0], _LAYOUT), config)
    sharp = _by_id(pairing.existing_folder(root / "sharp", _LAYOUT), "sharp")
    pairs = [pair for pair in pairing.match(degraded, sharp, root) if int(pair.name) in _IDS[split]]
    if not pairs:
        ids = _IDS[split]
        raise UserError(f"{root}: no pictures with IDs {ids[0]}-{ids[-1]}; expected {_LAYOUT}.")
    return pairs


def _by_id(folder: Path, kind: str) -> dict[str, Path]:
    letter = "S" if kind == "sharp" else _DEGRADED[kind][1]
    found: dict[str, Path] = {}
    for stem, path in pairing.pictures(folder).items():
        parts = re.fullmatch(rf"(\d+)_.*_{letter}", stem, re.IGNORECASE)
        if parts is None or int(parts[1]) not in range(350):
            raise UserError(f"{path}: not named ID_DEVICE_{letter} with ID 0-349; rename it.")
        key = f"{int(parts[1]):03d}"
        if key in found:
            raise UserError(f"{path}: {found[key].name} has the same ID; keep one of them.")
        found[key] = path
    return found
