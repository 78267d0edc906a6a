"""The results of a sweep, trainings that differ in a few fields, as a table and a picture.

The curves are drawn by Matplotlib (pip install 'restore_tf[plots]').
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path
from restore_tf.training import run_log

_SMOOTHED = 20  # points of a loss curve: means of stretches of equal length
COLUMNS = ("setting", "step", "loss", "best_psnr", "psnr_degraded", "gain", "workdir", "failed")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one training of a sweep went.

    Attributes:
      setting: the fields that it does not share with the others, such as "learning_rate=0.0001".
      workdir: its run directory.
      rows: of its metrics.csv: {column: text}.
      failed: how it failed, or None.
    """

    setting: str
    workdir: Path
    rows: Sequence[dict[str, str]] = ()
    failed: str | None = None

    def series(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns (steps, values) of one column, where it has values.

        Args:
          column: of metrics.csv, such as "loss".

        Returns:
          Two arrays of one length, int and float; empty where the column has no values.
        """
        pairs = [(int(row["step"]), float(row[column])) for row in self.rows if row.get(column)]
        steps, values = zip(*pairs, strict=True) if pairs else ((), ())
        return np.array(steps, int), np.array(values, float)

    @property
    def step(self) -> int:
        """The last step that was recorded; 0 before the first."""
        return max((int(row["step"]) for row in self.rows), default=0)

    @property
    def loss(self) -> float:
        """Mean loss of the last tenth of the steps; NaN without any."""
        steps, losses = self.series("loss")
        late = losses[steps > 0.9 * self.step]
        return float(np.mean(late)) if late.size else math.nan

    @property
    def best_psnr(self) -> float:
        """Highest validation PSNR in dB; NaN without any."""
        values = self.series("psnr")[1]
        return float(np.max(values)) if values.size else math.nan

    @property
    def psnr_degraded(self) -> float:
        """PSNR of the unrestored validation pictures in dB; NaN where it is not known."""
        values = self.series("psnr_degraded")[1]
        return float(values[-1]) if values.size else math.nan


def read_outcome(setting: str, workdir: str | os.PathLike, failed: str | None = None) -> Outcome:
    """Returns how a training went, from its metrics.csv.

    Args:
      setting: the training's, such as "learning_rate=0.0001".
      workdir: its run directory.
      failed: how it failed; None where it did not.

    Raises:
      UserError: there is a metrics.csv that no training wrote.
    """
    return Outcome(setting, Path(workdir), run_log.read(workdir), failed)


def settings(axes: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns every combination of "field=value,value" texts, as (field=value, …) tuples.

    Args:
      axes: one text per field, such as "learning_rate=1e-3,1e-4".

    Raises:
      UserError: a text of another form, or a field or value given twice.
    """
    choices, seen = [], set()
    for axis in axes:
        field, equals, text = (part.strip() for part in axis.partition("="))
        values = [value.strip() for value in text.split(",")]
        if not (field and equals and all(values)):
            raise UserError(f"--over {axis}: expected field=value,value, such as batch=4,8.")
        if field in seen:
            raise UserError(f"--over {axis}: {field} is swept twice; give all its values at once.")
        if len(set(values)) < len(values):
            raise UserError(f"--over {axis}: a value occurs twice.")
        seen.add(field)
        choices.append([f"{field}={value}" for value in values])
    return list(itertools.product(*choices))


def format_table(outcomes: Sequence[Outcome]) -> str:
    """Returns the table for a terminal; the highest PSNR is marked by a star.

    Args:
      outcomes: of the sweep's trainings.
    """
    best = max((o.best_psnr for o in outcomes if not math.isnan(o.best_psnr)), default=None)
    width = max(len("setting"), *(len(outcome.setting) for outcome in outcomes))
    lines = [f"{'setting':{width}}  {'step':>8}  {'loss':>10}  {'best PSNR':>9}  {'gain':>8}"]
    for one in outcomes:
        gain = one.best_psnr - one.psnr_degraded
        line = f"{one.setting:{width}}  {one.step:8d}  {_text(one.loss, '10.4g')}"
        line += f"  {_text(one.best_psnr, '9.2f')}  {_text(gain, '+8.2f')}"
        line += " *" if one.best_psnr == best else ""
        lines.append(line + (f"  failed: {one.failed}" if one.failed else ""))
    return "\n".join(lines)


def write_table(outcomes: Sequence[Outcome], path: str | os.PathLike) -> None:
    """Writes the table as CSV; unknown values are empty cells.

    Args:
      outcomes: of the sweep's trainings.
      path: the file, replaced where it exists.
    """
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in outcomes:
            numbers = [one.loss, one.best_psnr, one.psnr_degraded]
            numbers.append(one.best_psnr - one.psnr_degraded)
            cells = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
            writer.writerow([one.setting, one.step, *cells, one.workdir.name, one.failed or ""])


def draw_curves(outcomes: Sequence[Outcome], path: str | os.PathLike) -> None:
    """Draws loss over steps, logarithmic, and validation PSNR over steps, as a PNG.

    Args:
      outcomes: of the sweep's trainings.
      path: the PNG, replaced where it exists.

    Raises:
      UserError: Matplotlib is missing, see `check_plots`.
    """
    check_plots()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)  # needs no display
    losses, scores = figure.subplots(1, 2)
    for one in outcomes:
        losses.plot(*_smoothed(*one.series("loss")), label=one.setting, linewidth=1.5)
        scores.plot(*one.series("psnr"), marker="o", markersize=3, linewidth=1.5)
    degraded = [o.psnr_degraded for o in outcomes if not math.isnan(o.psnr_degraded)]
    if degraded:
        scores.axhline(degraded[0], color="0.4", linestyle=":", label="degraded input")
        scores.legend(loc="best", fontsize="small")
    losses.set(xlabel="step", ylabel="training loss", yscale="log")
    scores.set(xlabel="step", ylabel="validation PSNR (dB)")
    if outcomes:
        losses.legend(loc="best", fontsize="small")
    for axes in (losses, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)  # steps are whole
        axes.grid(True, which="both", linewidth=0.4, alpha=0.5)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": "restore_tf"})


def check_plots() -> None:
    """Checks that Matplotlib is installed; call it before long work.

    Raises:
      UserError: it is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError(
            "curves are drawn by Matplotlib, which is not installed: pip install "
            "'restore_tf[plots]'."
        ) from None


def _smoothed(steps, values):
    """Means of `_SMOOTHED` stretches where there are more values than twice that."""
    if len(values) <= 2 * _SMOOTHED:
        return steps, values
    parts = [np.array_split(each, _SMOOTHED) for each in (steps, values)]
    return tuple([np.mean(part) for part in each] for each in parts)


def _text(number, form):
    """A number in a column of the width that its format begins with."""
    width = int(form.lstrip("+").split(".")[0])
    return f"{'-':>{width}}" if math.isnan(number) else f"{number:{form}}"
