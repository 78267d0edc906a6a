"""The contents of a comparison: pictures, rows of the table, every score, and each row's cost.

A comparison is a table of rows (networks, chains, baselines) by blocks (kinds of degradation).
Every row has scores of the same pictures; only so can differences be paired. The folder of a
comparison keeps the restored pictures beside its numbers:

    OUTPUT/pictures/BLOCK/ROW/PICTURE.png    8-bit; the rows "input" and "sharp" among them
    OUTPUT/scores.csv, scores.json, index.html, grid.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restore_tf.errors import UserError

# Names of the rows that no network makes; "sharp" has pictures and no scores.
INPUT, UNSHARP, BICUBIC, SHARP = "input", "unsharp", "bicubic", "sharp"


@dataclass(frozen=True)
class Picture:
    """A test picture.

    Attributes:
      name: unique in its block, e.g. "GOPR0396_11_00/000001"; also its path in the folder.
      sequence: the video it is a frame of, or None. Frames of a video are not independent.
      size: (height, width) of the sharp picture in pixels.
    """

    name: str
    sequence: str | None
    size: tuple[int, int]


@dataclass(frozen=True)
class Block:
    """The test pictures of one kind of degradation.

    Attributes:
      name: as in the table's head and in paths, e.g. "synthetic_defocus".
      dataset: where they come from, see `restore_tf.datasets.sources`.
      config: of the data set.
      split: of the data set.
      pictures: in the order of their names.
    """

    name: str
    dataset: str
    config: str
    split: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Cost:
    """The cost of a row; None where it was not measured.

    Attributes:
      parameters: of what restores.
      training_parameters: of all networks that are trained, discriminators among them.
      gmacs_per_megapixel: 1e9 multiply-accumulates per 1e6 pixels of the input.
      evaluations: passes through the network per picture.
      seconds_per_megapixel: {"512x512": median}, float32, batch 1.
      peak_bytes: {"512x512": peak resident memory beyond the loaded network}.
    """

    parameters: int | None = None
    training_parameters: int | None = None
    gmacs_per_megapixel: float | None = None
    evaluations: int | None = None
    seconds_per_megapixel: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      name: unique; as in paths, e.g. "unet@synthetic_defocus", "maxim_deblurring_stage1".
      label: as printed, e.g. "U-Net".
      kind: "baseline" (input, unsharp, bicubic), "run", "published" or "chain".
      trained_on: name of a block, "all" for all blocks, or None: elsewhere, or not trained.
      training: what it was trained for, e.g. "2,000 steps of 4 x 96 x 96, 3 minutes"; "" if not.
      cost: see `Cost`.
      missing: why it has no scores, in a line; None where it has.
      links: names of the rows that a chain is made of, in order.
    """

    name: str
    label: str
    kind: str
    trained_on: str | None = None
    training: str = ""
    cost: Cost = Cost()
    missing: str | None = None
    links: Sequence[str] = ()


@dataclass(frozen=True)
class Point:
    """One setting of a network's knob, e.g. 4 steps of a sampler.

    Attributes:
      label: e.g. "4 steps" or "strength 0.5".
      scores: {block: {picture: {metric: value}}}.
    """

    label: str
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Curve:
    """A row at several settings of a knob, in their order; joined in the scatter.

    Attributes:
      row: name of the row; for blends of two outputs "A + B".
      knob: "steps", "samples", "strength" or "blend".
      points: see `Point`.
    """

    row: str
    knob: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Comparison:
    """All results of a comparison.

    Attributes:
      title: the page's head.
      blocks: kinds of degradation.
      rows: of the table, baselines first.
      metrics: names, see `evaluation.metric_names`.
      scores: {row: {block: {picture: {metric: value}}}} of every row that is not missing.
      budget: what each network might train for, as printed in the table's head.
      provenance: command, versions, hardware, commit, seed; strings or mappings of strings.
      absent: {metric: why} of those that could not be measured.
      curves: for the scatter.
      published: sentences with published numbers, each with protocol and source; a table of their
        own, never among ours.
      folder: the comparison's folder, which holds the pictures.
    """

    title: str
    blocks: Sequence[Block]
    rows: Sequence[Row]
    metrics: Sequence[str]
    scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
    budget: str
    provenance: Mapping[str, object]
    absent: Mapping[str, str] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    published: Sequence[Mapping[str, str]] = ()
    folder: Path = Path()

    def picture_path(self, block: str, row: str, picture: str) -> Path:
        """Returns the path of a restored picture's PNG file.

        Args:
          block: its name.
          row: its name; "input" and "sharp" too.
          picture: its name.
        """
        return self.folder / "pictures" / block / row / f"{picture}.png"

    def row(self, name: str) -> Row:
        """Returns a row by its name.

        Args:
          name: of the row.
        """
        return next(row for row in self.rows if row.name == name)


def check_complete(comparison: Comparison) -> None:
    """Checks that every row has scores of every picture.

    Differences are paired: a row that lacks a picture cannot be compared.

    Args:
      comparison: see `Comparison`.

    Raises:
      UserError: one lacks a picture (named).
    """
    for row in comparison.rows:
        for block in comparison.blocks if row.missing is None else ():
            known = comparison.scores.get(row.name, {}).get(block.name, {})
            for picture in block.pictures:
                if picture.name not in known:
                    raise UserError(
                        f"{row.name} has no scores of {block.name}/{picture.name}; all rows must "
                        "have the same pictures."
                    )
