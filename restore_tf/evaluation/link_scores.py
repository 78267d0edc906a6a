"""Scores of a chain's pictures after every link: what each link gains or loses."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from restore_tf.errors import UserError
from restore_tf.evaluation import metrics
from restore_tf.inference.restore import after_links
from restore_tf.pictures.planes import enlarged_to
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

_COLUMNS = ("link", "psnr", "psnr_added", "low", "high", "ssim_matlab", "ssim_added", "n")


@dataclasses.dataclass(frozen=True)
class Row:
    """Mean scores of all pictures after a link.

    Attributes:
      link: its name; "degraded input" for the first row.
      psnr: in dB. A picture that is smaller than the sharp one is enlarged by bicubics.
      psnr_added: to the row before, in dB; None in the first row.
      low: lower bound of `psnr_added`'s 95 % bootstrap interval over the pictures; None for one.
      high: its upper bound.
      ssim_matlab: SSIM with MATLAB's window.
      ssim_added: to the row before; None in the first row.
      n: the number of pictures.
    """

    link: str
    psnr: float
    psnr_added: float | None
    low: float | None
    high: float | None
    ssim_matlab: float
    ssim_added: float | None
    n: int


def score_links(chain, names: Sequence[str], source, limit: int | None = None) -> list[Row]:
    """Scores the pictures of a data set as degraded, and after each link of a chain.

    Args:
      chain: a `networks.chain.Chain` with its weights.
      names: of its links.
      source: pairs read by index, see `restore_tf.datasets.sources`, in the chain's sizes.
      limit: the number of pairs, from the first; None for all.

    Raises:
      UserError: no pair that could be scored.
    """
    count = len(source) if limit is None else min(limit, len(source))
    scores = []
    for index in tqdm(range(count), unit="image", disable=None):
        try:
            degraded, sharp = source.read(index)
            pictures = [degraded, *after_links(chain, degraded)]
            scores.append([_scores(sharp, picture) for picture in pictures])
        except UserError as error:
            logger.warning("%s: left out (%s)", source.names[index], error)
    if not scores:
        raise UserError(f"none of {count} pictures could be scored.")
    values = np.array(scores)  # (pictures, 1 + links, metrics)
    return [_row(name, values, at) for at, name in enumerate(_labels(chain, names))]


def _labels(chain, names):
    """The links' names; says which pictures bicubics enlarged before they were scored."""
    left = [chain.output_scale]
    for link in chain.links:
        left.append(left[-1] // link.output_scale)
    return [
        name + (f", bicubic x{scale}" if scale > 1 else "")
        for name, scale in zip(["degraded input", *names], left, strict=True)
    ]


def _scores(sharp, picture):
    picture = enlarged_to(picture, sharp.shape[:2])
    return metrics.psnr(sharp, picture), metrics.ssim_matlab(sharp, picture)


def _row(name, values, at):
    psnr, ssim = values[:, at].mean(axis=0)
    if not at:
        return Row(name, float(psnr), None, None, None, float(ssim), None, len(values))
    added = values[:, at] - values[:, at - 1]
    low, high = metrics.bootstrap_interval(added[:, 0]) if len(added) > 1 else (None, None)
    means = added.mean(axis=0)
    return Row(
        name, float(psnr), float(means[0]), low, high, float(ssim), float(means[1]), len(values)
    )


def format_rows(rows: Sequence[Row]) -> str:
    """Returns the rows as a table for the terminal.

    Args:
      rows: of `score_links`.
    """
    cells = [["", "PSNR (dB)", "added (dB)", "95 % interval", "SSIM (MATLAB)", "added"]]
    for row in rows:
        first = row.psnr_added is None
        interval = "" if row.low is None else f"[{row.low:+.2f}, {row.high:+.2f}]"
        cells.append(
            [
                row.link,
                f"{row.psnr:.2f}",
                "" if first else f"{row.psnr_added:+.2f}",
                interval,
                f"{row.ssim_matlab:.4f}",
                "" if first else f"{row.ssim_added:+.4f}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def write_csv(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """Writes the rows as CSV; a missing value is an empty field.

    Args:
      path: the file, replaced where it exists.
      rows: of `score_links`.
    """
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in rows:
            values = dataclasses.astuple(row)
            writer.writerow(["" if value is None else value for value in values])
