#!/usr/bin/env python3
"""What sides and overlaps of blended tiles give, on pairs of pictures; and whether seams show.

A network that cannot be tiled exactly is run on every degraded picture whole, in blended tiles of
every side and overlap, and in tiles put beside each other without a blend, which shows what a seam
looks like in these numbers. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def read_pairs(folder, limit):
    """Pairs of equal names in the folders `folder`/blur and `folder`/sharp, as floats."""
    from restore_tf.pictures.files import read_rgb

    names = sorted(path.name for path in (Path(folder) / "blur").iterdir())[:limit]
    return [
        tuple(read_rgb(Path(folder) / kind / name) / np.float32(255) for kind in ("blur", "sharp"))
        for name in names
    ]


def blended(model, image, side, overlap):
    """Restores (h, w, 3) in blended tiles; returns it and where tiles begin and end."""
    from restore_tf.inference.blended_tiles import restore_blended
    from restore_tf.inference.restore import pad

    places = ([], [])

    class Watched:
        output_scale, size_multiple = model.output_scale, model.size_multiple

        @staticmethod
        def restore_padded(tile, seed, origins):
            for axis, borders in enumerate(places):
                start = int(origins[0, axis])
                borders += [start, start + tile.shape[1 + axis]]
            return model.restore_padded(tile, seed, origins)

    batch = pad(image[None], model)
    tile, shared = (side, side), (overlap, overlap)
    restored, _ = restore_blended(Watched, batch, tile, shared, step=model.blended_tile.step)
    return restored[0, : image.shape[0], : image.shape[1]], places, len(places[0]) // 2


def beside(model, image, side):
    """Restores the part of (h, w, 3) that whole tiles cover, each by itself, without a blend."""
    height, width = (length // side * side for length in image.shape[:2])
    restored = np.zeros((height, width, 3), np.float32)
    starts = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    for y, x in starts:
        tile = image[None, y : y + side, x : x + side]
        restored[y : y + side, x : x + side] = model.restore_padded(tile)[0]
    return restored, tuple([start[axis] for start in starts] for axis in (0, 1)), len(starts)


def seams(restored, whole, places):
    """Mean step of (restored - whole) between neighbouring lines: across borders / elsewhere.

    The difference has little of the picture's own edges. A seam is a step in it where a tile begins
    or ends.
    """
    error = restored - whole[: restored.shape[0], : restored.shape[1]]
    at, elsewhere = [], []
    for axis, borders in enumerate(places):
        steps = np.abs(np.diff(error, axis=axis)).mean(axis=(1 - axis, 2))
        inner = sorted({border for border in borders if 0 < border < error.shape[axis]})
        chosen = np.zeros(len(steps), bool)
        chosen[[border - 1 for border in inner]] = True
        at.append(steps[chosen])
        elsewhere.append(steps[~chosen])
    at = np.concatenate(at)
    return at.mean() / np.concatenate(elsewhere).mean() if at.size else float("nan")


def psnr(restored, sharp):
    """In dB of 8-bit pictures."""
    from restore_tf.evaluation import metrics
    from restore_tf.pictures.pixels import from_float

    part = sharp[: restored.shape[0], : restored.shape[1]]
    return metrics.psnr(*(from_float(picture, np.uint8) for picture in (part, restored)))


def measure(model, pairs, wholes, restore):
    """Mean PSNR, gain over the degraded picture, tiles, seams and seconds of a way to restore."""
    rows = []
    for (degraded, sharp), whole in zip(pairs, wholes, strict=True):
        begin = time.perf_counter()
        restored, places, count = restore(model, degraded)
        seconds = time.perf_counter() - begin
        part = degraded[: restored.shape[0], : restored.shape[1]]
        gain = psnr(restored, sharp) - psnr(part, sharp)
        rows.append((psnr(restored, sharp), gain, count, seams(restored, whole, places), seconds))
    return np.mean(rows, axis=0)


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", required=True, help="folders with blur/ and sharp/")
    parser.add_argument("--limit", type=int, help="only the first so many pairs of each folder")
    parser.add_argument("--weights", help="published weights or a run; by default what ships")
    parser.add_argument("--stages", type=int)
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 384, 512])
    parser.add_argument("--overlaps", nargs="+", type=int, default=[32, 64, 128])
    arguments = parser.parse_args()
    import restore_tf
    from restore_tf.inference.restore import restore

    options = {"stages": arguments.stages} if arguments.stages else {}
    model = restore_tf.load_model(*filter(None, [arguments.weights]), **options)
    pairs = [pair for folder in arguments.pairs for pair in read_pairs(folder, arguments.limit)]
    wholes = []

    def whole(model, image):
        wholes.append(restore(model, image, whole=True))
        return wholes[-1], ([], []), 1

    ways = {}
    for side in arguments.sides:
        for overlap in arguments.overlaps:
            ways[f"{side}, {overlap}"] = lambda m, i, s=side, o=overlap: blended(m, i, s, o)
    side = arguments.sides[0]
    ways[f"{side}, not blended"] = lambda m, i: beside(m, i, side)
    print(f"n = {len(pairs)}; degraded {np.mean([psnr(d, s) for d, s in pairs]):.2f} dB")
    print("| side, overlap | tiles | dB | gain, dB | steps across borders / elsewhere | s here |")
    print("|---|---|---|---|---|---|")
    for name, way in {"whole": whole, **ways}.items():
        references = wholes or [image for image, _ in pairs]  # the whole has no borders to look at
        score, gain, count, step, seconds = measure(model, pairs, references, way)
        print(
            f"| {name} | {count:.0f} | {score:.2f} | {gain:.2f} | {step:.2f} | {seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
