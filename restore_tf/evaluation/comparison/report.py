"""The results of a comparison: a table for the terminal, CSV, JSON, a page and a grid.

write(comparison)            scores.csv, scores.json, index.html, grid.png, crops/
print(format_table(comparison))
comparison = read(folder)    from scores.json
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from restore_tf.evaluation.comparison import page, stored
from restore_tf.evaluation.comparison.encodings import within_grid
from restore_tf.evaluation.comparison.grid import CROP, draw, select, shown
from restore_tf.evaluation.comparison.results import Comparison
from restore_tf.evaluation.comparison.sentences import sentences
from restore_tf.evaluation.comparison.statistics import BlockStatistics, analyse
from restore_tf.evaluation.comparison.stored import read
from restore_tf.evaluation.comparison.table import count_text, cross, table
from restore_tf.evaluation.comparison.votes import Tally
from restore_tf.evaluation.metric_names import describe
from restore_tf.evaluation.report import one_line
from restore_tf.pictures.files import write_picture
from restore_tf.system import outputs

__all__ = ["NAMES", "format_table", "read", "write"]

CSV, PAGE, GRID, CROPS = "scores.csv", "index.html", "grid.png", "crops"
NAMES = (CSV, stored.SCORES, PAGE, GRID, CROPS)
_WIDTH = 100  # characters of a sentence's line in the terminal


def write(
    comparison: Comparison,
    crop: int = CROP,
    scale: int = 1,
    seed: int = 0,
    tally: Tally | None = None,
) -> None:
    """Writes scores.csv, scores.json, index.html, grid.png and crops/ into the folder.

    Earlier files of these names are replaced where this package wrote them; all come at once.

    Args:
      comparison: its folder holds the pictures.
      crop: side of the grid's crops in pixels.
      scale: 1, 2 or 3: factor by which the grid is enlarged.
      seed: decides between pictures that a rule finds equal.
      tally: votes of the blind page.

    Raises:
      UserError: scores or pictures are missing, or the folder cannot be written.
    """
    found = analyse(comparison)
    chosen = select(comparison, found, crop, seed)
    with outputs.staged(comparison.folder, NAMES, cleared=(CROPS,)) as folder:
        stored.write_csv(folder / CSV, comparison)
        stored.write_json(folder / stored.SCORES, comparison, found)
        size = None
        if chosen:
            kept = within_grid(chosen, [shown(comparison, choice) for choice in chosen])
            grid = draw(comparison, kept, scale)
            size = (*grid.shape[:2], len(kept))
            write_picture(folder / GRID, grid)
        for choice in chosen:
            for row, png in choice.pngs.items():
                path = folder / CROPS / choice.block / row / f"{choice.picture}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png)
        text = page.render(comparison, found, chosen, size, tally)
        (folder / PAGE).write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def format_table(comparison: Comparison) -> str:
    """Returns the tables and sentences as text.

    Args:
      comparison: see `Comparison`.

    Raises:
      UserError: scores are missing.
    """
    found = analyse(comparison)
    parts = [comparison.title, f"budget: {comparison.budget}"]
    if "hardware" in comparison.provenance:
        parts.append(f"hardware: {one_line(comparison.provenance['hardware'])}")
    for block in comparison.blocks:
        parts += ["", *_block(comparison, found[block.name])]
    some = next(iter(found.values()))
    for metric in some.opposed or list(some.values)[:1]:
        parts += _cross(comparison, found, metric)
    parts.append("")
    for sentence in sentences(comparison, found):
        parts += textwrap.wrap(sentence, _WIDTH, subsequent_indent="  ")
    return "\n".join(parts)


def _block(comparison, found: BlockStatistics) -> list[str]:
    """A table of scores and costs, and one of differences to the input."""
    heads, lines = table(comparison, found)
    scores = [[head.label for head in heads]]
    gains = [["against the input", *(describe(name).label for name in comparison.metrics)]]
    for line in lines:
        label = line.label
        if line.row.missing is not None:
            scores.append([label, f"missing: {line.row.missing}"])
            continue
        label += f" @ {line.row.trained_on}" if line.row.trained_on else ""
        scores.append([label, *(_cell(cell, found.pictures) for cell in line.cells)])
        cells = line.cells[: len(comparison.metrics)]
        if any(len(cell.more) > 1 for cell in cells):
            gains.append([label, *(_gain(cell) for cell in cells)])
    text = [f"{found.block}: {count_text(found)}", *_columns(scores)]
    return [*text, "", *_columns(gains)] if len(gains) > 1 else text


def _cell(cell, pictures=None):
    """A score with its interval; n is left out where it is that of the block."""
    bounds = cell.more[0] if cell.more else ""
    bounds = bounds.removesuffix(f"n = {pictures}").rstrip()
    return " ".join(part for part in (cell.text + "*" * cell.best, bounds) if part)


def _gain(cell):
    return " ".join(cell.more[1:]) or "-"


def _cross(comparison, found: Mapping[str, BlockStatistics], metric) -> list[str]:
    lines = cross(comparison, dict(found), metric)
    if not lines:
        return []
    heads = [describe(metric).label, "trained on", *(f"on {b.name}" for b in comparison.blocks)]
    return ["", *_columns([heads, *([a, b, *map(_cell, cells)] for a, b, cells in lines)])]


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    """Text in columns; a line with fewer cells than the head runs on."""
    full = [row for row in table if len(row) == len(table[0])]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    widths[0] = max(len(row[0]) for row in table)
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
        for row in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
