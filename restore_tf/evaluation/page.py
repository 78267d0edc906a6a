"""Turns an Evaluation into the report page.

Everything that comes from file names or the caller is escaped here, where it enters the markup.
"""

from __future__ import annotations

import html
import math
import os
from urllib.parse import quote

from restore_tf.errors import UserError
from restore_tf.evaluation import page_parts
from restore_tf.evaluation.report import (
    METHODS,
    Evaluation,
    describe,
    footnotes,
    format_interval,
    format_number,
    one_line,
    ranking_metric,
    summarise,
    worst_first,
)
from restore_tf.system.files import atomic_path


def render(evaluation: Evaluation) -> str:
    """Returns the whole page; see `restore_tf.evaluation.report.write_html`."""
    return page_parts.PAGE.substitute(
        style=page_parts.STYLE,
        script=page_parts.SCRIPT,
        title=_escape(evaluation.title),
        summary=_summary(evaluation),
        footnotes="".join(f"<li>{_escape(line)}</li>" for line in footnotes(evaluation)),
        provenance="".join(
            f"<dt>{_escape(key)}</dt><dd>{_escape(one_line(value))}</dd>"
            for key, value in evaluation.provenance.items()
        ),
        count=len(evaluation.rows),
        ranking=_escape(describe(ranking_metric(evaluation)).label),
        head=_head(evaluation),
        images="\n".join(_image(evaluation, row) for row in worst_first(evaluation)),
    )


def _escape(text):
    return html.escape(str(text), quote=True)


def _summary(evaluation):
    """The rows of the summary table, its head included."""
    heads = "".join(
        f"<th scope=col>{_escape(describe(name).label)} "
        f"<small>{'↑' if describe(name).higher_is_better else '↓'}</small></th>"
        for name in evaluation.metrics
    )
    lines = [f"<tr><td></td><th scope=col>n</th>{heads}</tr>"]
    for method, cells in summarise(evaluation).items():
        count = max(cell.n for cell in cells.values())
        columns = []
        for name in evaluation.metrics:
            cell = cells.get(name)
            if cell is None:
                columns.append("<td>–</td>")
                continue
            fewer = f" n = {cell.n}" if cell.n != count else ""
            columns.append(
                f"<td><b>{format_number(cell.mean, name)}</b> "
                f"<small>{format_interval(cell, name)}{fewer}</small></td>"
            )
        lines.append(
            f"<tr class={method}><th scope=row>{METHODS[method]}</th>"
            f"<td>{count}</td>{''.join(columns)}</tr>"
        )
    return "\n".join(lines)


def _head(evaluation):
    """The image table's head: every cell a button that sorts by its column."""
    ranking = ranking_metric(evaluation)
    cells = [_head_cell("image", "ascending")]
    for name in evaluation.metrics:
        label, _, higher_is_better = describe(name)
        # The first click on a column shows its worst end.
        first = "ascending" if higher_is_better else "descending"
        extra = f' aria-sort="{first}"' if name == ranking else " class=minor"
        cells.append(_head_cell(label, first, extra))
    cells.append(_head_cell("gain", "ascending"))
    return "".join(cells)


def _head_cell(label, first, extra=""):
    return (
        f'<th scope=col data-first="{first}"{extra}>'
        f"<button type=button>{_escape(label)}</button></th>"
    )


def _image(evaluation, row):
    """One image: its line in the table and, hidden until opened, its pictures and scores."""
    restored = row.scores.get("restored", {})
    ranking = ranking_metric(evaluation)
    cells = [_score(restored.get(name), name, ranking) for name in evaluation.metrics]
    cells.append(_gain(evaluation, row))
    note = "".join(
        f"<small class=note>{_escape(METHODS.get(method, method))}: {_escape(text)}</small>"
        for method, text in row.notes.items()
    )
    return (
        f'<tbody data-name="{_escape(row.name)}"><tr class=line>'
        f'<th scope=row data-value="{_escape(row.name)}">'
        f"<button type=button class=open aria-expanded=false>{_escape(row.name)}</button>"
        f"{note}</th>{''.join(cells)}</tr>"
        f"<tr class=detail hidden><td colspan={len(evaluation.metrics) + 2}>"
        f"{_viewer(row)}{_scores(evaluation, row)}</td></tr></tbody>"
    )


def _score(score, metric, ranking):
    """One score of the restored picture; all but the ranking one are left out on a phone."""
    value = "" if score is None else repr(float(score))
    minor = "" if metric == ranking else " class=minor"
    return f'<td data-value="{value}"{minor}>{format_number(score, metric) or "–"}</td>'


def _gain(evaluation, row):
    """What restoring gained over the blurry input, in the metric that ranks the images."""
    metric = ranking_metric(evaluation)
    scores = [row.scores.get(method, {}).get(metric) for method in ("restored", "blurry")]
    gain = math.nan if None in scores else scores[0] - scores[1]
    if math.isnan(gain):
        return '<td data-value="">–</td>'
    if not describe(metric).higher_is_better:
        gain = -gain
    return (
        f'<td data-value="{float(gain)!r}" class={"worse" if gain < 0 else "better"}>'
        f"{gain:+.{describe(metric).decimals}f}</td>"
    )


def _scores(evaluation, row):
    """The small table of one image: every method in every metric, and its size."""
    heads = "".join(f"<th scope=col>{_escape(describe(m).label)}</th>" for m in evaluation.metrics)
    lines = []
    for method in (method for method in METHODS if method in row.scores):
        cells = "".join(
            f"<td>{format_number(row.scores[method].get(name), name) or '–'}</td>"
            for name in evaluation.metrics
        )
        lines.append(f"<tr><th scope=row>{METHODS[method]}</th>{cells}</tr>")
    height, width = row.size
    return (
        f"<div class=scroll><table class=scores><tr><td>{width} × {height}</td>{heads}</tr>"
        f"{''.join(lines)}</table></div>"
    )


def _viewer(row):
    """The before/after slider, or nothing where pictures are missing."""
    address = {kind: _address(path, row.name) for kind, path in row.pictures.items()}
    if not {"blurry", "restored"} <= set(address):
        return "<p class=missing>no pictures stored</p>"
    height, width = row.size
    return page_parts.VIEWER.substitute(
        width=int(width),
        height=int(height),
        left=address["blurry"],
        right=address["restored"],
        pictures="".join(f' data-{_escape(kind)}="{url}"' for kind, url in address.items()),
        compare=page_parts.COMPARE if "sharp" in address else "",
        links=" ".join(
            f'<a href="{url}" target=_blank>{_escape(kind)}</a>' for kind, url in address.items()
        ),
    )


def _address(path, name):
    """A relative file path as a URL: `#`, `?`, `%` and `:` in file names are not syntax."""
    if path.startswith("/"):
        raise UserError(f"{name}: {path} is absolute; give pictures relative to the page.")
    return quote(os.fsencode(path), safe="/")


def write_html(path: str | os.PathLike, evaluation: Evaluation) -> None:
    """Writes one self-contained page: summary, provenance, sortable images with sliders.

    Pictures are referenced relative to the page, never embedded. The worst image comes first:
    the one with the lowest restored PSNR, or the worst first metric if PSNR is not among them.

    Raises:
      UserError: no images, no metrics, or a picture path that is not relative.
    """
    page = render(evaluation)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="")
