"""A comparison as `scores.csv` and `scores.json`, and read from the latter."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from restore_tf.errors import UserError
from restore_tf.evaluation.comparison.resampling import RESAMPLES, SEED, Estimate
from restore_tf.evaluation.comparison.results import (
    Block,
    Comparison,
    Cost,
    Curve,
    Picture,
    Point,
    Row,
)
from restore_tf.evaluation.comparison.statistics import BlockStatistics, scored_rows
from restore_tf.evaluation.report import CONFIDENCE, open_text, strict_json

SCORES = "scores.json"
_FORM = 1


def write_csv(path: str | os.PathLike, comparison: Comparison) -> None:
    """Writes every score on a line of its own: row, block, picture, metric, value.

    Args:
      path: of the file.
      comparison: see `Comparison`.
    """
    with open_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "block", "picture", "metric", "value"])
        for row in scored_rows(comparison):
            for block in comparison.blocks:
                for picture in block.pictures:
                    scores = comparison.scores[row][block.name][picture.name]
                    for metric in (name for name in comparison.metrics if name in scores):
                        value = repr(float(scores[metric]))
                        writer.writerow([row, block.name, picture.name, metric, value])


def write_json(
    path: str | os.PathLike, comparison: Comparison, found: Mapping[str, BlockStatistics]
) -> None:
    """Writes the whole comparison but its folder, with its statistics.

    Strict JSON knows no infinity: such numbers are the strings "inf" and "-inf".

    Args:
      path: of the file.
      comparison: see `Comparison`.
      found: of `statistics.analyse`.
    """
    content = asdict(comparison)
    del content["folder"]
    content = {
        "form": _FORM,
        **content,
        "statistics": {
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
            "blocks": {name: _statistics(block) for name, block in found.items()},
        },
    }
    with open_text(path) as file:
        json.dump(strict_json(content), file, indent=1, allow_nan=False)
        file.write("\n")


def read(folder: str | os.PathLike) -> Comparison:
    """Returns the comparison in a folder.

    Args:
      folder: of a finished comparison.

    Raises:
      UserError: the folder holds none, or a damaged one.
    """
    path = Path(folder) / SCORES
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form"] != _FORM:
            raise UserError(f"{path}: of another version of restore_tf; compare again.")
        return _comparison(content, Path(folder))
    except OSError:
        raise UserError(
            f"{path}: no such file; expected the folder of a finished comparison."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: is not the scores of a comparison; run the comparison again."
        ) from None


def _statistics(block):
    return {
        "pictures": block.pictures,
        "sequences": block.sequences,
        "means": {
            row: {metric: _estimate(cell) for metric, cell in cells.items()}
            for row, cells in block.means.items()
        },
        "gains": {
            row: {
                metric: {**_estimate(gain.difference), "better": gain.better}
                for metric, gain in gains.items()
            }
            for row, gains in block.gains.items()
        },
        "links": {
            row: {
                link: {metric: _estimate(cell) for metric, cell in cells.items()}
                for link, cells in links.items()
            }
            for row, links in block.links.items()
        },
        "winners": {metric: ranking.winner for metric, ranking in block.rankings.items()},
        "ties": {metric: ranking.ties for metric, ranking in block.rankings.items()},
        "kendall_tau": {" ".join(pair): tau for pair, tau in block.agreement.items()},
        "disagreements": [each._asdict() for each in block.disagreements],
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return estimate._asdict()


def _comparison(content, folder):
    return Comparison(
        title=content["title"],
        blocks=tuple(_block(block) for block in content["blocks"]),
        rows=tuple(
            Row(**{**row, "cost": Cost(**row["cost"]), "links": tuple(row["links"])})
            for row in content["rows"]
        ),
        metrics=tuple(content["metrics"]),
        scores=_numbers(content["scores"]),
        budget=content["budget"],
        provenance=content["provenance"],
        absent=content["absent"],
        curves=tuple(
            Curve(
                curve["row"],
                curve["knob"],
                tuple(Point(p["label"], _numbers(p["scores"])) for p in curve["points"]),
            )
            for curve in content["curves"]
        ),
        published=tuple(content["published"]),
        folder=folder,
    )


def _block(block):
    pictures = tuple(
        Picture(picture["name"], picture["sequence"], tuple(picture["size"]))
        for picture in block["pictures"]
    )
    return Block(**{**block, "pictures": pictures})


def _numbers(scores):
    """Nested scores as floats: "inf" among them was text in the file."""
    if isinstance(scores, Mapping):
        return {name: _numbers(below) for name, below in scores.items()}
    return float(scores)
