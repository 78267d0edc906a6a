"""The findings of a comparison in plain sentences, and their limits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from restore_tf.evaluation.comparison.resampling import FEWEST
from restore_tf.evaluation.comparison.results import Comparison
from restore_tf.evaluation.comparison.statistics import BlockStatistics, Ranking
from restore_tf.evaluation.comparison.table import (
    ELSEWHERE,
    better,
    count_text,
    estimate_text,
    label_of,
    verdict,
)
from restore_tf.evaluation.metric_names import describe, format_number

_MOST = 6  # rows that a sentence names
_MINUTES = re.compile(r"\b(seconds?|minutes?)\b")
_LONGER = re.compile(r"\b(hours?|days?|weeks?)\b")


def sentences(comparison: Comparison, found: Mapping[str, BlockStatistics]) -> list[str]:
    """Returns sentences: the best of each block, ties, and what was not measured.

    Args:
      comparison: see `Comparison`.
      found: of `statistics.analyse`.
    """
    said = []
    for statistics in found.values():
        said += _block(comparison, statistics)
    return [*said, *_budget(comparison), *_absent(comparison)]


def _block(comparison, found):
    head = f"{found.block} ({count_text(found)})"
    shown = _shown(found)
    if found.pictures == 1:
        return [f"{head}: one picture; no interval, and no winner is named."]
    units = found.sequences or found.pictures
    if units < FEWEST:
        what = "sequences" if found.sequences else "pictures"
        return [
            f"{head}: fewer than {FEWEST} {what}; the table gives the spread (smallest .. largest) "
            "in place of an interval, and no winner is named."
        ]
    said = [f"{head}: " + "; ".join(_best(comparison, found, metric) for metric in shown) + "."]
    winners = {found.rankings[metric].winner for metric in shown}
    if len(shown) == 2 and len(winners - {None}) == 2:
        said.append(
            f"{found.block}: {_name(shown[0])} and {_name(shown[1])} name different winners; "
            "look at the pictures."
        )
    said += _against_input(comparison, found, shown)
    if found.links:
        said.append(_chains(comparison, found, shown))
    if found.opposed:
        said.append(_agreement(found))
    return said


def _shown(found):
    """The metrics that sentences speak of: one of distortion and one of perception, if possible."""
    return list(found.opposed or list(found.values)[:1])


def _name(metric):
    return describe(metric).label.partition(" (")[0]


def _value(found, row, metric):
    return format_number(found.means[row][metric].mean, metric)


def _best(comparison, found, metric):
    ranking: Ranking = found.rankings[metric]
    first = label_of(comparison, ranking.rows[0])
    mean = _value(found, ranking.rows[0], metric)
    if ranking.ahead is None:
        return f"only {first} is scored: {_name(metric)} {mean}"
    if ranking.winner is not None:
        lead, bounds = estimate_text(ranking.ahead, metric, signed=True)
        second = label_of(comparison, ranking.rows[1])
        tied = _listed(comparison, ranking.ties)
        but = f" (but not distinguishable from {tied})" if tied else ""
        return (
            f"best by {_name(metric)} is {first} with {mean}, {lead} {bounds} against the second, "
            f"{second}{but}"
        )
    tied = _listed(comparison, ranking.ties)
    return (
        f"by {_name(metric)} {first} has the best mean, {mean}, but is not distinguishable "
        f"from {tied}"
    )


def _against_input(comparison, found, shown):
    said = []
    for metric in shown:
        rows = {"worse": [], "": []}
        for row, gains in found.gains.items():
            if metric in gains:
                rows.setdefault(verdict(gains[metric], metric), []).append(row)
        if rows["worse"]:
            said.append(
                f"{found.block}: worse than the degraded input by {_name(metric)}: "
                f"{_listed(comparison, rows['worse'])}."
            )
        if rows[""]:
            said.append(
                f"{found.block}: not distinguishable from the degraded input by {_name(metric)}: "
                f"{_listed(comparison, rows[''])}."
            )
    return said


def _chains(comparison, found, shown):
    """Names the chains that are better than each of their networks."""
    parts = []
    for metric in shown:
        sure = [
            row
            for row, links in found.links.items()
            if all(better(cells[metric], metric) for cells in links.values())
        ]
        parts.append(f"by {_name(metric)} {_listed(comparison, sure) or 'none'}")
    return (
        f"{found.block}: chains that are better than each of their networks alone (of "
        f"{len(found.links)}): {', '.join(parts)}."
    )


def _agreement(found):
    tau = found.agreement.get(found.opposed)
    first, second = map(_name, found.opposed)
    picked = f"pick different winners on {len(found.disagreements)} of {found.pictures} pictures"
    ranked = "" if tau is None else f"; Kendall's tau of their rankings is {tau:.2f}"
    return f"{found.block}: {first} and {second} {picked}{ranked}."


def _listed(comparison, rows):
    labels = [label_of(comparison, row) for row in rows]
    if len(labels) > _MOST + 1:
        labels = [*labels[:_MOST], f"{len(labels) - _MOST} others"]
    return "; ".join(labels)


def _budget(comparison):
    said = [f"Budget: {comparison.budget.rstrip('.')}."]
    trained = [row for row in comparison.rows if row.training]
    runs = [row for row in trained if not row.training.startswith(ELSEWHERE)]
    if "recipe" in comparison.budget:
        lines = dict.fromkeys(f"{row.label}: {row.training}" for row in runs)
        said.append(
            "Budgets differ: differences are of training as much as of networks. "
            f"{'; '.join(lines)}".rstrip(". ")
            + "."
        )
    brief = dict.fromkeys(
        row.label
        for row in runs
        if _MINUTES.search(row.training) and not _LONGER.search(row.training)
    )
    if brief:
        said.append(
            f"Trained for minutes: {', '.join(brief)}. Their scores say how fast they learn, not "
            "how good they can become."
        )
    elsewhere = dict.fromkeys(
        row.label
        for row in comparison.rows
        if row.kind == "published" or row in trained and row not in runs
    )
    if elsewhere:
        said.append(f"Trained elsewhere, outside the budget: {', '.join(elsewhere)}.")
    return said


def _absent(comparison):
    said = [
        f"{describe(metric).label}: {why.rstrip('.')}." for metric, why in comparison.absent.items()
    ]
    said += [
        f"{label_of(comparison, row.name)} is missing: {row.missing.rstrip('.')}."
        for row in comparison.rows
        if row.missing is not None
    ]
    made = [row for row in comparison.rows if row.missing is None and row.kind != "baseline"]
    costs = {
        "time": lambda cost: cost.seconds_per_megapixel,
        "memory": lambda cost: cost.peak_bytes,
        "GMACs": lambda cost: cost.gmacs_per_megapixel,
    }
    lacking: dict[str, list[str]] = {}
    for what, of in costs.items():
        rows = [row.name for row in made if not of(row.cost)]
        if rows:
            who = "any network" if len(rows) == len(made) else _listed(comparison, rows)
            lacking.setdefault(who, []).append(what)
    said += [f"Not measured: {', '.join(what)} of {who}." for who, what in lacking.items()]
    if made and not comparison.curves:
        said.append("Not measured: curves (samplers at several steps, blends of two pictures).")
    return said
