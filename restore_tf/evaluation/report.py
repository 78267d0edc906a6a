"""The results of an evaluation: a table for the terminal, CSV, JSON and one HTML page.

    evaluation = Evaluation("SRN on GoPro", provenance, ("psnr", "ssim_matlab"), rows)
    print(format_table(evaluation))
    write_csv("metrics.csv", evaluation)       one line per image per method
    write_json("metrics.json", evaluation)     everything, strict JSON
    write_html("report.html", evaluation)      one file, opens from disk, no network

Every table has three methods: the `restored` picture and two baselines, `unsharp` masking of the
input and the `degraded` input itself.

Infinite scores (the PSNR of identical pictures) count: the mean is then infinite too, and a note
gives the mean of the finite ones.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, NamedTuple, TextIO

from restore_tf.errors import UserError
from restore_tf.evaluation.metric_names import describe, format_number
from restore_tf.evaluation.metrics import bootstrap_interval
from restore_tf.system.files import atomic_path

CONFIDENCE = 0.95

# In the order of every table.
METHODS = {"restored": "restored", "unsharp": "unsharp masking", "degraded": "degraded input"}

# Shown with every table.
_TERMINAL_PROVENANCE = ("dataset", "config", "split", "protocol", "weights")


class Summary(NamedTuple):
    """One cell of the summary: the mean over `n` images and its bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class ImageResult:
    """One evaluated image.

    Attributes:
      name: unique within the evaluation, e.g. "GOPR0396_11_00/000001".
      size: (height, width) in pixels.
      scores: {method: {metric: value}}; methods as in METHODS, a missing value is absent.
      pictures: {"degraded" | "restored" | "sharp": path relative to the HTML page, with `/`}; may
        be empty.
      notes: {method: note on its scores}, e.g. {"restored": "not aligned"}.
    """

    name: str
    size: tuple[int, int]
    scores: Mapping[str, Mapping[str, float]]
    pictures: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All results of one evaluation.

    Attributes:
      title: the page's head, e.g. "SRN on GoPro".
      provenance: origin of the numbers: run, weights, dataset, config, split, protocol, versions,
        hardware, command. Values are strings or mappings of strings.
      metrics: names of the metrics, in the order of the columns; without PSNR the first ranks the
        images. Unknown names are printed unchanged, and higher counts as better.
      rows: one ImageResult per image.
      missing: {metric: why} of the metrics that could not be measured; they keep their column.
    """

    title: str
    provenance: Mapping[str, Any]
    metrics: Sequence[str]
    rows: Sequence[ImageResult]
    missing: Mapping[str, str] = field(default_factory=dict)


def summarise(evaluation: Evaluation) -> dict[str, dict[str, Summary]]:
    """Returns {method: {metric: (mean, low, high, n)}} over all images that have the score.

    `low` and `high` bound the 95 % bootstrap interval of the mean. Methods and metrics without
    any score are absent.

    Args:
      evaluation: see `Evaluation`.

    Raises:
      UserError: no images or no metrics.
    """
    if not evaluation.rows or not evaluation.metrics:
        what = "metrics" if evaluation.rows else "images"
        raise UserError(f"{evaluation.title}: no {what} to report; evaluate at least one.")
    summary: dict[str, dict[str, Summary]] = {}
    for method in METHODS:
        for metric in evaluation.metrics:
            values = _values(evaluation, method, metric)
            if values:
                low, high = bootstrap_interval(values, CONFIDENCE)
                cell = Summary(sum(values) / len(values), low, high, len(values))
                summary.setdefault(method, {})[metric] = cell
    return summary


def write_csv(path: str | os.PathLike, evaluation: Evaluation) -> None:
    """Writes one line per image per method: name, height, width, method, metrics…, note.

    Values keep full precision; infinity is `inf`, a missing value an empty field.

    Args:
      path: the file, replaced where it exists.
      evaluation: see `Evaluation`.
    """
    with atomic_path(path) as temporary, open_text(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "height", "width", "method", *evaluation.metrics, "note"])
        for row in evaluation.rows:
            for method in (method for method in METHODS if method in row.scores):
                scores = [row.scores[method].get(metric) for metric in evaluation.metrics]
                cells = ["" if score is None else repr(float(score)) for score in scores]
                writer.writerow([row.name, *row.size, method, *cells, row.notes.get(method, "")])


def write_json(path: str | os.PathLike, evaluation: Evaluation) -> None:
    """Writes title, provenance, summary and every image's scores.

    The file is strict JSON, which knows no infinity: such numbers are the strings "inf", "-inf"
    and "nan", which Python's float() reads back.

    Args:
      path: the file, replaced where it exists.
      evaluation: see `Evaluation`.

    Raises:
      UserError: no images or no metrics.
    """
    summary = {
        method: {metric: cell._asdict() for metric, cell in cells.items()}
        for method, cells in summarise(evaluation).items()
    }
    content = {
        "title": evaluation.title,
        "provenance": evaluation.provenance,
        "metrics": list(evaluation.metrics),
        "missing": evaluation.missing,
        "confidence": CONFIDENCE,
        "summary": summary,
        "images": [
            {
                "name": row.name,
                "height": row.size[0],
                "width": row.size[1],
                "scores": row.scores,
                "pictures": row.pictures,
                "notes": row.notes,
            }
            for row in evaluation.rows
        ],
    }
    with atomic_path(path) as temporary, open_text(temporary) as file:
        json.dump(strict_json(content), file, indent=1, allow_nan=False)
        file.write("\n")


def format_table(evaluation: Evaluation) -> str:
    """Returns the summary as text: methods down, metrics across, each with its interval.

    Args:
      evaluation: see `Evaluation`.

    Raises:
      UserError: no images or no metrics.
    """
    summary = summarise(evaluation)
    table = [["", "n", *(describe(name).label for name in evaluation.metrics)]]
    for method, cells in summary.items():
        count = max(cell.n for cell in cells.values())
        texts = [
            _cell(cells.get(name), name, count, absent(evaluation, name))
            for name in evaluation.metrics
        ]
        table.append([METHODS[method], str(count), *texts])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    known = [key for key in _TERMINAL_PROVENANCE if key in evaluation.provenance]
    source = [f"{key}: {one_line(evaluation.provenance[key])}" for key in known]
    return "\n".join([evaluation.title, *source, "", *lines, "", *footnotes(evaluation)])


def footnotes(evaluation: Evaluation) -> list[str]:
    """Returns the sentences that belong below the summary table, one per line.

    Args:
      evaluation: see `Evaluation`.
    """
    lines = [
        f"[low, high]: {CONFIDENCE:.0%} bootstrap interval of the mean over the images "
        "(not over training runs)."
    ]
    lines += [f"{describe(metric).label}: {why}." for metric, why in evaluation.missing.items()]
    for method, label in METHODS.items():
        for metric in evaluation.metrics:
            values = _values(evaluation, method, metric)
            finite = [value for value in values if math.isfinite(value)]
            if len(finite) < len(values):
                mean = format_number(sum(finite) / len(finite), metric) if finite else "none"
                lines.append(
                    f"{label}, {describe(metric).label}: {len(values) - len(finite)} of "
                    f"{len(values)} values not finite; mean of the others {mean}."
                )
    notes = Counter((method, row.notes[method]) for row in evaluation.rows for method in row.notes)
    for (method, note), count in sorted(notes.items()):
        lines.append(f"{METHODS.get(method, method)}: {count} of {len(evaluation.rows)} {note}.")
    return lines


def worst_first(evaluation: Evaluation) -> list[ImageResult]:
    """Returns the images by restored PSNR (else by the first metric), the worst one first.

    NaN comes before everything, a missing score after everything.

    Args:
      evaluation: see `Evaluation`.
    """
    metric = ranking_metric(evaluation)
    sign = 1 if describe(metric).higher_is_better else -1

    def rank(row):
        score = row.scores.get("restored", {}).get(metric)
        if score is None:
            return 2, 0.0, row.name
        return (0, 0.0, row.name) if math.isnan(score) else (1, sign * score, row.name)

    return sorted(evaluation.rows, key=rank)


def ranking_metric(evaluation: Evaluation) -> str:
    """Returns the name of the metric that decides which image is worst.

    Args:
      evaluation: see `Evaluation`; has at least one metric.
    """
    return "psnr" if "psnr" in evaluation.metrics else evaluation.metrics[0]


def _values(evaluation, method, metric):
    """All scores of one method in one metric, in the order of the images."""
    scores = (row.scores.get(method, {}).get(metric) for row in evaluation.rows)
    return [float(score) for score in scores if score is not None]


def format_interval(cell: Summary, metric: str) -> str:
    """Returns `[low, high]`; an empty string for a single image, whose interval says nothing.

    Args:
      cell: of `summarise`.
      metric: its name, for the number of decimals.
    """
    if cell.n < 2:
        return ""
    return f"[{format_number(cell.low, metric)}, {format_number(cell.high, metric)}]"


def absent(evaluation: Evaluation, metric: str) -> str:
    """Returns the text in place of a metric's scores: "not installed", or "-".

    Args:
      evaluation: see `Evaluation`.
      metric: its name.
    """
    return evaluation.missing.get(metric, "-").partition(" (")[0]


def _cell(cell, metric, count, otherwise):
    if cell is None:
        return otherwise
    fewer = f"(n = {cell.n})" if cell.n != count else ""
    parts = (format_number(cell.mean, metric), format_interval(cell, metric), fewer)
    return " ".join(part for part in parts if part)


def one_line(value: Any) -> str:
    """Returns a value of the provenance on one line.

    Args:
      value: a string, or a mapping or list of such.
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one_line(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(one_line, value))
    return str(value)


def strict_json(value: Any) -> Any:
    """Returns a value in plain JSON types: non-finite numbers and unknown objects become text.

    Args:
      value: of any type; mappings and lists are converted in depth.
    """
    if isinstance(value, Mapping):
        return {str(key): strict_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(entry) for entry in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):  # NumPy's integers are no ints
        return int(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else str(number)


def open_text(path: str | os.PathLike) -> TextIO:
    """Opens a file for writing UTF-8 text.

    Args:
      path: the file, replaced where it exists.
    """
    # File names need not be valid UTF-8; such bytes are shown as escapes instead of failing.
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")
