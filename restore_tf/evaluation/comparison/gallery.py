"""The pictures that the page shows with sliders: where metrics disagree, then the grid's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from restore_tf.evaluation.comparison import encodings, grid
from restore_tf.evaluation.comparison.encodings import Encoded
from restore_tf.evaluation.comparison.grid import Choice, column_label, score_name
from restore_tf.evaluation.comparison.results import INPUT, SHARP, Comparison
from restore_tf.evaluation.comparison.statistics import BlockStatistics
from restore_tf.evaluation.comparison.table import label_of, score_text
from restore_tf.evaluation.metric_names import format_number

LIMIT = 3_500_000  # bytes of crops within the page
DISAGREEMENTS = 12  # the most pictures besides the grid's


@dataclass(frozen=True)
class Column:
    """One crop.

    Attributes:
      row: its name.
      label: as printed.
      crop: as a file.
      values: scores of the crop, as printed.
      address: of the whole picture, relative to the page.
    """

    row: str
    label: str
    crop: Encoded
    values: Sequence[str]
    address: str


@dataclass(frozen=True)
class Entry:
    """One picture of the gallery.

    Attributes:
      choice: see `Choice`.
      caption: the row that each metric picks, with its scores of the whole picture; "" where they
        agree.
      columns: the input, the networks, sharp.
      left: row that the slider begins with.
      right: likewise.
    """

    choice: Choice
    caption: str
    columns: Sequence[Column]
    left: str
    right: str


def entries(
    comparison: Comparison, found: Mapping[str, BlockStatistics], chosen: Sequence[Choice]
) -> tuple[list[Entry], int]:
    """Returns the gallery and how many of its pictures were left out because of `LIMIT`.

    Args:
      comparison: its folder holds the pictures.
      found: of `statistics.analyse`.
      chosen: of `grid.select`; nothing is shown without.
    """
    if not chosen:
        return [], 0
    crop = max(max(pixels.shape[:2]) for each in chosen for pixels in each.crops.values())
    at_hand = {(choice.block, choice.picture): choice for choice in chosen}
    disagreed = [(each, name) for name, block in found.items() for each in block.disagreements]
    disagreed.sort(key=lambda pair: -pair[0].size)
    order = [(block, each.picture) for each, block in disagreed]
    kept = [key for index, key in enumerate(order) if index < DISAGREEMENTS or key in at_hand]
    keys = [*kept, *(key for key in at_hand if key not in order)]
    shown: list[Entry] = []
    size = 0
    for key in grid.progress(keys, "gallery"):
        choice = at_hand.get(key) or grid.cut(comparison, key[0], key[1], [], crop)
        entry = _entry(comparison, found[choice.block], choice)
        size += sum(len(column.crop.file) for column in entry.columns)
        if size > LIMIT and shown:
            break
        shown.append(entry)
    return shown, len(keys) - len(shown)


def _entry(comparison, found, choice):
    winners = next(
        (each.winners for each in found.disagreements if each.picture == choice.picture), None
    )
    columns = [
        Column(
            row,
            column_label(comparison, row),
            encodings.for_looking(pixels),
            [score_text(value, metric) for metric, value in choice.scores.get(row, {}).items()],
            _address(comparison, choice, row),
        )
        for row, pixels in choice.crops.items()
    ]
    if winners is None:
        made = grid.networks(comparison, found)
        first = INPUT if INPUT in choice.crops else SHARP
        return Entry(choice, "", columns, first, made[0] if made else SHARP)
    return Entry(choice, _caption(comparison, found, choice, winners), columns, *winners)


def _caption(comparison, found, choice, winners):
    """What either metric picks, with both scores of both rows."""
    block = next(block for block in comparison.blocks if block.name == choice.block)
    column = [picture.name for picture in block.pictures].index(choice.picture)
    said = []
    for metric, row in zip(found.opposed, winners, strict=True):
        scores = ", ".join(
            f"{score_name(name)} "
            + format_number(found.values[name][found.rows.index(row), column], name)
            for name in found.opposed
        )
        said.append(f"{score_name(metric)} picks {label_of(comparison, row)} ({scores})")
    return "; ".join(said)


def _address(comparison, choice, row):
    path = comparison.picture_path(choice.block, row, choice.picture)
    return quote(os.fsencode(path.relative_to(comparison.folder).as_posix()), safe="/")
