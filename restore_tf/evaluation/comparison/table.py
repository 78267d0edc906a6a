"""The cells of a comparison's tables, for the terminal and the page alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from restore_tf.evaluation.comparison.resampling import Estimate
from restore_tf.evaluation.comparison.results import BICUBIC, INPUT, UNSHARP, Comparison, Row
from restore_tf.evaluation.comparison.statistics import BlockStatistics, Gain
from restore_tf.evaluation.metric_names import describe, format_number

NONE = "–"
ALL = "all"
ELSEWHERE = "elsewhere"  # first word of a run's `training` that no comparison trained
_BASELINES = {INPUT: "degraded input", UNSHARP: "unsharp masking", BICUBIC: "bicubic"}


class Head(NamedTuple):
    """A column: its text, and whether its best values are its highest.

    Attributes:
      label: as printed.
      higher_is_better: None where neither end is good.
    """

    label: str
    higher_is_better: bool | None


class Cell(NamedTuple):
    """A cell.

    Attributes:
      text: its main line.
      value: what it is sorted by; None for nothing.
      more: further lines: of a score its interval and n, its difference to the input, and the
        share of pictures that are better than there.
      best: whether it is the best of its column.
      verdict: "better" or "worse" than the input where the interval leaves zero out, else "".
    """

    text: str
    value: float | None = None
    more: Sequence[str] = ()
    best: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
      row: see `Row`.
      label: as printed.
      notes: lines below its label, such as its training.
      cells: one per head but the first.
    """

    row: Row
    label: str
    notes: Sequence[str]
    cells: Sequence[Cell]


def table(comparison: Comparison, found: BlockStatistics) -> tuple[list[Head], list[Line]]:
    """Returns heads and lines of one block's table; rows without scores give the reason.

    Args:
      comparison: see `Comparison`.
      found: statistics of the block.
    """
    metrics = [*comparison.metrics, *(m for m in comparison.absent if m not in comparison.metrics)]
    sizes = _sizes(comparison)
    heads = [
        Head("model", None),
        *(Head(describe(name).label, describe(name).higher_is_better) for name in metrics),
        Head("parameters (trained)", False),
        Head("GMACs/MP", False),
        Head("passes", False),
        *(Head(f"s/MP, {size}", False) for size in sizes),
        *(Head(f"memory, {size}", False) for size in sizes),
    ]
    lines = [
        Line(
            row,
            plain_label(row),
            row_notes(comparison, row),
            [*(_score(comparison, found, row, name) for name in metrics), *_costs(row, sizes)],
        )
        for row in comparison.rows
    ]
    return heads, lines


def row_notes(comparison: Comparison, row: Row) -> list[str]:
    """Returns notes on a row for a reader: what it was trained on, and for how long.

    Args:
      comparison: see `Comparison`.
      row: of the comparison.
    """
    notes = []
    if row.kind == "chain":
        notes.append("a chain of " + ", then ".join(_label(comparison, name) for name in row.links))
    if row.kind == "published":
        notes.append("published weights, trained elsewhere")
    if row.trained_on:
        where = "all kinds" if row.trained_on == ALL else row.trained_on
        notes.append(f"trained on {where}")
    if row.training:
        elsewhere = row.training.startswith(ELSEWHERE)
        notes.append(f"{'trained' if elsewhere else 'for'} {row.training}")
    if row.missing is not None:
        notes.append(f"missing: {row.missing}")
    return notes


def label_of(comparison: Comparison, name: str) -> str:
    """Returns a row's label, with its training data where labels alone are not unique.

    Args:
      comparison: see `Comparison`.
      name: of the row.
    """
    row = comparison.row(name)
    alike = [other for other in comparison.rows if other.label == row.label]
    label = plain_label(row)
    return f"{label} ({row.trained_on or row.name})" if len(alike) > 1 else label


def plain_label(row: Row) -> str:
    """Returns a row's label; baselines have fixed ones.

    Args:
      row: of the comparison.
    """
    return _BASELINES.get(row.name, row.label) if row.label == row.name else row.label


def estimate_text(estimate: Estimate, metric: str, signed: bool = False) -> tuple[str, str]:
    """Returns a mean and its interval as printed: [low, high], or (low .. high) for a spread.

    Args:
      estimate: of the metric.
      metric: its name.
      signed: whether positive numbers get a plus.

    Returns:
      The mean and the interval; "" in its place for a single unit.
    """
    plus = "+" if signed else ""
    decimals = describe(metric).decimals

    def text(value):
        return f"{value + 0.0:{plus}.{decimals}f}"

    if estimate.kind == "single":
        return text(estimate.mean), ""
    low, high = text(estimate.low), text(estimate.high)
    bounds = f"[{low}, {high}]" if estimate.kind == "interval" else f"({low} .. {high})"
    return text(estimate.mean), bounds


def gain_text(gain: Gain, metric: str) -> str:
    """Returns a difference to the input with its interval, as printed.

    Args:
      gain: of a row.
      metric: its name.
    """
    mean, bounds = estimate_text(gain.difference, metric, signed=True)
    return " ".join(part for part in (mean, bounds) if part)


def better(difference: Estimate, metric: str) -> bool:
    """Returns whether a difference is an improvement and its interval leaves zero out.

    Args:
      difference: first minus second, paired.
      metric: its name.
    """
    return difference.apart and (difference.mean > 0) == describe(metric).higher_is_better


def verdict(gain: Gain, metric: str) -> str:
    """Returns "better" or "worse" where a difference to the input leaves zero out, else "".

    Args:
      gain: of a row.
      metric: its name.
    """
    if not gain.difference.apart:
        return ""
    return "better" if better(gain.difference, metric) else "worse"


def count_text(found: BlockStatistics) -> str:
    """Returns the number of pictures and sequences of a block, as printed.

    Args:
      found: statistics of the block.
    """
    pictures = f"{found.pictures} picture{'s' * (found.pictures != 1)}"
    if not found.sequences:
        return pictures
    return f"{pictures} of {found.sequences} sequence{'s' * (found.sequences != 1)}"


def short_count(value: float) -> str:
    """Returns a number in three digits and a letter: "3.86 M".

    Args:
      value: parameters or bytes.
    """
    for letter, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= unit:
            return f"{value / unit:.3g} {letter}"
    return f"{value:.3g}"


def cross(
    comparison: Comparison, found: dict[str, BlockStatistics], metric: str
) -> list[tuple[str, str, list[Cell]]]:
    """Returns the scores on every block of the networks that were trained on blocks.

    Empty where all of them were trained on the same one.

    Args:
      comparison: see `Comparison`.
      found: {block: statistics}.
      metric: its name.

    Returns:
      (label, trained on, a cell per block) of each network.
    """
    rows = [row for row in comparison.rows if row.kind == "run" and row.trained_on]
    if len({row.trained_on for row in rows}) < 2:
        return []
    order = {row.label: index for index, row in reversed(list(enumerate(rows)))}
    lines = []
    for row in sorted(rows, key=lambda row: order[row.label]):
        cells = [_score(comparison, found[block.name], row, metric) for block in comparison.blocks]
        trained_on = "all kinds" if row.trained_on == ALL else str(row.trained_on)
        lines.append((row.label, trained_on, cells))
    return lines


def _label(comparison, name):
    return next((row.label for row in comparison.rows if row.name == name), name)


def _score(comparison, found, row, metric):
    if metric in comparison.absent:
        return Cell(comparison.absent[metric].partition(" (")[0])
    estimate = found.means.get(row.name, {}).get(metric)
    if estimate is None:
        return Cell(NONE)
    mean, bounds = estimate_text(estimate, metric)
    n = f"n = {estimate.n}"
    more = [f"{bounds} {n}" if bounds else n]
    gain = found.gains.get(row.name, {}).get(metric)
    sure = ""
    if gain is not None:
        more += [gain_text(gain, metric), f"better in {gain.better:.0%}"]
        sure = verdict(gain, metric)
    best = found.rankings[metric].winner == row.name
    return Cell(mean, estimate.mean, more, best, sure)


def _costs(row, sizes):
    cost = row.cost
    return [
        _parameters(cost),
        _number(cost.gmacs_per_megapixel, "{:,.1f}"),
        _number(cost.evaluations, "{:,}"),
        *(_number(cost.seconds_per_megapixel.get(size), "{:.3g}") for size in sizes),
        *(_bytes(cost.peak_bytes.get(size)) for size in sizes),
    ]


def _parameters(cost):
    if cost.parameters is None:
        return Cell(NONE)
    trained = cost.training_parameters
    more = f" ({short_count(trained)})" if trained else ""
    return Cell(short_count(cost.parameters) + more, cost.parameters)


def _number(value, form):
    return Cell(NONE) if value is None or math.isnan(value) else Cell(form.format(value), value)


def _bytes(value):
    return Cell(NONE) if value is None else Cell(f"{short_count(value)}B", value)


def _sizes(comparison):
    """The sizes of pictures that times or memory were measured at."""
    costs = [row.cost for row in comparison.rows]
    measured = [size for c in costs for size in (*c.seconds_per_megapixel, *c.peak_bytes)]
    return list(dict.fromkeys(measured))


def score_text(value: float, metric: str) -> str:
    """Returns one picture's score with the metric's short name, as in captions.

    Args:
      value: the score.
      metric: its name.
    """
    return f"{describe(metric).label.partition(' (')[0]} {format_number(value, metric)}"
