#!/usr/bin/env python3
"""Where weights help and where they harm: what a network for all photos must reach to be shipped.

PSNR gained over the degraded picture, on shots of held-out photos by kind, on pieces of real pairs,
and on pictures that need no help: noisy ones, JPEG files, pages of text. See README.md beside this
file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHOTS = {  # lines of shots: their kinds, and the decibels that weights must gain to ship
    "shaken": (("shake", "turn"), 1.0),
    "out of focus": (("defocus",), 2.0),
    "both": (("both",), None),
    "a near thing": (("depth",), None),
    "a moving thing": (("moving",), None),
}
REAL = 0.5  # decibels to gain on real pairs
MEAN_HARM, MOST_HARM = -0.1, -0.5  # decibels that pictures without blur may lose
PIECE = 256  # pixels: the largest side of a piece of a real pair
SIDES = (256, 384, 512)  # of photos that need no help, in pixels
UNSEEN = 2**20  # seeds of noise and of text, beyond those of training


class Line(NamedTuple):
    """Pairs of one kind.

    Attributes:
      name: of the line.
      pairs: [(degraded, sharp)], (height, width, 3) uint8.
      bar: the gain to reach in dB; None for none; "harm" where no picture may lose much.
    """

    name: str
    pairs: list
    bar: float | str | None


def shots(photos, count):
    """Lines of held-out shots of photos, `count` each at most; and their sharp pictures."""
    from restore_tf.datasets.synthetic import Synthetic

    # Every 20 in a row have all kinds; two of a kind the least.
    data = Synthetic("photo", "test", count=10 * count, folder=photos)
    lines = []
    for name, (kinds, bar) in SHOTS.items():
        chosen = [i for i, one in enumerate(data.names) if one.rsplit("-", 1)[1] in kinds]
        lines.append(Line(name, [data[index] for index in chosen[:count]], bar))
    return lines, [data[index][1] for index in range(count)]


def whole_photos(photos, count):
    """The held-out photos as a whole, each at several sizes: (side, side, 3) uint8."""
    from restore_tf.datasets.degradations import to_bytes, without_margin
    from restore_tf.datasets.sharp_pictures import Embedded, PhotoFolder

    pictures = Embedded() if photos is None else PhotoFolder(photos)
    found = {}
    for index in range(count):
        name = pictures.source("test", index)
        for side in SIDES:
            if name != "leaves" and (name, side) not in found:
                random = np.random.default_rng(UNSEEN + index)
                picture = pictures.picture(random, "test", index, (side, side), whole=True)
                found[name, side] = to_bytes(without_margin(picture))
    return list(found.values())[:count]


def unblurred(whole, crops):
    """Lines of photos that need no help, of pages of text, and of crops, which have no bar."""
    from restore_tf.datasets.degradations import jpeg, to_bytes
    from restore_tf.datasets.printed_text import printed_text

    def noisy(sharp, sigma, index):
        noise = np.random.default_rng(UNSEEN + index).normal(0, sigma, sharp.shape)
        return to_bytes((sharp + noise) / 255)

    numbered = list(enumerate(whole))
    seeds = range(UNSEEN, UNSEEN + len(crops))
    texts = [to_bytes(printed_text(np.random.default_rng(seed), 256, 256)) for seed in seeds]
    lines = {
        "sharp, noise of 2 levels": [(noisy(one, 2, i), one) for i, one in numbered],
        "noise of 10 levels": [(noisy(one, 10, i), one) for i, one in numbered],
        "JPEG of quality 90": [(jpeg(one, 90), one) for one in whole],
        "JPEG of quality 75": [(jpeg(one, 75), one) for one in whole],
        "text, noise of 2 levels": [(noisy(one, 2, i), one) for i, one in enumerate(texts)],
        "text, JPEG of quality 90": [(jpeg(one, 90), one) for one in texts],
    }
    noisy_crops = [(noisy(one, 2, i), one) for i, one in enumerate(crops)]
    return [
        *(Line(name, pairs, "harm") for name, pairs in lines.items()),
        Line("crops of 256, noise of 2 levels", noisy_crops, None),
    ]


def pieces(folder, count):
    """Pieces of the pairs of a folder, not overlapping, evenly chosen: [(degraded, sharp)]."""
    from restore_tf.errors import UserError
    from restore_tf.pictures.files import read_rgb

    found = []
    for path in sorted((folder / "blur").iterdir()):
        blurry, sharp = read_rgb(path), read_rgb(folder / "sharp" / path.name)
        if blurry.shape != sharp.shape:
            sizes = " and ".join(f"{one.shape[1]}x{one.shape[0]}" for one in (blurry, sharp))
            raise UserError(f"--pairs {path}: the pair has two sizes, {sizes} pixels")
        height, width = (min(PIECE, side) for side in sharp.shape[:2])
        for top in range(0, sharp.shape[0] - height + 1, height):
            for left in range(0, sharp.shape[1] - width + 1, width):
                cut = (slice(top, top + height), slice(left, left + width))
                found.append((blurry[cut], sharp[cut]))
    if not found:
        raise UserError(f"--pairs {folder / 'blur'}: holds no pictures")
    places = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [found[place] for place in places]


def load(name):
    """Weights by name, a run, or a file for devices."""
    if name.endswith(".tflite"):
        from restore_tf.inference.tflite_model import LiteModel

        return LiteModel(name)
    import restore_tf

    return restore_tf.load_model(name)


def gains(model, line):
    """Decibels gained on each pair, and the restored pictures."""
    from restore_tf.evaluation.metrics import psnr
    from restore_tf.inference.restore import restore

    restored = [restore(model, degraded) for degraded, _ in line.pairs]
    gained = [
        psnr(sharp, picture) - psnr(sharp, degraded)
        for picture, (degraded, sharp) in zip(restored, line.pairs, strict=True)
    ]
    return np.array(gained), restored


def verdict(line, gained):
    """(numbers, whether the bar is reached or None without one) of a line's gains."""
    from restore_tf.evaluation.metrics import bootstrap_interval

    low, high = bootstrap_interval(gained)
    numbers = {"n": len(gained), "mean": gained.mean(), "low": low, "high": high}
    numbers = {name: float(value) for name, value in {**numbers, "least": gained.min()}.items()}
    if line.bar == "harm":
        return numbers, bool(gained.mean() >= MEAN_HARM and gained.min() >= MOST_HARM)
    if line.bar is None:
        return numbers, None
    return numbers, bool(gained.mean() >= line.bar and low > 0)


def row(line, numbers, reached):
    """A row of the table."""
    from restore_tf.evaluation.metrics import psnr

    degraded = np.mean([psnr(sharp, blurry) for blurry, sharp in line.pairs])
    bars = {None: "", "harm": f">= {MEAN_HARM}, none < {MOST_HARM}"}
    bar = bars.get(line.bar) if line.bar in bars else f">= {line.bar}"
    gain = "{mean:+.2f} [{low:+.2f}, {high:+.2f}] | {least:+.2f}".format(**numbers)
    said = {None: "", True: "reached", False: "missed"}[reached]
    return f"| {line.name} | {numbers['n']:.0f} | {degraded:.2f} | {gain} | {bar} | {said} |"


def show(path, shown):
    """Writes degraded, restored, sharp of some lines: the pictures of least, median, most gain."""
    from PIL import Image, ImageDraw, ImageFont

    cells = []
    for line, gained, restored in shown:
        order = np.argsort(gained, kind="stable")
        for place in (order[0], order[len(order) // 2], order[-1]):
            degraded, sharp = line.pairs[place]
            strip = np.concatenate([degraded, restored[place], sharp], axis=1)
            cells.append((f"{line.name}: {gained[place]:+.2f} dB", Image.fromarray(strip)))
    width, height = (max(cell.size[axis] for _, cell in cells) for axis in (0, 1))
    sheet = Image.new("RGB", (3 * (width + 12), (height + 28) * (len(cells) // 3)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, cell) in enumerate(cells):
        left, top = index % 3 * (width + 12), index // 3 * (height + 28)
        draw.text((left, top + 2), caption, "black", ImageFont.load_default(16))
        sheet.paste(cell, (left, top + 24))
    sheet.save(path)


def checked(parser):
    """The arguments, with `pairs` as {name: folder}; ends with one line where one is wrong."""
    arguments = parser.parse_args()
    pairs = {}
    for word in arguments.pairs:
        name, mark, folder = word.partition("=")
        if name in pairs:
            parser.error(f"--pairs {word}: {name} is named twice")
        pairs[name] = Path(folder)
        if not mark or not all((pairs[name] / part).is_dir() for part in ("blur", "sharp")):
            parser.error(f"--pairs {word}: expected NAME=FOLDER with blur/ and sharp/ in it")
    arguments.pairs = pairs
    if arguments.count < 2:
        parser.error(f"--count {arguments.count}: expected at least 2")
    for flag in ("output", "pictures"):
        path = getattr(arguments, flag)
        if path and not Path(path).absolute().parent.is_dir():
            parser.error(f"--{flag} {path}: its folder does not exist")
    if arguments.pictures and Path(arguments.pictures).suffix.lower() not in (".png", ".jpg"):
        parser.error(f"--pictures {arguments.pictures}: expected a name in .png or .jpg")
    return arguments


def main():
    """Prints a table for each weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights", nargs="+", required=True, help="published weights, runs or .tflite files"
    )
    parser.add_argument("--photos", help="folder of sharp photos; by default the embedded ones")
    parser.add_argument(
        "--pairs", nargs="*", default=[], help="NAME=FOLDER with blur/ and sharp/, not trained on"
    )
    parser.add_argument("--count", type=int, default=24, help="the most pictures of a line")
    parser.add_argument("--output", help="JSON file of all gains")
    parser.add_argument("--pictures", help="picture of least, median, most gain; first weights'")
    arguments = checked(parser)
    from restore_tf.errors import UserError

    try:
        measure(arguments)
    except UserError as error:
        parser.error(str(error))


def measure(arguments):
    """Makes the lines, restores them by each weights, prints and writes what is found."""
    models = {name: load(name) for name in arguments.weights}
    lines, sharps = shots(arguments.photos, arguments.count)
    for name, folder in arguments.pairs.items():
        lines.append(Line(f"real: {name}", pieces(folder, arguments.count), REAL))
    lines += unblurred(whole_photos(arguments.photos, arguments.count), sharps)
    results, shown = {}, []
    for name, model in models.items():
        results[name] = {}
        print(f"{name}\n")
        print("| pictures | n | degraded, dB | gain, dB | least gain | bar | |")
        print("|---|---|---|---|---|---|---|")
        for line in lines:
            gained, restored = gains(model, line)
            numbers, reached = verdict(line, gained)
            print(row(line, numbers, reached), flush=True)
            results[name][line.name] = {**numbers, "reached": reached, "gains": gained.tolist()}
            if name == arguments.weights[0] and line.bar not in (None, "harm"):
                shown.append((line, gained, restored))
        print()
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(results, indent=1), encoding="utf-8")
    if arguments.pictures:
        show(arguments.pictures, shown)


if __name__ == "__main__":
    main()
