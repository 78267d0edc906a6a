"""What a training writes: progress, `metrics.csv`, TensorBoard and sample pictures."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from restore_tf.errors import UserError
from restore_tf.experiments.experiment import BEST_METRICS
from restore_tf.pictures.files import write_picture
from restore_tf.pictures.pixels import before_after
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

METRICS = "metrics.csv"
COLUMNS = ("step", "loss", "learning_rate", "steps_per_second", "psnr", "psnr_degraded")
_OF_SETS = ("psnr", "psnr_degraded")  # have a column for each set of a mixture, too
_OF_PARTS = "loss"  # has one for each network that trains beside the restorer
_RENAMED = {"psnr_blurry": "psnr_degraded"}  # as older runs called them
_SAMPLE_SIDE = 256  # larger pictures show their centre


class RunLog:
    """Writes one run's history; writes and shows nothing in a process that may not write.

    TensorBoard's curves need TensorFlow: on Keras' other backends there is metrics.csv alone.

    Args:
      workdir: the run directory.
      start_step: where the training starts; rows of a broken-off run beyond it are dropped.
      steps: where it ends.
      writes: whether this process writes files.
      columns: of metrics.csv, beside `COLUMNS`, see `best_columns`, `set_columns`, `part_columns`.

    Raises:
      UserError: `metrics.csv` is not a training's, see `check`.
    """

    def __init__(
        self, workdir: str | os.PathLike, start_step: int, steps: int, writes=True, columns=()
    ):
        self._columns = (*COLUMNS, *columns)
        best = [name for name in columns if ":" not in name]
        self._watched = ("loss", "psnr", *best[:1])  # on the progress bar
        self._workdir = Path(workdir)
        self._writes = writes
        # disable=None: shown on a terminal, silent when piped.
        self._progress = tqdm(
            total=steps, initial=start_step, unit="step", disable=None if writes else True
        )
        self._shown: dict[str, str] = {}
        if writes:
            self._drop_rows_after(start_step)
            self._board = _board(self._workdir / "tensorboard")

    def advance(self) -> None:
        """Moves the progress bar by one step."""
        self._progress.update()

    def record(self, step: int, **values: float) -> None:
        """Adds a row to metrics.csv and TensorBoard.

        Args:
          step: the last step that the values cover.
          values: those with a column become the row, where a missing value stays empty; TensorBoard
            shows the others too. The loss of a network beside the restorer has the network's name.
        """
        self._shown |= {
            name: f"{value:.4g}" for name, value in values.items() if name in self._watched
        }
        self._progress.set_postfix(self._shown, refresh=False)
        if not self._writes:
            return
        with open(self._workdir / METRICS, "a", newline="", encoding="utf-8") as file:
            row = {name: f"{value:.8g}" for name, value in values.items()}
            row |= {f"{_OF_PARTS}:{name}": text for name, text in row.items()}
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            writer.writerow({"step": step, **row})
        with self._summary(step) as summary:
            for name, value in values.items() if summary else ():
                summary.scalar(name, value)

    def pictures(self, step: int, rows: list[tuple[np.ndarray, ...]]) -> None:
        """Writes a grid of sample pictures, one row each, as a PNG and for TensorBoard.

        Args:
          step: steps done; part of the file's name.
          rows: (degraded, restored, sharp), each (height, width, 3) uint8; nothing is written for
            none.
        """
        if not self._writes or not rows:
            return
        strips = [before_after(*(_centre(picture) for picture in row)) for row in rows]
        width = max(strip.shape[1] for strip in strips)
        strips = [
            np.pad(strip, ((0, 8), (0, width - strip.shape[1]), (0, 0)), constant_values=255)
            for strip in strips
        ]
        grid = np.concatenate(strips)[:-8]
        (self._workdir / "samples").mkdir(exist_ok=True)
        write_picture(self._workdir / "samples" / f"step_{step:07d}.png", grid)
        with self._summary(step) as summary:
            if summary:
                summary.image("degraded, restored, sharp", grid[None])

    def say(self, message: str) -> None:
        """Logs a message, once among several workers.

        Args:
          message: one line.
        """
        if self._writes:
            logger.info(message)

    def warn(self, message: str) -> None:
        """Logs a warning, once among several workers.

        Args:
          message: one line.
        """
        if self._writes:
            logger.warning(message)

    def close(self) -> None:
        """Ends the progress bar and flushes TensorBoard."""
        self._progress.close()
        if self._writes and self._board:
            self._board.close()

    @contextlib.contextmanager
    def _summary(self, step):
        """TensorFlow's `summary`, writing for that step; None where there is no TensorBoard."""
        if not self._board:
            yield None
            return
        from tensorflow import summary

        with self._board.as_default(step=step):
            yield summary

    def _drop_rows_after(self, step):
        path = self._workdir / METRICS
        rows = [_renamed(row) for row in check(self._workdir) if _reached(row, step)]
        with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


def best_columns(metric: str) -> tuple[str, ...]:
    """Returns the columns that a `best_metric` has beside `COLUMNS`.

    The metric, and its value for the degraded pictures where there is one. The column "loss" is the
    training loss, so the loss of the validation pictures is "val_loss".

    Args:
      metric: the experiment's `best_metric`.
    """
    if metric in ("psnr", "last"):
        return ()
    return ("val_loss",) if metric == "loss" else (metric, f"{metric}_degraded")


def set_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of a mixture's sets: "psnr:LABEL" and "psnr_degraded:LABEL".

    Args:
      labels: of the mixture's sets.
    """
    return tuple(f"{name}:{label}" for label in labels for name in _OF_SETS)


def part_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns for the losses of networks beside the restorer: "loss:NAME".

    Args:
      names: of the networks, such as "discriminator".
    """
    return tuple(f"{_OF_PARTS}:{name}" for name in names)


_LAYOUTS = [(*COLUMNS, *best_columns(metric)) for metric in BEST_METRICS]


def check(workdir: str | os.PathLike) -> list[dict[str, str]]:
    """Returns the rows of a run's metrics.csv as they are; none where there is no such file.

    Args:
      workdir: the run directory.

    Raises:
      UserError: the file was not written by a training; it is not touched.
    """
    path = Path(workdir) / METRICS
    if not path.is_file():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            columns = [_RENAMED.get(name, name) for name in rows.fieldnames or ()]
            plain = [name for name in columns if name.partition(":")[0] == name]
            others = {name.partition(":")[0] for name in columns[len(plain) :]}
            known = tuple(plain) in _LAYOUTS and others <= {*_OF_SETS, _OF_PARTS}
            if not columns or known:
                return list(rows)
    except (UnicodeDecodeError, csv.Error):
        pass  # not even text
    raise UserError(
        f"{path}: not written by a training (its columns are others); move it away, or pass "
        "another --workdir."
    )


def read(workdir: str | os.PathLike) -> list[dict[str, str]]:
    """Returns the complete rows of a run's metrics.csv, {column: text}, under today's names.

    Args:
      workdir: the run directory.

    Raises:
      UserError: as `check`.
    """
    rows = check(workdir)
    return [_renamed(row) for row in rows if (row.get("step") or "").isdigit() and None not in row]


def _renamed(row):
    return {_RENAMED.get(name, name): value for name, value in row.items()}


def _board(folder):
    if keras.backend.backend() != "tensorflow":
        return None
    from tensorflow import summary

    return summary.create_file_writer(str(folder))


def _reached(row, step):
    # A killed process can leave half a line behind.
    return (row.get("step") or "").isdigit() and int(row["step"]) <= step and None not in row


def _centre(picture):
    top, left = (max(0, (side - _SAMPLE_SIDE) // 2) for side in picture.shape[:2])
    return picture[top : top + _SAMPLE_SIDE, left : left + _SAMPLE_SIDE]
