"""Comparisons small enough for tests."""

import numpy as np
from PIL import Image, ImageFilter

from restore_tf.commands import compare
from restore_tf.commands.comparing import request as requests


def photos(folder, seed=0, count=3, side=48):
    """A folder of pairs as Restormer's downloads have them: scenes a and b; returns its path."""
    random = np.random.default_rng(seed)
    for scene in "ab":  # the second is held out
        for index in range(count):
            smooth = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
            sharp = Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC)
            for kind, picture in [
                ("input", sharp.filter(ImageFilter.GaussianBlur(2))),
                ("target", sharp),
            ]:
                (folder / kind / scene).mkdir(parents=True, exist_ok=True)
                picture.save(folder / kind / scene / f"{index}.png")
    return folder


def words(data, output, *more, models="onlyluma"):
    """The flags of a comparison of toys on a folder of `photos`."""
    chosen = [f"--models={models}"] if models else []
    return [
        *chosen,
        "--dataset=folder:one/validation",
        f"--data_dir=folder:one={data}",
        f"--output={output}",
        *"--steps=4 --batch=2 --crop=16 --metrics=psnr,gmsd --nocost --curves".split(),
        *more,
    ]


def request(*given):
    """The request of a command's flags."""
    values = compare.define_flags()
    positional = values(["compare", "--output=out", *given])[1:]
    return requests.read_flags(values, positional)


def run(*given):
    """Runs the command; returns its exit code."""
    return compare.main(["restore-tf compare", *map(str, given)])
