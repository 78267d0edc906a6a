"""A training small enough for a test, and what tests look at after it."""

import csv
import dataclasses
import os
import signal

import numpy as np
import pytest
from PIL import Image, ImageFilter

from restore_tf.datasets import sources
from restore_tf.experiments import experiment
from restore_tf.training import loop as training
from restore_tf.training import strategies
from restore_tf.training.options import Options
from restore_tf.weights.load import load_model


def tiny(**changes):
    """A recipe of three seconds."""
    recipe = experiment.load_recipe("srn", "quick")
    network = {**recipe.network, "width": 4, "res_blocks": 1, "scales": 2}
    changes = {"network": network, "steps": 6, "batch": 2, "crop": 16} | changes
    return dataclasses.replace(recipe, **changes)


def source(count=6, side=24):
    """Pairs of noise, and of noise on it."""
    random = np.random.default_rng(0)
    sharp = random.integers(0, 256, (count, side, side, 3), np.uint8)
    blurry = np.clip(sharp.astype(int) + random.integers(-20, 20, sharp.shape), 0, 255)
    return sources.MemorySource(
        [f"p{i}" for i in range(count)], zip(blurry.astype(np.uint8), sharp, strict=True)
    )


def folders(path, count=6, side=64):
    """Writes small pairs as two folders; returns the flags of train.py that name them."""
    random = np.random.default_rng(0)
    for scene in "ab":  # the second is held out
        for index in range(count):
            smooth = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
            sharp = Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC)
            pictures = {"blurry": sharp.filter(ImageFilter.GaussianBlur(2)), "sharp": sharp}
            for kind, picture in pictures.items():
                folder = path / kind / scene
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(folder / f"{index}.png")
    kinds = {"degraded_dir": "blurry", "sharp_dir": "sharp"}
    return ["--dataset=folder", *(f"--{flag}={path / kind}" for flag, kind in kinds.items())]


def run(workdir, recipe=None, training_source=None, strategy="one", callbacks=(), **options):
    """Trains into a folder, under a strategy or one of that name; returns the `Result`."""
    recipe = recipe or tiny()
    options = {"validate_every": 3, "checkpoint_every": 2, "log_every": 2} | options
    if isinstance(strategy, str):
        strategy = strategies.make_strategy(strategy)
    if strategies.is_chief(strategy):
        experiment.write(workdir, recipe, {"seed": options.get("seed", 0)})
    return training.train(
        recipe,
        workdir,
        training_source or source(),
        source(3),
        Options(**options),
        strategy,
        callbacks,
    )


def stop_at(workdir, step, *args, **options):
    """Runs until a SIGTERM in the middle of step `step`."""
    original = training.RunLog.advance
    seen = []

    def advance(log):
        seen.append(None)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        original(log)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.RunLog, "advance", advance)
        result = run(workdir, *args, **options)
    assert not result.finished
    return result


def weights(workdir, which="latest"):
    """What load_model gives, as arrays."""
    return [w.numpy() for w in load_model(workdir, which).weights]


def assert_equal_weights(first, second, **tolerance):
    """Bit by bit, without a tolerance."""
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, **({"rtol": 0, "atol": 0} | tolerance))


def rows(workdir):
    """The rows of metrics.csv."""
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))
