#!/usr/bin/env python3
"""Kills a training at random moments, many times, and compares it with one left in peace.

Both run the same command in deterministic mode. SIGKILL and SIGTERM take turns; after each the same
command is started again. At the end the weights must be equal bit by bit, and the script says how
many steps the kills cost. Exit code 1 where anything differs. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NETWORK = ("width=4", "res_blocks=1", "scales=2")


def write_pairs(folder):
    """Writes a few small pairs: reading them is quick, so that most of the time is training."""
    from PIL import Image, ImageFilter
    from skimage import data

    photo = data.astronaut()
    for index in range(12):
        sharp = Image.fromarray(photo[40 * index : 40 * index + 64, :64])
        for kind, picture in (("sharp", sharp), ("blur", sharp.filter(ImageFilter.BLUR))):
            path = Path(folder) / "pairs" / kind / "ab"[index % 2]
            path.mkdir(parents=True, exist_ok=True)
            picture.save(path / f"{index}.png")


def command(workdir, arguments):
    """Returns the training's command line."""
    pairs = Path(workdir).parent / "pairs"
    network = [f"--set=network.{value}" for value in NETWORK]
    return [
        *(sys.executable, "-m", "restore_tf.commands.train", "--model=srn", *network),
        *("--recipe=quick", "--dataset=folder", f"--data_dir={pairs}", "--cache"),
        *("--set=batch=2", "--set=crop=32", "--set=ema_momentum=0.9", "--deterministic"),
        *(f"--steps={arguments.steps}", f"--checkpoint_every={arguments.checkpoint_every}"),
        *("--validate_every=50", "--log_every=10", "--validation_pictures=1"),
        f"--workdir={workdir}",
    ]


def newest_step(workdir):
    """The step of the newest whole checkpoint, 0 before the first."""
    steps = [int(p.stem.split("-")[1]) for p in Path(workdir).glob("checkpoints/ckpt-*.index")]
    return max(steps, default=0)


def kill_many_times(workdir, arguments):
    """Runs to the end through all kills; returns one line for each."""
    chance, lines = random.Random(arguments.seed), []
    while len(lines) < arguments.kills:
        began = newest_step(workdir)
        process = subprocess.Popen(command(workdir, arguments), cwd=ROOT, stdout=subprocess.DEVNULL)
        while process.poll() is None and newest_step(workdir) <= began:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, arguments.seconds))
        number = signal.SIGKILL if len(lines) % 2 == 0 else signal.SIGTERM
        if process.poll() is not None:
            raise SystemExit("the training ended before the last kill; pass more --steps.")
        process.send_signal(number)
        process.wait()
        lines.append((number.name, began, newest_step(workdir)))
        name, began, ended = lines[-1]
        print(f"{len(lines):3d} {name}: from step {began} to {ended}", flush=True)
    subprocess.run(command(workdir, arguments), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def weights(workdir, which):
    """Returns a run's weights as arrays."""
    sys.path.insert(0, str(ROOT))
    import restore_tf

    return [w.numpy() for w in restore_tf.load_model(workdir, which).weights]


def main():
    """Runs the two trainings and compares them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--checkpoint_every", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="longest wait before a kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(folder)
        whole, broken = os.path.join(folder, "whole"), os.path.join(folder, "broken")
        kill_many_times(broken, arguments)
        subprocess.run(command(whole, arguments), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        different = sum(
            not np.array_equal(a, b)
            for which in ("latest", "best")
            for a, b in zip(weights(whole, which), weights(broken, which), strict=True)
        )
    print(f"{arguments.kills} kills in {arguments.steps} steps: {different} weights differ.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
