"""Which files of REDS make a pair, from its published folder layout.

    {train,val}_{blur,blur_comp,sharp}/NNN/NNNNNNNN.png

The archives unpack one level deeper, as train/train_blur/NNN/NNNNNNNN.png; both forms are read.
Imports neither TensorFlow nor TFDS.
"""

from __future__ import annotations

import os
from pathlib import Path

from restore_tf.datasets import pairing
from restore_tf.errors import UserError

# blur_comp: the same blur, then MPEG compression.
CONFIGS = ("blur", "blur_comp")
SPLITS = ("train", "validation", "test")

_LAYOUT = "REDS' {part}_{kind}/NNN/NNNNNNNN.png"


def find_pairs(data_dir: str | os.PathLike, config: str, split: str) -> list[pairing.Pair]:
    """Returns the pairs of one split, sorted by name, e.g. "000/00000047" (clip/frame).

    `test` is REDS' published val split (30 clips), on which papers report because the sharp
    pictures of REDS' own test split are not public. `validation`, for choosing a model, is held
    out of the 240 train clips by whole clips (`pairing.hold_out`: the last 24).

    Args:
      data_dir: the folder into which the archives were unpacked.
      config: one of CONFIGS, the kind of degradation.
      split: one of SPLITS.

    Raises:
      UserError: unknown config or split, a folder or a partner is missing, or there are no
        pictures.
    """
    pairing.check_choice("reds", config, CONFIGS, split, SPLITS)
    root = pairing.existing_folder(data_dir, _LAYOUT.format(part="{train,val}", kind=config))
    part = "val" if split == "test" else "train"
    pairs = pairing.match(_frames(root, part, config), _frames(root, part, "sharp"), root)
    if split == "test":
        return pairs
    return pairing.training_split(pairs, split)


def _frames(root: Path, part: str, kind: str) -> dict[str, Path]:
    """Returns {"clip/frame": path} of every frame, e.g. of `train_blur`."""
    flat = root / f"{part}_{kind}"
    unpacked = root / part / f"{part}_{kind}"
    folder = next((candidate for candidate in (flat, unpacked) if candidate.is_dir()), None)
    layout = _LAYOUT.format(part=part, kind=kind)
    if folder is None:
        raise UserError(f"{flat}: no such folder, nor {unpacked}; expected {layout}.")
    frames = {
        f"{clip.name}/{frame}": path
        for clip in sorted(folder.glob("[!.]*/"))
        for frame, path in pairing.pictures(clip).items()
    }
    if not frames:
        raise UserError(f"{folder}: holds no clips with pictures; expected {layout}.")
    return frames
