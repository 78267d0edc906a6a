"""What a training shows: progress, `metrics.csv`, TensorBoard and sample pictures."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from restore_tf.pictures.files import write_picture
from restore_tf.pictures.pixels import before_after
from restore_tf.system.files import atomic_path

METRICS = "metrics.csv"
COLUMNS = ("step", "loss", "learning_rate", "steps_per_second", "psnr", "psnr_blurry")
_SAMPLE_SIDE = 256  # larger pictures show their centre


class RunLog:
    """Writes one run's history; shows nothing in a process that may not write.

    TensorBoard's curves need TensorFlow: on Keras' other backends there is metrics.csv alone.

    Args:
      workdir: the run directory.
      start_step: where the training starts; rows of a broken-off run beyond it are dropped.
      steps: where it ends.
      writes: whether this process writes files.
    """

    def __init__(self, workdir: str | os.PathLike, start_step: int, steps: int, writes=True):
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
        """Adds a row of `COLUMNS` to metrics.csv and TensorBoard; a missing value stays empty."""
        self._shown |= {
            name: f"{value:.4g}" for name, value in values.items() if name in ("loss", "psnr")
        }
        self._progress.set_postfix(self._shown, refresh=False)
        if not self._writes:
            return
        with open(self._workdir / METRICS, "a", newline="", encoding="utf-8") as file:
            row = {name: f"{value:.8g}" for name, value in values.items()}
            csv.DictWriter(file, COLUMNS, restval="").writerow({"step": step, **row})
        if self._board:
            from tensorflow import summary

            with self._board.as_default(step=step):
                for name, value in values.items():
                    summary.scalar(name, value)

    def pictures(self, step: int, rows: list[tuple[np.ndarray, ...]]) -> None:
        """Writes a grid of (blurry, restored, sharp) uint8 pictures, always the same ones."""
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
        if self._board:
            from tensorflow import summary

            with self._board.as_default(step=step):
                summary.image("blurry, restored, sharp", grid[None])

    def say(self, message: str) -> None:
        """Prints a line without disturbing the progress bar."""
        if self._writes:
            tqdm.write(message)

    def close(self) -> None:
        """Ends the progress bar and flushes TensorBoard."""
        self._progress.close()
        if self._writes and self._board:
            self._board.close()

    def _drop_rows_after(self, step):
        path = self._workdir / METRICS
        rows = []
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if _reached(row, step)]
        with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


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
