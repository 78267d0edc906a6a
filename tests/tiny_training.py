"""A training small enough for a test, and what tests look at after it."""

import csv
import dataclasses
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image, ImageFilter

from restore_tf.datasets import sources
from restore_tf.experiments import experiment, papers
from restore_tf.training import loop
from restore_tf.training.options import Options
from restore_tf.weights.load import load_model


@pytest.fixture(scope="module", autouse=True)
def toys():
    """Announces the papers of tests/toys to the tests of a module that imports this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).with_name("toys")))
        papers.refresh()
        yield
    papers.refresh()


def toy(name, **changes):
    """The recipe of a toy paper."""
    return dataclasses.replace(experiment.load_recipe(name, "tiny"), **changes)


def simple(**changes):
    """A recipe of one convolution, for what is the same with every network; needs `toys`."""
    return toy("onlyluma", **({"steps": 6, "batch": 2} | changes))


def light(**changes):
    """A recipe of two narrow convolutions, which trace in a tenth of a small SRN's time."""
    recipe = experiment.load_recipe("plain", "quick")
    network = {**recipe.network, "filters": (4,)}
    changes = {"network": network, "steps": 6, "batch": 2, "crop": 16} | changes
    return dataclasses.replace(recipe, **changes)


def tiny(**changes):
    """A recipe of a small SRN, for what needs several scales or a recurrence."""
    recipe = experiment.load_recipe("srn", "quick")
    network = {**recipe.network, "width": 4, "res_blocks": 0, "scales": 2}
    changes = {"network": network, "steps": 6, "batch": 2, "crop": 16} | changes
    return dataclasses.replace(recipe, **changes)


def source(count=6, side=24):
    """Pairs of noise, and of noise on it."""
    random = np.random.default_rng(0)
    sharp = random.integers(0, 256, (count, side, side, 3), np.uint8)
    degraded = np.clip(sharp.astype(int) + random.integers(-20, 20, sharp.shape), 0, 255)
    return sources.MemorySource(
        [f"p{i}" for i in range(count)], zip(degraded.astype(np.uint8), sharp, strict=True)
    )


def some_batch(count=2, side=16):
    """Random (degraded, sharp, seeds)."""
    random = np.random.default_rng(0)
    images = [random.random((count, side, side, 3)).astype(np.float32) for _ in range(2)]
    return *images, np.array([[0, number] for number in range(count)], np.int32)


def folders(path, count=6, side=64):
    """Writes small pairs as two folders; returns the flags of train.py that name them."""
    random = np.random.default_rng(0)
    for scene in "ab":  # the second is held out
        for index in range(count):
            smooth = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
            sharp = Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC)
            pictures = {"degraded": sharp.filter(ImageFilter.GaussianBlur(2)), "sharp": sharp}
            for kind, picture in pictures.items():
                folder = path / kind / scene
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(folder / f"{index}.png")
    kinds = {"degraded_dir": "degraded", "sharp_dir": "sharp"}
    return ["--dataset=folder", *(f"--{flag}={path / kind}" for flag, kind in kinds.items())]


def run(
    workdir,
    recipe=None,
    training_source=None,
    strategy="one",
    callbacks=(),
    engine=None,
    validation=None,
    **options,
):
    """Trains into a folder, under a strategy or one of that name; returns the `Result`.

    engine: None for TensorFlow's, or the class of another.
    """
    recipe = recipe or tiny()
    options = {"validate_every": 3, "checkpoint_every": 2, "log_every": 2} | options
    pairs = training_source or source(), validation or source(3)
    if engine:
        experiment.write(workdir, recipe, {"seed": options.get("seed", 0)})
        return loop.train_with(engine(recipe, Options(**options)), workdir, *pairs, callbacks)
    from restore_tf.training import strategies  # TensorFlow's

    if isinstance(strategy, str):
        strategy = strategies.make_strategy(strategy)
    if strategies.is_chief(strategy):
        experiment.write(workdir, recipe, {"seed": options.get("seed", 0)})
    return loop.train(recipe, workdir, *pairs, Options(**options), strategy, callbacks)


class At(keras.callbacks.Callback):
    """Calls a function in the middle of the n-th step of this run."""

    def __init__(self, step, function):
        super().__init__()
        self.left, self.function = step, function

    def on_train_batch_begin(self, batch, logs=None):
        """Counts the steps."""
        self.left -= 1
        if self.left == 0:
            self.function()


def stop_at(workdir, step, *args, **options):
    """Runs until a SIGTERM in the middle of step `step`."""
    stop = At(step, lambda: signal.raise_signal(signal.SIGTERM))
    result = run(workdir, *args, callbacks=[stop], **options)
    assert not result.finished
    return result


class Killed(BaseException):
    """Ends a run as abruptly as a process' end would."""


def kill_at(workdir, step, *args, **options):
    """Runs until the middle of step `step`, and saves nothing more."""

    def kill():
        raise Killed

    try:
        run(workdir, *args, callbacks=[At(step, kill)], **options)
    except Killed:
        return
    raise AssertionError("it ended before that step")


def weights(workdir, which="latest"):
    """What load_model gives, as arrays."""
    return [w.numpy() for w in load_model(workdir, which).weights]


def saved(workdir):
    """{name: array} of every variable in the newest checkpoint but TensorFlow's own counter."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(workdir / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if "/.ATTRIBUTES/" in name]
    return {name: reader.get_tensor(name) for name in names if not name.startswith("save_")}


def assert_equal_weights(first, second, **tolerance):
    """Bit by bit, without a tolerance."""
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, **({"rtol": 0, "atol": 0} | tolerance))


def rows(workdir):
    """The rows of metrics.csv."""
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))
