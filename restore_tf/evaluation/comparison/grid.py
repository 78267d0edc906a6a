"""Crops of every row side by side: which pictures, which places, and the drawing.

Nothing is chosen by hand. A block shows the picture on which networks differ most, the median
picture, the one on which PSNR and LPIPS disagree most, and each network's worst. A crop lies where
the networks' outputs differ most.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from restore_tf.errors import UserError
from restore_tf.evaluation import score
from restore_tf.evaluation.comparison.results import INPUT, SHARP, Comparison
from restore_tf.evaluation.comparison.statistics import BlockStatistics, opposed, sign
from restore_tf.evaluation.comparison.table import label_of, score_text
from restore_tf.pictures.decoding import Picture
from restore_tf.pictures.files import encode, read_rgb
from restore_tf.pictures.planes import enlarged_to

CROP = 192  # pixels
_STEP = 8  # pixels between the places that are tried for a crop
_SCALES = (1, 2, 3)
_GAP, _MARGIN, _LINE, _LARGEST = 8, 16, 18, 60_000
_PAPER, _INK, _SOFT = (250, 250, 250), (28, 32, 36), (96, 101, 108)


@dataclass(frozen=True)
class Choice:
    """A picture of the grid.

    Attributes:
      block: its name.
      picture: its name.
      reasons: the rules that chose it.
      corner: (top, left) of the crop in the picture.
      crops: {row: (height, width, 3) uint8}: all that are scored, in the table's order, and sharp.
      scores: {row: {metric: value}} of the crops.
    """

    block: str
    picture: str
    reasons: Sequence[str]
    corner: tuple[int, int]
    crops: Mapping[str, np.ndarray]
    scores: Mapping[str, Mapping[str, float]]

    @functools.cached_property
    def pngs(self) -> dict[str, bytes]:
        """{row: its crop as a PNG file}."""
        return {row: encode(Picture(pixels), ".png") for row, pixels in self.crops.items()}


def select(
    comparison: Comparison, found: Mapping[str, BlockStatistics], crop: int = CROP, seed: int = 0
) -> list[Choice]:
    """Returns the pictures that the rules choose, with their crops, block by block.

    Args:
      comparison: its folder holds the pictures; without any, nothing is chosen.
      found: of `statistics.analyse`.
      crop: side in pixels; of smaller pictures the whole is shown.
      seed: decides between pictures that a rule finds equal.

    Raises:
      UserError: `crop` is too small, or some of the pictures are missing.
    """
    if crop < 16:
        raise UserError(f"crop: expected at least 16 pixels, got {crop}.")
    if not (comparison.folder / "pictures").is_dir():
        return []
    chosen = [
        (block, picture, reasons)
        for block, statistics in found.items()
        for picture, reasons in rules(comparison, statistics, seed).items()
    ]
    return [
        cut(comparison, block, picture, reasons, crop)
        for block, picture, reasons in progress(chosen, "grid")
    ]


def progress(items: Sequence, what: str):
    """Yields items under a progress bar, which only a terminal shows.

    Args:
      items: to go through.
      what: label of the bar.
    """
    return tqdm(items, what, unit="picture", disable=None, leave=False)


def networks(comparison: Comparison, found: BlockStatistics) -> list[str]:
    """Returns the names of the rows that networks make.

    Args:
      comparison: see `Comparison`.
      found: statistics of one block.
    """
    return [row for row in found.rows if comparison.row(row).kind != "baseline"]


def rules(comparison: Comparison, found: BlockStatistics, seed: int = 0) -> dict[str, list[str]]:
    """Returns {picture: why it is chosen}; see the head of the module.

    Args:
      comparison: see `Comparison`.
      found: statistics of one block.
      seed: decides between pictures that a rule finds equal.
    """
    block = next(block for block in comparison.blocks if block.name == found.block)
    names = [picture.name for picture in block.pictures]
    order = np.random.default_rng(seed).permutation(len(names))
    metric = found.opposed[0] if found.opposed else next(iter(found.values))
    made = networks(comparison, found) or list(found.rows)
    table = np.nan_to_num(found.values[metric][[found.rows.index(row) for row in made]], posinf=99)
    chosen: dict[str, list[str]] = {}

    def add(index, reason):
        chosen.setdefault(names[index], []).append(reason)

    def largest(values):
        return int(order[np.argmax(np.asarray(values)[order])])

    if len(made) > 1:
        add(largest(table.std(axis=0)), "largest spread between models")
    middle = table.mean(axis=0)
    add(largest(-np.abs(middle - np.median(middle))), "the median picture")
    if found.disagreements:
        first, second = (score_name(metric) for metric in found.opposed or ())
        picture = found.disagreements[0].picture
        add(names.index(picture), f"largest disagreement of {first} and {second}")
    worst: dict[int, list[str]] = {}
    for row, values in zip(made, table, strict=True):
        worst.setdefault(largest(-sign(metric) * values), []).append(label_of(comparison, row))
    for index, labels in worst.items():
        every = 1 < len(labels) == len(made)
        add(index, f"the worst of {'every model' if every else ' and of '.join(labels)}")
    return chosen


def shown(comparison: Comparison, choice: Choice) -> list[str]:
    """Returns the rows that the grid shows: the input, the networks, sharp.

    Args:
      comparison: see `Comparison`.
      choice: a picture of the grid.
    """
    return [
        row
        for row in choice.crops
        if row in (INPUT, SHARP) or comparison.row(row).kind != "baseline"
    ]


def cut(
    comparison: Comparison, block: str, picture: str, reasons: Sequence[str], crop: int = CROP
) -> Choice:
    """Returns the crops of one picture, where the networks' outputs differ most.

    Args:
      comparison: its folder holds the pictures.
      block: its name.
      picture: its name.
      reasons: the rules that chose it.
      crop: side in pixels; smaller pictures are not cut.

    Raises:
      UserError: a picture is missing, or not as large as the sharp one.
    """
    sharp = _read(comparison, block, SHARP, picture)
    rows = {row.name: row for row in comparison.rows if row.missing is None}
    pictures = {}
    for row in rows:
        pixels = enlarged_to(_read(comparison, block, row, picture), sharp.shape[:2])
        if pixels.shape != sharp.shape:
            path = comparison.picture_path(block, row, picture)
            raise UserError(f"{path}: is not as large as the sharp picture; restore it again.")
        pictures[row] = pixels
    seen = [pictures[row] for row in rows if rows[row].kind != "baseline"]
    corner = place(seen if len(seen) > 1 else [*pictures.values(), sharp], crop)
    kept = tuple(slice(start, start + crop) for start in corner)
    crops = {row: np.ascontiguousarray(pixels[kept]) for row, pixels in pictures.items()}
    crops[SHARP] = np.ascontiguousarray(sharp[kept])
    measured = [name for name in comparison.metrics if name not in comparison.absent]
    metrics = opposed(measured) or measured[:1]
    scores = {
        row: score.score(crops[SHARP], pixels, metrics)[0]
        for row, pixels in crops.items()
        if row != SHARP
    }
    return Choice(block, picture, list(reasons), corner, crops, scores)


def place(pictures: Sequence[np.ndarray], crop: int) -> tuple[int, int]:
    """Returns (top, left) of the square in which pictures differ most, of those 8 pixels apart.

    Args:
      pictures: two or more of one size, (height, width, 3) uint8.
      crop: side of the square in pixels.
    """
    total = np.zeros(pictures[0].shape[:2], np.float32)
    squares = np.zeros_like(total)
    for picture in pictures:
        gray = sum(picture[..., channel].astype(np.float32) for channel in range(3)) / 3
        total += gray
        squares += gray * gray
    spread = squares / len(pictures) - (total / len(pictures)) ** 2
    sums = np.pad(spread.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    tops, lefts = (np.arange(0, max(1, side - crop + 1), _STEP) for side in spread.shape)
    bottoms, rights = (
        np.minimum(starts + crop, side)
        for starts, side in zip((tops, lefts), spread.shape, strict=True)
    )
    inside = (
        sums[np.ix_(bottoms, rights)]
        - sums[np.ix_(tops, rights)]
        - sums[np.ix_(bottoms, lefts)]
        + sums[np.ix_(tops, lefts)]
    )
    top, left = np.unravel_index(np.argmax(inside), inside.shape)
    return int(tops[top]), int(lefts[left])


def score_name(metric: str) -> str:
    """Returns a metric's short name, as in captions.

    Args:
      metric: its name.
    """
    return score_text(0, metric).rpartition(" ")[0]


def column_label(comparison: Comparison, row: str) -> str:
    """Returns the head of a column of crops.

    Args:
      comparison: see `Comparison`.
      row: its name.
    """
    return "sharp" if row == SHARP else label_of(comparison, row)


def draw(comparison: Comparison, chosen: Sequence[Choice], scale: int = 1) -> np.ndarray:
    """Draws the grid, one picture per line: degraded, the networks, sharp.

    Args:
      comparison: for the labels.
      chosen: of `select`, at least one.
      scale: 1, 2 or 3: how often each pixel is repeated.

    Returns:
      (height, width, 3) uint8.

    Raises:
      UserError: a scale that is not 1, 2 or 3, or a grid too large to draw.
    """
    if scale not in _SCALES:
        raise UserError(f"scale: expected 1, 2 or 3, got {scale}.")
    side_y = scale * max(each.crops[SHARP].shape[0] for each in chosen)
    side_x = max(96, scale * max(each.crops[SHARP].shape[1] for each in chosen))
    lines = 1 + max(len(values) for each in chosen for values in each.scores.values())
    columns = max(len(shown(comparison, each)) for each in chosen)
    height = 2 * _LINE + side_y + lines * _LINE + _GAP
    size = (_MARGIN + columns * (side_x + _GAP) + _MARGIN, 2 * _MARGIN + len(chosen) * height)
    if max(size) > _LARGEST:
        raise UserError(f"grid: would be {size[0]} x {size[1]} pixels; choose a smaller scale.")
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, choice in enumerate(chosen):
        top = _MARGIN + index * height
        head = f"{choice.block}, {choice.picture}: {'; '.join(choice.reasons)}"
        pen.text((_MARGIN, top), _fitted(pen, head, size[0] - 2 * _MARGIN), _INK, _font(14))
        for column, row in enumerate(shown(comparison, choice)):
            left = _MARGIN + column * (side_x + _GAP)
            label = _fitted(pen, column_label(comparison, row), side_x)
            pen.text((left, top + _LINE), label, _INK, _font(13))
            pixels = choice.crops[row].repeat(scale, axis=0).repeat(scale, axis=1)
            sheet.paste(Image.fromarray(pixels), (left, top + 2 * _LINE))
            below = top + 2 * _LINE + side_y + 2
            for line, (metric, value) in enumerate(choice.scores.get(row, {}).items()):
                text = _fitted(pen, score_text(value, metric), side_x)
                pen.text((left, below + line * _LINE), text, _SOFT, _font(13))
    return np.asarray(sheet)


def _read(comparison, block, row, picture):
    path = comparison.picture_path(block, row, picture)
    if not path.is_file():
        raise UserError(f"{path}: no such picture; run the comparison again.")
    return read_rgb(path)


def _fitted(pen, text, room):
    """The text, or as much of it as there is room for."""
    fitted = text
    while len(fitted) > 2 and pen.textlength(fitted, _font(13)) > room:
        fitted = fitted.rstrip("…")[:-1] + "…"
    return fitted


@functools.cache
def _font(size):
    return ImageFont.load_default(size)
