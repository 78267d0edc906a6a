"""A page for voting without knowing which network made which picture.

write_blind(comparison, seed)            blind.html, blind_key.json
tally(comparison, "votes.json")          of the file that the page saved
"""

from __future__ import annotations

import hashlib
import itertools
import json
import string

import numpy as np

from restore_tf.errors import UserError
from restore_tf.evaluation.comparison import encodings, grid, page
from restore_tf.evaluation.comparison.results import SHARP, Comparison
from restore_tf.evaluation.comparison.statistics import analyse
from restore_tf.evaluation.comparison.votes import KEY, Tally, Wins, tally
from restore_tf.system import outputs

__all__ = ["KEY", "PAGE", "Tally", "Wins", "tally", "write_blind"]

PAGE = "blind.html"
QUESTIONS = 20


def write_blind(
    comparison: Comparison, seed: int = 0, crop: int = grid.CROP, questions: int = QUESTIONS
) -> None:
    """Writes blind.html, one page to vote on, and blind_key.json into the comparison's folder.

    A question shows the degraded picture and each network's restored one, in shuffled columns.
    Pictures are those of the grid, then others drawn by the seed.

    Args:
      comparison: its folder holds the pictures.
      seed: of the shuffling; the same seed gives the same page and key.
      crop: side of the crops in pixels.
      questions: the most questions; the grid's pictures are always asked.

    Raises:
      UserError: pictures are missing, there is no network, or the folder cannot be written.
    """
    choices = _choices(comparison, seed, crop, questions)
    random = np.random.default_rng(seed)
    asked, crops = [], []
    for choice in choices:
        rows = [row for row in grid.shown(comparison, choice) if row != SHARP]
        rows = [rows[index] for index in random.permutation(len(rows))]
        letters = [_letter(index) for index in range(len(rows))]
        columns = dict(zip(letters, rows, strict=True))
        asked.append({"block": choice.block, "picture": choice.picture, "columns": columns})
        crops += [choice.crops[row] for row in rows]
    key = {"seed": seed, "questions": asked}
    identity = _digest(key)
    encoded, how = encodings.for_voting(crops)
    letters = [letter for each in asked for letter in each["columns"]]
    sizes = [pixels.shape[:2] for pixels in crops]
    every = iter(zip(letters, encoded, sizes, strict=True))
    pictures = [list(itertools.islice(every, len(each["columns"]))) for each in asked]
    with outputs.staged(comparison.folder, (PAGE, KEY)) as folder:
        text = page.render_blind(comparison.title, identity, pictures, how)
        (folder / PAGE).write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        (folder / KEY).write_text(
            json.dumps({"id": identity, **key}, indent=1) + "\n", encoding="utf-8"
        )


def _choices(comparison, seed, crop, questions):
    found = analyse(comparison)
    chosen = grid.select(comparison, found, crop, seed)
    if not chosen:
        raise UserError(f"{comparison.folder}: has no pictures to vote on; run the comparison.")
    if not any(grid.networks(comparison, statistics) for statistics in found.values()):
        raise UserError(f"{comparison.title}: no network to vote on; compare at least one.")
    taken = {(choice.block, choice.picture) for choice in chosen}
    others = [
        (block.name, picture.name)
        for block in comparison.blocks
        for picture in block.pictures
        if (block.name, picture.name) not in taken
    ]
    order = np.random.default_rng(seed).permutation(len(others))
    more = [others[index] for index in order[: max(0, questions - len(chosen))]]
    chosen += [
        grid.cut(comparison, block, name, ["drawn"], crop)
        for block, name in grid.progress(more, "vote")
    ]
    order = np.random.default_rng(seed).permutation(len(chosen))
    return [chosen[index] for index in order]


def _letter(index):
    letters = string.ascii_uppercase
    return letters[index] if index < 26 else letters[index // 26 - 1] + letters[index % 26]


def _digest(key):
    text = json.dumps(key, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:16]
