"""Writes an evaluation's report as an HTML page.

The markup is `templates/report.html`, which Jinja2 fills and escapes; this module formats the
numbers.
"""

from __future__ import annotations

import functools
import math
import os
from typing import Any
from urllib.parse import quote

from restore_tf.errors import UserError
from restore_tf.evaluation.metric_names import describe, format_number
from restore_tf.evaluation.page.environment import SHARED, environment, unescaped
from restore_tf.evaluation.report import (
    METHODS,
    Evaluation,
    absent,
    footnotes,
    format_interval,
    one_line,
    ranking_metric,
    summarise,
    worst_first,
)
from restore_tf.system.files import atomic_path

_NONE = "–"


def write_html(path: str | os.PathLike, evaluation: Evaluation) -> None:
    """Writes one self-contained page: summary, provenance, sortable images with sliders.

    Pictures are referenced relative to the page, never embedded. The worst image comes first:
    the one with the lowest restored PSNR, or the worst first metric if PSNR is not among them.

    Args:
      path: the file, replaced where it exists.
      evaluation: see `Evaluation`.

    Raises:
      UserError: no images, no metrics, or a picture path that is not relative.
    """
    page = render(evaluation)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="")


def render(evaluation: Evaluation) -> str:
    """Returns the page as HTML; see `write_html`.

    Args:
      evaluation: see `Evaluation`.

    Raises:
      UserError: as `write_html`.
    """
    return _template().render(
        style=unescaped(SHARED / "style.css"),
        script=unescaped(*(SHARED / f"{name}.js" for name in ("sorting", "slider", "script"))),
        title=evaluation.title,
        metrics=[describe(name) for name in evaluation.metrics],
        summary=_summary(evaluation),
        footnotes=footnotes(evaluation),
        provenance=[(key, one_line(value)) for key, value in evaluation.provenance.items()],
        ranking=describe(ranking_metric(evaluation)).label,
        heads=_heads(evaluation),
        images=[_image(evaluation, row) for row in worst_first(evaluation)],
    )


@functools.cache
def _template():
    return environment().get_template("report.html")


def _summary(evaluation):
    """The lines of the summary table, one for each method."""
    lines = []
    for method, cells in summarise(evaluation).items():
        count = max(cell.n for cell in cells.values())
        columns = []
        for name in evaluation.metrics:
            cell = cells.get(name)
            if cell is None:
                columns.append({"missing": absent(evaluation, name).replace("-", _NONE)})
                continue
            columns.append(
                {
                    "mean": format_number(cell.mean, name),
                    "interval": format_interval(cell, name),
                    "fewer": f" n = {cell.n}" if cell.n != count else "",
                }
            )
        line = {"method": method, "label": METHODS[method], "count": count, "cells": columns}
        lines.append(line)
    return lines


def _heads(evaluation):
    """The image table's head; `first` is the order that the first click sorts a column by."""
    ranking = ranking_metric(evaluation)
    heads = [{"label": "image", "first": "ascending"}]
    for name in evaluation.metrics:
        label, _, higher_is_better = describe(name)
        # The first click on a column shows its worst end.
        first = "ascending" if higher_is_better else "descending"
        is_ranking = name == ranking
        heads.append(
            {"label": label, "first": first, "sorted": is_ranking, "minor": not is_ranking}
        )
    heads.append({"label": "gain", "first": "ascending"})
    return [{"sorted": False, "minor": False, **head} for head in heads]


def _image(evaluation, row) -> dict[str, Any]:
    """One image: its line in the table and, hidden until opened, its pictures and scores."""
    restored = row.scores.get("restored", {})
    ranking = ranking_metric(evaluation)
    height, width = row.size
    return {
        "name": row.name,
        "notes": [(METHODS.get(method, method), text) for method, text in row.notes.items()],
        "cells": [_cell(restored.get(name), name, ranking) for name in evaluation.metrics]
        + [_gain(row, ranking)],
        "pictures": _pictures(row),
        "scores": [
            (
                METHODS[method],
                [_text(row.scores[method].get(name), name) for name in evaluation.metrics],
            )
            for method in METHODS
            if method in row.scores
        ],
        "height": int(height),
        "width": int(width),
    }


def _cell(score, metric, ranking):
    """One score of the restored picture; all but the ranking one are left out on a phone."""
    value = "" if score is None else repr(float(score))
    kind = "" if metric == ranking else "minor"
    return {"value": value, "text": _text(score, metric), "kind": kind}


def _gain(row, metric):
    """What restoring gained over the degraded input, in the metric that ranks the images."""
    scores = [row.scores.get(method, {}).get(metric) for method in ("restored", "degraded")]
    gain = math.nan if None in scores else float(scores[0]) - float(scores[1])
    if math.isnan(gain):
        return {"value": "", "text": _NONE, "kind": ""}
    if not describe(metric).higher_is_better:
        gain = -gain
    text = f"{gain:+.{describe(metric).decimals}f}"
    return {"value": repr(gain), "text": text, "kind": "worse" if gain < 0 else "better"}


def _text(score, metric):
    return format_number(score, metric) or _NONE


def _pictures(row):
    """{kind: address} for the slider; empty where one of its two pictures is missing."""
    addresses = {kind: _address(path, row.name) for kind, path in row.pictures.items()}
    return addresses if {"degraded", "restored"} <= set(addresses) else {}


def _address(path, name):
    """A relative file path as a URL: `#`, `?`, `%` and `:` in file names are not syntax."""
    if path.startswith("/"):
        raise UserError(f"{name}: {path} is absolute; give pictures relative to the page.")
    return quote(os.fsencode(path), safe="/")
