"""Writes a comparison as one page that needs no network, and the page of the blind vote."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from restore_tf.evaluation.comparison import gallery
from restore_tf.evaluation.comparison.encodings import LOOKING, Encoded
from restore_tf.evaluation.comparison.grid import Choice
from restore_tf.evaluation.comparison.results import Comparison
from restore_tf.evaluation.comparison.scatter import scatter
from restore_tf.evaluation.comparison.sentences import sentences
from restore_tf.evaluation.comparison.statistics import BlockStatistics
from restore_tf.evaluation.comparison.table import Cell, count_text, cross, label_of, table
from restore_tf.evaluation.comparison.votes import Tally
from restore_tf.evaluation.metric_names import describe
from restore_tf.evaluation.page.environment import SHARED, environment, unescaped
from restore_tf.evaluation.report import CONFIDENCE, one_line

_TEMPLATES = Path(__file__).with_name("templates")
_FIRST = {True: "descending", False: "ascending", None: "ascending"}


def render(
    comparison: Comparison,
    found: Mapping[str, BlockStatistics],
    chosen: Sequence[Choice],
    grid: tuple[int, int, int] | None = None,
    tally: Tally | None = None,
) -> str:
    """Returns the page.

    Args:
      comparison: see `Comparison`.
      found: of `statistics.analyse`.
      chosen: the grid's pictures; without any there is no gallery.
      grid: (height, width, pictures) of grid.png beside the page; None without one.
      tally: votes to show.
    """
    entries, left_out = gallery.entries(comparison, found, chosen)
    return _template("comparison.html").render(
        style=_style("comparison.css"),
        script=_script("comparison.js"),
        title=comparison.title,
        budget=comparison.budget,
        sentences=sentences(comparison, found),
        confidence=f"{CONFIDENCE:.0%}",
        blocks=[_block(comparison, found[block.name]) for block in comparison.blocks],
        crosses=_crosses(comparison, found),
        agreement=_agreement(comparison, found),
        gallery=[_entry(entry) for entry in entries],
        left_out=left_out,
        limit=f"{gallery.LIMIT / 1e6:.0f} MB",
        quality=LOOKING,
        grid=grid,
        chosen=len(chosen),
        published=_published(comparison),
        votes=_votes(comparison, tally),
        provenance=[(key, one_line(value)) for key, value in comparison.provenance.items()],
    )


def render_blind(
    title: str,
    identity: str,
    questions: Sequence[Sequence[tuple[str, Encoded, tuple[int, int]]]],
    how: str,
) -> str:
    """Returns the page to vote on.

    Args:
      title: of the comparison.
      identity: stored with the votes, so that they are counted with the right key.
      questions: for each, (letter, file, its (height, width)) in the order of the columns.
      how: the files' encoding in words.
    """
    return _template("blind.html").render(
        style=_style("comparison.css"),
        script=_script("blind.js"),
        title=title,
        identity=Markup(json.dumps(identity)),
        questions=[
            [(letter, file.address, width, height) for letter, file, (height, width) in columns]
            for columns in questions
        ],
        how=how,
    )


@functools.cache
def _template(name):
    return environment(_TEMPLATES).get_template(name)


def _style(name):
    return unescaped(SHARED / "style.css", _TEMPLATES / name)


def _script(name):
    return unescaped(SHARED / "sorting.js", SHARED / "slider.js", _TEMPLATES / name)


def _block(comparison, found):
    heads, lines = table(comparison, found)
    of = next(block for block in comparison.blocks if block.name == found.block)
    return {
        "name": found.block,
        "count": count_text(found),
        "source": f"{of.dataset}, {of.config}, {of.split}",
        "heads": [
            {
                "label": head.label,
                "first": _FIRST[head.higher_is_better],
                "up": head.higher_is_better,
            }
            for head in heads
        ],
        "lines": [
            {
                "label": line.label,
                "name": line.row.name,
                "kind": line.row.kind if line.row.missing is None else "gone",
                "notes": line.notes,
                "cells": [_cell(cell) for cell in line.cells],
            }
            for line in lines
        ],
        "scatter": scatter(comparison, found),
        "axes": [describe(metric).label for metric in found.opposed or ()],
    }


def _cell(cell: Cell):
    return {
        "text": cell.text,
        "value": "" if cell.value is None else repr(float(cell.value)),
        "more": cell.more,
        "best": cell.best,
        "verdict": cell.verdict,
    }


def _crosses(comparison, found):
    """The tables of trained on by tested on, one for each metric of the scatter."""
    some = next(iter(found.values()))
    tables = []
    for metric in some.opposed or list(some.values)[:1]:
        lines = cross(comparison, dict(found), metric)
        if lines:
            tables.append(
                {
                    "metric": describe(metric).label,
                    "heads": [block.name for block in comparison.blocks],
                    "lines": [
                        (label, where, [_cell(cell) for cell in cells])
                        for label, where, cells in lines
                    ],
                }
            )
    return tables


def _agreement(comparison, found):
    """Lines of Kendall's tau: (two metrics, a text per block)."""
    pairs = dict.fromkeys(pair for block in found.values() for pair in block.agreement)
    return [
        (
            " and ".join(describe(metric).label for metric in pair),
            [
                f"{block.agreement[pair]:.2f}" if pair in block.agreement else "–"
                for block in found.values()
            ],
        )
        for pair in pairs
    ]


def _entry(entry):
    choice = entry.choice
    return {
        "head": f"{choice.block}, {choice.picture}",
        "caption": entry.caption,
        "reasons": "; ".join(choice.reasons),
        "corner": choice.corner,
        "left": entry.left,
        "right": entry.right,
        "columns": [
            {
                "row": column.row,
                "label": column.label,
                "source": column.crop.address,
                "scores": column.values,
                "address": column.address,
            }
            for column in entry.columns
        ],
        "height": next(iter(choice.crops.values())).shape[0],
        "width": next(iter(choice.crops.values())).shape[1],
    }


def _published(comparison):
    heads = list(dict.fromkeys(key for line in comparison.published for key in line))
    lines = [[line.get(head, "–") for head in heads] for line in comparison.published]
    return {"heads": heads, "lines": lines}


def _votes(comparison, tally):
    if tally is None:
        return None
    return {
        "answered": tally.answered,
        "questions": tally.questions,
        "chance": f"{tally.chance:.0%}",
        "lines": [
            (
                label_of(comparison, wins.row),
                f"{wins.votes} of {wins.shown}",
                f"{wins.share:.0%} [{wins.low:.0%}, {wins.high:.0%}]",
            )
            for wins in tally.wins
        ],
    }
