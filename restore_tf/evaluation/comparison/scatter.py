"""Perception over distortion as an SVG drawing: LPIPS (else GMSD) over PSNR.

Rows are points with their intervals as bars; a network with a knob is a curve. Both axes point to
what is better: up and to the right. Colours are the page's, so that light and dark fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from restore_tf.evaluation.comparison.labels import POINT, Box, place_labels
from restore_tf.evaluation.comparison.results import INPUT, Comparison
from restore_tf.evaluation.comparison.statistics import BlockStatistics, sign
from restore_tf.evaluation.comparison.table import estimate_text, label_of
from restore_tf.evaluation.metric_names import describe, format_number

WIDTH, HEIGHT = 760, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 20, 60
_FRAME = Box(_LEFT, 2, WIDTH - 2, HEIGHT - _BOTTOM)  # of labels
_SHAPES = {"baseline": "square", "run": "circle", "published": "diamond", "chain": "triangle"}


class Mark(NamedTuple):
    """A point of the drawing.

    Attributes:
      label: text beside it.
      kind: of its row, or "curve".
      x: (value, low, high); low and high are None without an interval.
      y: likewise.
      title: shown where a mouse rests on it.
    """

    label: str
    kind: str
    x: tuple[float, float | None, float | None]
    y: tuple[float, float | None, float | None]
    title: str


class _Axis:
    """From values to pixels, better values towards `last`."""

    def __init__(self, values: Sequence[float], metric: str, first: float, last: float):
        low, high = min(values), max(values)
        room = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
        self.low, self.high = low - room, high + room
        self.metric = metric
        self._first, self._last = (first, last) if sign(metric) > 0 else (last, first)

    def __call__(self, value):
        share = (value - self.low) / (self.high - self.low)
        return self._first + share * (self._last - self._first)

    def ticks(self):
        """Round numbers, about six, with their texts."""
        step = (self.high - self.low) / 6
        unit = 10.0 ** math.floor(math.log10(step))
        step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= step)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(n * step, f"{n * step:.{decimals}f}") for n in range(first, last + 1)]


def scatter(comparison: Comparison, found: BlockStatistics) -> Markup | None:
    """Returns the drawing of one block; None without two metrics that oppose each other.

    Args:
      comparison: see `Comparison`.
      found: of its block.
    """
    if found.opposed is None:
        return None
    marks = marks_of(comparison, found)
    curves = curves_of(comparison, found)
    everything = [*marks, *(mark for _, points in curves for mark in points)]
    if not everything:
        return None
    x_metric, y_metric = found.opposed
    x = _Axis(_reach(mark.x for mark in everything), x_metric, _LEFT, WIDTH - _RIGHT)
    y = _Axis(_reach(mark.y for mark in everything), y_metric, HEIGHT - _BOTTOM, _TOP)
    named = _named(marks, curves, x, y)
    boxes = place_labels([each[:3] for each in named], _FRAME, _bars(marks, x, y), len(marks))
    labelled = [(name, box) for name, box in zip(named, boxes, strict=True) if box]
    height = max([HEIGHT, *(box.bottom + 6 for _, box in labelled)])
    label = f"{describe(y_metric).label} over {describe(x_metric).label}, {found.block}"
    parts = [
        f'<svg class="scatter" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}">',
        *_frame(x, y),
        *(part for name, points in curves for part in _curve(name, points, x, y)),
        *(part for mark in marks for part in _mark(mark, x, y)),
        *(
            part
            for name, box in zip(named, boxes, strict=True)
            if box
            for part in _label(name, box)
        ),
        "</svg>",
    ]
    return Markup("\n".join(parts))


def marks_of(comparison: Comparison, found: BlockStatistics) -> list[Mark]:
    """Returns the points of the rows, without those that have an infinite mean.

    Args:
      comparison: see `Comparison`.
      found: statistics of its block.
    """
    marks = []
    metrics = found.opposed or ()
    for row in found.rows:
        estimates = [found.means[row][metric] for metric in metrics]
        if not all(math.isfinite(estimate.mean) for estimate in estimates):
            continue
        texts = [
            " ".join((describe(metric).label, *estimate_text(estimate, metric))).strip()
            for metric, estimate in zip(metrics, estimates, strict=True)
        ]
        label = label_of(comparison, row)
        x, y = (
            (e.mean, e.low, e.high) if e.kind == "interval" else (e.mean, None, None)
            for e in estimates
        )
        kind = "input" if row == INPUT else comparison.row(row).kind
        marks.append(Mark(label, kind, x, y, f"{label}: {', '.join(texts)}"))
    return marks


def curves_of(comparison: Comparison, found: BlockStatistics) -> list[tuple[str, list[Mark]]]:
    """Returns the curves of networks with a knob.

    Args:
      comparison: see `Comparison`.
      found: statistics of its block.

    Returns:
      (name, points in order) of each.
    """
    names = {row.name for row in comparison.rows}
    metrics = found.opposed or ()
    curves = []
    for curve in comparison.curves:
        head = label_of(comparison, curve.row) if curve.row in names else curve.row
        points = []
        for point in curve.points:
            scores = list(point.scores.get(found.block, {}).values())
            means = [
                float(np.mean([each[metric] for each in scores if metric in each] or [np.nan]))
                for metric in metrics
            ]
            if not np.isfinite(means).all():
                continue
            texts = [format_number(m, n) for m, n in zip(means, metrics, strict=True)]
            title = f"{head}, {point.label}: {', '.join(texts)}"
            x, y = ((mean, None, None) for mean in means)
            points.append(Mark(point.label, "curve", x, y, title))
        if points:
            curves.append((f"{head}: {curve.knob}", points))
    return curves


def _bars(marks, x, y):
    """Where the intervals are drawn."""
    boxes = []
    for mark in marks:
        left, top = x(mark.x[0]), y(mark.y[0])
        if mark.x[1] is not None and np.isfinite(mark.x[1:]).all():
            ends = sorted(map(x, mark.x[1:]))
            boxes.append(Box(ends[0], top - 1, ends[1], top + 1))
        if mark.y[1] is not None and np.isfinite(mark.y[1:]).all():
            ends = sorted(map(y, mark.y[1:]))
            boxes.append(Box(left - 1, ends[0], left + 1, ends[1]))
    return boxes


def _reach(places):
    return [
        value for place in places for value in place if value is not None and np.isfinite(value)
    ]


def _named(marks, curves, x, y):
    """(text, x, y, kind) of all labels: rows first, which matter most, then the ends of curves."""
    named = [(mark.label, x(mark.x[0]), y(mark.y[0]), mark.kind) for mark in marks]
    for _, points in curves:
        ends = [points[0], points[-1], *points[1:-1]] if len(points) > 1 else points
        named += [(mark.label, x(mark.x[0]), y(mark.y[0]), "curve") for mark in ends]
    return named


def _frame(x, y):
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    for value, text in x.ticks():
        yield f'<path class="grid" d="M{x(value):.1f} {_TOP}V{bottom}"/>'
        yield f'<text class="tick" x="{x(value):.1f}" y="{bottom + 18}">{text}</text>'
    for value, text in y.ticks():
        yield f'<path class="grid" d="M{_LEFT} {y(value):.1f}H{right}"/>'
        yield f'<text class="tick y" x="{_LEFT - 8}" y="{y(value) + 4:.1f}">{text}</text>'
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>'
    middle = (_LEFT + right) / 2
    yield f'<text class="name" x="{middle}" y="{HEIGHT - 18}">{_better(x.metric, "→")}</text>'
    middle = (_TOP + bottom) / 2
    yield (
        f'<text class="name" transform="translate(18 {middle}) rotate(-90)">'
        f"{_better(y.metric, '→')}</text>"
    )


def _better(metric, arrow):
    label, _, higher = describe(metric)
    return escape(f"{label}, better {arrow}" if higher else f"{label}, lower is better {arrow}")


def _curve(name, points, x, y):
    line = " ".join(f"{x(mark.x[0]):.1f},{y(mark.y[0]):.1f}" for mark in points)
    yield f'<polyline class="curve" points="{line}"><title>{escape(name)}</title></polyline>'
    for mark in points:
        yield from _mark(mark, x, y)


def _mark(mark, x, y):
    left, top = x(mark.x[0]), y(mark.y[0])
    yield f'<g class="mark {mark.kind}"><title>{escape(mark.title)}</title>'
    if mark.x[1] is not None and np.isfinite(mark.x[1:]).all():
        yield f'<path class="bar" d="M{x(mark.x[1]):.1f} {top:.1f}H{x(mark.x[2]):.1f}"/>'
    if mark.y[1] is not None and np.isfinite(mark.y[1:]).all():
        yield f'<path class="bar" d="M{left:.1f} {y(mark.y[1]):.1f}V{y(mark.y[2]):.1f}"/>'
    shape = _SHAPES.get(mark.kind, "circle")
    r = POINT if mark.kind != "curve" else 3
    paths = {
        "square": f"M{left - r:.1f} {top - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
        "diamond": f"M{left:.1f} {top - r - 2:.1f}l{r + 2} {r + 2}l{-r - 2} {r + 2}"
        f"l{-r - 2} {-r - 2}z",
        "triangle": f"M{left:.1f} {top - r - 1:.1f}l{r + 1} {2 * r + 1}h{-2 * r - 2}z",
    }
    if shape == "circle":
        yield f'<circle class="dot" cx="{left:.1f}" cy="{top:.1f}" r="{r}"/>'
    else:
        yield f'<path class="dot" d="{paths[shape]}"/>'
    yield "</g>"


def _label(named, box):
    text, x, y, kind = named
    middle = (box.top + box.bottom) / 2
    near = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
    if math.dist(near, (x, y)) > 3 * POINT:
        yield f'<path class="leader" d="M{x:.1f} {y:.1f}L{near[0]:.1f} {near[1]:.1f}"/>'
    at, anchor = (box.left, "start") if box.left >= x else (box.right, "end")
    if box.left < x < box.right:
        at, anchor = (box.left + box.right) / 2, "middle"
    yield (
        f'<text class="label {kind}" x="{at:.1f}" y="{middle + 4:.1f}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
