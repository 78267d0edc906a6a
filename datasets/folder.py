"""Pairs from any two folders of pictures: your own data, or another set in this form.

Imports neither TensorFlow nor TFDS.
"""

from __future__ import annotations

import os
from pathlib import Path

from restore_tf.datasets import pairing
from restore_tf.errors import UserError
from restore_tf.pictures.kinds import PICTURES

# (degraded, sharp): the folders of MPRNet's and Restormer's downloads, then of GoPro sequences and
# REDS clips. The first pair that exists is taken.
_NAMES = (("input", "target"), ("blur", "sharp"))


def find_pairs(
    data_dir: str | os.PathLike | None = None,
    degraded_dir: str | os.PathLike | None = None,
    sharp_dir: str | os.PathLike | None = None,
) -> list[pairing.Pair]:
    """Returns the pairs of two folders, sorted by name.

    Folders are searched at any depth, links to folders followed. Two pictures are a pair when their
    paths inside their folders are equal but for the extension: `a/1.png` and `a/1.jpg` make the
    pair "a/1".

    Args:
      data_dir: a folder with input/ and target/, or with blur/ and sharp/; None for the other two.
      degraded_dir: the folder of degraded pictures; None with `data_dir`.
      sharp_dir: the folder of sharp pictures; None with `data_dir`.

    Raises:
      UserError: too few or too many folders are given, one is missing or empty, or a picture has
        no partner.
    """
    if data_dir is not None and (degraded_dir is not None or sharp_dir is not None):
        raise UserError("give either data_dir, or degraded_dir and sharp_dir; not both forms.")
    if data_dir is not None:
        degraded_dir, sharp_dir = _inside(Path(data_dir))
    if degraded_dir is None or sharp_dir is None:
        missing = "degraded_dir" if degraded_dir is None else "sharp_dir"
        raise UserError(f"{missing} is not given; give degraded_dir and sharp_dir, or data_dir.")
    if Path(degraded_dir).resolve() == Path(sharp_dir).resolve():
        raise UserError(f"{sharp_dir}: is given as both degraded_dir and sharp_dir; give two.")
    degraded = pairing.pictures_below(pairing.existing_folder(degraded_dir, "degraded pictures"))
    sharp = pairing.pictures_below(pairing.existing_folder(sharp_dir, "sharp pictures"))
    if not degraded and not sharp:
        kinds = ", ".join(PICTURES)
        raise UserError(f"{degraded_dir} and {sharp_dir}: hold no pictures; expected {kinds}.")
    return pairing.match(degraded, sharp, f"{degraded_dir} and {sharp_dir}")


def _inside(data_dir: Path) -> tuple[Path, Path]:
    expected = " or ".join(f"{degraded}/ and {sharp}/" for degraded, sharp in _NAMES)
    pairing.existing_folder(data_dir, f"a folder with {expected}")
    for degraded, sharp in _NAMES:
        if (data_dir / degraded).is_dir() and (data_dir / sharp).is_dir():
            return data_dir / degraded, data_dir / sharp
    raise UserError(f"{data_dir}: expected {expected} inside; or give degraded_dir and sharp_dir.")
