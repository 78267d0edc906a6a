"""Statistics of a comparison's scores: means, differences, winners and ties.

All rows of a block are scored on the same pictures and resampled alike, so differences are paired.
A value is called the best of its column only where its paired interval against the second leaves
zero out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from restore_tf.errors import UserError
from restore_tf.evaluation.comparison.resampling import RESAMPLES, SEED, Estimate, Resampling
from restore_tf.evaluation.comparison.results import INPUT, Block, Comparison
from restore_tf.evaluation.metric_names import describe

_DISTORTION = ("psnr", "psnr_y", "psnr_shaved", "realblur_psnr", "mse")
_PERCEPTION = ("lpips", "lpips_vgg", "gmsd")


class Gain(NamedTuple):
    """A row against the degraded input.

    Attributes:
      difference: row minus input, with its own paired interval; in the metric's unit and direction.
      better: share of the pictures that it made better, 0 to 1.
    """

    difference: Estimate
    better: float


class Ranking(NamedTuple):
    """The rows of a block by one metric.

    Attributes:
      rows: names, the best mean first.
      ahead: the first minus the second, paired; None where there is no second.
      winner: the first, where `ahead` leaves zero out; else None.
      ties: the others whose paired interval against the first holds zero, or that have none.
    """

    rows: Sequence[str]
    ahead: Estimate | None
    winner: str | None
    ties: Sequence[str]


class Disagreement(NamedTuple):
    """A picture on which two metrics pick different winners.

    Attributes:
      picture: its name.
      winners: rows that the first and the second metric pick.
      size: how clearly: the smaller of the two leads, in standard deviations of its metric.
    """

    picture: str
    winners: tuple[str, str]
    size: float


@dataclass(frozen=True)
class BlockStatistics:
    """Statistics of the scores of one block.

    Attributes:
      block: its name.
      rows: names of those that are scored, in the table's order.
      pictures: number of pictures.
      sequences: number of videos they come from; 0 where none is known.
      values: {metric: (rows, pictures)}, NaN where a picture is too small for the metric.
      means: {row: {metric: estimate}}.
      gains: {row: {metric: gain}} of all rows but the input; empty without an input.
      links: {chain: {link: {metric: chain minus the link alone, paired}}} of links that are rows.
      rankings: {metric: ranking}.
      agreement: {(metric, metric): Kendall's tau of their rankings of the rows' means}.
      opposed: (distortion, perception): the metrics whose winners are compared; None without both.
      disagreements: the clearest first.
    """

    block: str
    rows: Sequence[str]
    pictures: int
    sequences: int
    values: Mapping[str, np.ndarray]
    means: Mapping[str, Mapping[str, Estimate]]
    gains: Mapping[str, Mapping[str, Gain]]
    links: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    rankings: Mapping[str, Ranking]
    agreement: Mapping[tuple[str, str], float]
    opposed: tuple[str, str] | None
    disagreements: Sequence[Disagreement]


def analyse(
    comparison: Comparison, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, BlockStatistics]:
    """Returns {block: statistics of its scores}.

    Args:
      comparison: see `Comparison`.
      resamples: number of the bootstrap's resamples.
      seed: of the bootstrap.

    Raises:
      UserError: nothing to compare, or a score is missing or is NaN; names row and picture.
    """
    check(comparison)
    return {block.name: _block(comparison, block, resamples, seed) for block in comparison.blocks}


def check(comparison: Comparison) -> None:
    """Checks that all rows are scored on the same test pictures.

    Args:
      comparison: see `Comparison`.

    Raises:
      UserError: nothing to compare, training pictures, or a missing or NaN score (named).
    """
    if not comparison.blocks or not scored_rows(comparison) or not comparison.metrics:
        raise UserError(f"{comparison.title}: nothing to compare; no rows, pictures or metrics.")
    for block in comparison.blocks:
        if not block.pictures:
            raise UserError(f"{block.name}: has no pictures; choose another split.")
        if block.split.partition("[")[0] == "train":
            raise UserError(
                f"{block.name}: its pictures are for training; scores of those are not shown. "
                "Choose another split."
            )
        _values(comparison, block)


def scored_rows(comparison: Comparison) -> list[str]:
    """Returns the names of the rows that are not missing.

    Args:
      comparison: see `Comparison`.
    """
    return [row.name for row in comparison.rows if row.missing is None]


def units_of(block: Block) -> list[tuple[str, str]]:
    """Returns the unit that each picture is resampled with: its sequence, or itself.

    Args:
      block: of the comparison.
    """
    return [
        ("picture", picture.name) if picture.sequence is None else ("sequence", picture.sequence)
        for picture in block.pictures
    ]


def sign(metric: str) -> int:
    """Returns 1 where higher is better, else -1.

    Args:
      metric: its name.
    """
    return 1 if describe(metric).higher_is_better else -1


def opposed(metrics: Sequence[str]) -> tuple[str, str] | None:
    """Returns the first metric of distortion and the first of perception; None without both.

    Args:
      metrics: names of those that are measured.
    """
    distortion, perception = (
        next((name for name in names if name in metrics), None)
        for names in (_DISTORTION, _PERCEPTION)
    )
    return None if distortion is None or perception is None else (distortion, perception)


def _values(comparison, block):
    """{metric: (rows, pictures)} of a block, checked."""
    rows, names = scored_rows(comparison), [picture.name for picture in block.pictures]
    for row in rows:
        known = comparison.scores.get(row, {}).get(block.name, {})
        for name in names:
            if name not in known:
                raise UserError(f"{row}: {block.name}/{name} is not scored; score it or drop it.")
    found = {}
    for metric in comparison.metrics:
        values = np.full((len(rows), len(names)), np.nan)
        for (i, row), (j, name) in itertools.product(enumerate(rows), enumerate(names)):
            score = comparison.scores[row][block.name][name].get(metric)
            if score is not None and np.isnan(score):
                raise UserError(f"{row}: {metric} of {block.name}/{name} is NaN; score it again.")
            values[i, j] = np.nan if score is None else score
        absent = np.isnan(values)
        uneven = absent.any(axis=0) & ~absent.all(axis=0)
        if uneven.any():
            j = int(np.argmax(uneven))
            row = rows[int(np.argmax(absent[:, j]))]
            raise UserError(
                f"{row}: {block.name}/{names[j]} has no {metric}, which other rows have; "
                "score it again."
            )
        if not absent.all():
            found[metric] = values
    return found


def _block(comparison, block, resamples, seed):
    rows, values = scored_rows(comparison), _values(comparison, block)
    draws = Resampling(units_of(block), resamples, seed)
    means: dict[str, dict[str, Estimate]] = {row: {} for row in rows}
    for metric, table in values.items():
        for row, estimate in zip(rows, draws.estimates(table), strict=True):
            means[row][metric] = estimate
    pair = opposed(tuple(values))
    return BlockStatistics(
        block=block.name,
        rows=rows,
        pictures=len(block.pictures),
        sequences=len({p.sequence for p in block.pictures if p.sequence is not None}),
        values=values,
        means=means,
        gains=_gains(rows, values, draws),
        links=_links(comparison, rows, values, draws),
        rankings={metric: _ranking(rows, metric, values[metric], draws) for metric in values},
        agreement=_agreement(rows, means, tuple(values)),
        opposed=pair,
        disagreements=_disagreements(rows, block, values, pair) if pair else [],
    )


def _difference(first, second):
    """first - second; equal infinities, as of two pictures without any error, differ by 0."""
    with np.errstate(invalid="ignore"):
        return np.where(first == second, 0.0, first - second)


def _gains(rows, values, draws):
    if INPUT not in rows:
        return {}
    base = rows.index(INPUT)
    gains: dict[str, dict[str, Gain]] = {row: {} for row in rows if row != INPUT}
    for metric, table in values.items():
        differences = _difference(table, table[base])
        for row, line, estimate in zip(
            rows, differences, draws.estimates(differences), strict=True
        ):
            if row != INPUT:
                measured = line[~np.isnan(line)]
                gains[row][metric] = Gain(estimate, float((sign(metric) * measured > 0).mean()))
    return gains


def _links(comparison, rows, values, draws):
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for row in (row for row in comparison.rows if row.kind == "chain" and row.name in rows):
        for link in (link for link in dict.fromkeys(row.links) if link in rows):
            found.setdefault(row.name, {})[link] = {
                metric: draws.estimates(
                    _difference(table[rows.index(row.name)], table[rows.index(link)])
                )[0]
                for metric, table in values.items()
            }
    return found


def _ranking(rows, metric, table, draws):
    means = sign(metric) * np.nanmean(table, axis=1)
    order = np.argsort(-means, kind="stable")
    names = [rows[index] for index in order]
    if len(names) == 1:
        return Ranking(names, None, None, [])
    leads = draws.estimates(_difference(table[order[0]], table[order[1:]]))
    winner = names[0] if leads[0].apart else None
    ties = [name for name, lead in zip(names[1:], leads, strict=True) if not lead.apart]
    return Ranking(names, leads[0], winner, ties)


def _agreement(rows, means, metrics):
    if len(rows) < 2:
        return {}
    found = {}
    for one, other in itertools.combinations(metrics, 2):
        first, second = (
            [sign(metric) * means[row][metric].mean for row in rows] for metric in (one, other)
        )
        found[one, other] = float(stats.kendalltau(first, second).statistic)
    return found


def _disagreements(rows, block, values, pair):
    """Pictures where the two metrics' winners differ."""
    tables = [sign(metric) * values[metric] for metric in pair]
    scales = [np.std(table[np.isfinite(table)]) or 1.0 for table in tables]
    found = []
    for column, picture in enumerate(block.pictures):
        lines = [table[:, column] for table in tables]
        if np.isnan(lines).any():
            continue
        first, second = (int(np.argmax(line)) for line in lines)
        if first == second:
            continue
        leads = [
            (line[winner] - line[other]) / scale
            for line, scale, (winner, other) in zip(
                lines, scales, [(first, second), (second, first)], strict=True
            )
        ]
        if min(leads) > 0:
            found.append(Disagreement(picture.name, (rows[first], rows[second]), min(leads)))
    return sorted(found, key=lambda each: (-each.size, each.picture))
