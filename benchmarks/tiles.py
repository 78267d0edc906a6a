#!/usr/bin/env python3
"""Time and peak memory of restoring large pictures in tiles, per megapixel; and what tiles change.

Every picture is restored in a process of its own, by `restore_tf.restore` with a memory limit, as
`restore.py --memory` does. "peak" is the whole process, Linux' high-water mark. With --deviation
the script restores one picture whole and in tiles of several sizes instead, and says how far apart
they are. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# name: (model, recipe, changes of the network)
NETWORKS = {
    "srn": ("srn", "gopro", {}),
    "srn_gray": ("srn_gray", "gopro", {}),
    "srn light": ("srn", "quick", {}),
    "mprnet": ("mprnet", "gopro", {}),
    "mprnet light": ("mprnet", "quick", {}),
}


def network(name, local_attention=None):
    """Returns a network with random weights, none of them zero."""
    import keras

    from restore_tf.experiments import experiment

    model, recipe, changes = NETWORKS[name]
    made = experiment.load_recipe(model, recipe)
    changes = {**changes, **({"local_attention": local_attention} if local_attention else {})}
    keras.utils.set_random_seed(0)
    built = experiment.build(dataclasses.replace(made, network={**made.network, **changes}))
    for variable in built.trainable_variables:
        if not np.any(variable.numpy()):  # a network that starts as the identity shows nothing
            variable.assign(np.random.default_rng(0).normal(size=variable.shape) * 0.01)
    return built


def picture(height, width):
    """Returns a photo of that size, (height, width, 3) uint8: scikit-image's, mirrored on."""
    from skimage import data

    photo = data.astronaut()
    tiles = [-(-side // part) for side, part in zip((height, width), photo.shape, strict=False)]
    row = np.concatenate([photo[:, :: (-1) ** i] for i in range(tiles[1])], axis=1)
    whole = np.concatenate([row[:: (-1) ** i] for i in range(tiles[0])])
    return whole[:height, :width]


def peak_memory():
    """Returns the process' high-water mark in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e3


def restore_one(case):
    """Restores one picture; returns seconds, megapixels and peak MB."""
    from restore_tf.inference import memory, restore

    model = network(case["network"])
    width = round((case["megapixels"] * 1e6 * 4 / 3) ** 0.5)
    image = picture(round(width * 3 / 4), width)
    restore.restore(model, image[:64, :64])  # what the loaded network takes
    loaded = peak_memory()
    limit = memory.memory_limit(case["memory"])
    batch = restore.pad(image[None], model)
    chosen = memory.plan(model, batch, limit)
    begin = time.perf_counter()
    restore.restore(model, image, memory=case["memory"])
    return {
        **case,
        "tile": chosen.tile,
        "seconds": time.perf_counter() - begin,
        "peak_mb": peak_memory(),
        "loaded_mb": loaded,
        "planned_mb": chosen.bytes / 1e6,
    }


def deviation(name, run, image, tiles, local_attention):
    """Prints by how much tiles differ from the whole picture, for a trained run or at random."""
    from restore_tf.inference import restore
    from restore_tf.weights.run import load_model

    image = image.astype(np.float32) / 255
    name = "mprnet" if run and "mprnet" in run else name
    print("| network | attention | tile | PSNR between them, dB | mean | largest, of 255 levels |")
    print("|---|---|---|---|---|---|")
    for crop in [None, *([local_attention] if name.startswith("mprnet") else [])]:
        model = load_model(run, local_attention=crop) if run else network(name, crop)
        whole = restore.restore(model, image, memory=2**60)
        for tile in tiles:
            tiled = restore.restore(model, image, tile=tile)
            difference = 255 * np.abs(tiled - whole)
            square = np.mean((tiled - whole) ** 2)
            psnr = "equal" if square == 0 else f"{10 * np.log10(1 / square):.1f}"
            attention = f"local, crop {crop}" if crop else "global"
            print(
                f"| {name} | {attention} | {tile} | {psnr} | {difference.mean():.3f} | "
                f"{difference.max():.2f} |",
                flush=True,
            )


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["srn light"], choices=NETWORKS)
    parser.add_argument("--megapixels", nargs="+", type=float, default=[1, 12, 50])
    parser.add_argument("--memory_gb", type=float, default=4.0)
    parser.add_argument("--deviation", action="store_true")
    parser.add_argument("--size", default="512x768", help="HEIGHTxWIDTH of --deviation")
    parser.add_argument("--tiles", nargs="+", type=int, default=[128, 256, 384, 512])
    parser.add_argument("--local_attention", type=int, default=256)
    parser.add_argument("--run", help="a trained run for --deviation, in place of random weights")
    parser.add_argument("--picture", help="its upper left part is used in place of a photo of ours")
    parser.add_argument("--output", help="also write the numbers as JSON")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # the process of one picture
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(restore_one(json.loads(arguments.case))))
        return
    if arguments.deviation:
        size = [int(side) for side in arguments.size.split("x")]
        image = picture(*size)
        if arguments.picture:
            from restore_tf.pictures.files import read_rgb

            image = read_rgb(arguments.picture)[: size[0], : size[1]]
        for name in arguments.networks:
            deviation(name, arguments.run, image, arguments.tiles, arguments.local_attention)
        return
    print("| network | megapixels | tile | s per megapixel, / first | peak GB | s here |")
    print("|---|---|---|---|---|---|")
    results = []
    for name in arguments.networks:
        first = None
        for megapixels in arguments.megapixels:
            case = {
                "network": name,
                "megapixels": megapixels,
                "memory": int(arguments.memory_gb * 1e9),
            }
            done = subprocess.run(
                [sys.executable, __file__, f"--case={json.dumps(case)}"],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            result = json.loads(done.stdout.strip().splitlines()[-1])
            results.append(result)
            each = result["seconds"] / megapixels
            first = first or each
            print(
                f"| {name} | {megapixels:g} | {result['tile'] or 'whole'} | {each / first:.2f} | "
                f"{result['peak_mb'] / 1e3:.2f} | {result['seconds']:.1f} |",
                flush=True,
            )
            if arguments.output:
                Path(arguments.output).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
