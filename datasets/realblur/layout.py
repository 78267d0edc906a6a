"""Which files of RealBlur make a pair, from its published list files.

    RealBlur_{J,R}_{train,test}_list.txt
        each line `GT_PATH BLUR_PATH`, relative to the folder of the list, e.g.
        RealBlur-J_ECC_IMCORR_centroid_itensity_ref/scene230/gt/gt_7.png
        RealBlur-J_ECC_IMCORR_centroid_itensity_ref/scene230/blur/blur_7.png

Imports neither TensorFlow nor TFDS.
"""

from __future__ import annotations

import os
from pathlib import Path

from restore_tf.datasets import pairing
from restore_tf.errors import UserError

CONFIGS = ("j", "r")  # j: from the camera's JPEGs; r: from its raw pictures
SPLITS = ("train", "validation", "test")

_LAYOUT = "RealBlur_{J,R}_{train,test}_list.txt beside the folders their lines name"


def find_pairs(data_dir: str | os.PathLike, config: str, split: str) -> list[pairing.Pair]:
    """Returns the pairs of one split, sorted by name, e.g. "scene230/7".

    The publishers give train and test lists. `validation` is held out of train by whole scenes
    (`pairing.hold_out`).

    Args:
      data_dir: the folder that holds the list files.
      config: "j" (camera JPEG) or "r" (from raw pictures).
      split: one of SPLITS.

    Raises:
      UserError: unknown config or split, a list or a listed file is missing, a line is not
        `gt blur` of one scene and number, a path leads out of data_dir, or the list is empty.
    """
    pairing.check_choice("realblur", config, CONFIGS, split, SPLITS)
    root = pairing.existing_folder(data_dir, _LAYOUT)
    part = "test" if split == "test" else "train"
    pairs = _listed(root, root / f"RealBlur_{config.upper()}_{part}_list.txt")
    if split == "test":
        return pairs
    return pairing.training_split(pairs, split)


def _listed(root: Path, list_file: Path) -> list[pairing.Pair]:
    if not list_file.is_file():
        raise UserError(f"{list_file}: no such file; expected {_LAYOUT}.")
    degraded: dict[str, Path] = {}
    sharp: dict[str, Path] = {}
    text = list_file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{list_file}, line {number}"
        if len(line.split()) != 2:
            raise UserError(f"{where}: expected two paths, `GT_PATH BLUR_PATH`, got {line!r}.")
        for side, prefix, entry in zip(
            (sharp, degraded), ("gt", "blur"), line.split(), strict=True
        ):
            key, path = _entry(root, entry, prefix, where)
            if key in side:
                raise UserError(f"{where}: {entry} is listed twice; remove one of the lines.")
            side[key] = path
    if not degraded:
        raise UserError(f"{list_file}: lists no pictures; expected lines `GT_PATH BLUR_PATH`.")
    return pairing.match(degraded, sharp, list_file)


def _entry(root: Path, entry: str, prefix: str, where: str) -> tuple[str, Path]:
    """Returns ("scene230/7", path) of ".../scene230/gt/gt_7.png" with the prefix "gt"."""
    relative = Path(entry)
    if relative.is_absolute() or ".." in relative.parts:
        raise UserError(f"{where}: {entry} leads out of {root}; expected a path inside it.")
    if len(relative.parts) < 3 or not relative.name.startswith(f"{prefix}_"):
        raise UserError(f"{where}: {entry} is not like sceneNNN/{prefix}/{prefix}_N.png.")
    path = root / relative
    if not path.is_file():
        raise UserError(f"{path}: no such file, but {where} names it; unpack the archive again.")
    return f"{relative.parts[-3]}/{relative.stem.removeprefix(f'{prefix}_')}", path
