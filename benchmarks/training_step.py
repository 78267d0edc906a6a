#!/usr/bin/env python3
"""What the training loop costs beside the bare step, on this machine.

For each case two times of the same step: bare, on a batch that is already in memory, and as
`restore_tf.training.train` does it, with the data pipeline, the logs, a Keras callback and the
check of every loss. The two take turns of a few steps in one process, so that they meet the same
machine.
Startup is timed apart: a process of its own, from its start to the end of the first step.

Seconds are this machine's; the ratios are what to compare. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402

WARM = 2  # steps before the first turn: the first one compiles
IDLE = 3  # steps at the start of a turn that are not timed

# name: (model, recipe, changes of the network, changes of the recipe)
CASES = {
    "srn quick": ("srn", "quick", {}, {}),
    "srn width 16": ("srn", "gopro", {"width": 16, "res_blocks": 1}, {"batch": 4, "crop": 128}),
    "srn light": ("srn", "light", {}, {}),
    "srn tiny": ("srn", "tiny", {}, {}),
    "srn full": ("srn", "gopro", {}, {"batch": 1, "crop": 128}),
    "mprnet quick": ("mprnet", "quick", {}, {}),
    "mprnet full": ("mprnet", "gopro", {}, {"batch": 1, "crop": 64}),
}


def recipe_of(name):
    """Returns the experiment of a case, on the pictures that the package makes itself."""
    from restore_tf.experiments import experiment

    model, recipe, network, changes = CASES[name]
    made = experiment.load_recipe(model, recipe)
    return dataclasses.replace(
        made,
        network={**made.network, **network},
        dataset="synthetic",
        config="defocus",
        progressive=(),  # the bare step's batch is the loop's
        **changes,
    )


def measure(name, precision, arguments):
    """Returns quartiles over the turns: seconds of a bare step ("bare"), loop / bare step of the
    time that passes ("ratio") and of what the process computes ("cpu_ratio")."""
    from restore_tf.datasets import pairs, sources
    from restore_tf.experiments import experiment
    from restore_tf.training.loop import train_with
    from restore_tf.training.options import Options
    from restore_tf.training.tensorflow_engine import TensorFlowEngine

    recipe = recipe_of(name)
    source = sources.cached(sources.open_source("synthetic", "defocus", "train"))
    held_out = sources.open_source("synthetic", "defocus", "validation")
    options = Options(precision=precision, validate_every=10**9, checkpoint_every=10**9)
    batches = pairs.training_batches(
        source, crop=recipe.crop, batch=recipe.batch, steps=1, seed=0, augment=()
    )
    total = WARM + arguments.rounds * (IDLE + arguments.steps)
    short = dataclasses.replace(recipe, steps=total + 1, schedule_steps=recipe.steps)
    engine = TensorFlowEngine(short, options)
    turns = _Turns(engine, next(iter(batches)), arguments.steps)
    with tempfile.TemporaryDirectory() as workdir:
        experiment.write(workdir, short, {})
        train_with(engine, workdir, source, held_out, callbacks=[turns])
    return {name: statistics.quantiles(values, n=4) for name, values in turns.found.items()}


class _Turns(keras.callbacks.Callback):
    """Lets the loop and the bare step take turns, a few steps each: a CPU's speed drifts by a third
    within half a minute, and only what ran side by side can be compared.

    Both are one compiled function with one set of weights: a second network of its own would lie
    elsewhere in memory and, learning a single batch by heart, have other numbers to compute with.
    It looks at the beginnings of steps: at their ends Keras would fetch every loss for it.
    """

    def __init__(self, engine, batch, steps):
        super().__init__()
        self.engine, self.batch, self.steps = engine, batch, steps
        self.found = {"bare": [], "ratio": [], "cpu_ratio": []}
        self._begin = None

    def on_train_batch_begin(self, batch, logs=None):
        """Takes the times of a turn's end, and lets the bare step have its own."""
        if batch < WARM:  # so many steps are done
            return
        place = (batch - WARM) % (IDLE + self.steps)
        if place == IDLE:
            # Batches that were fetched during the other's turn are used up by now.
            self._begin = self._clocks_when_done()
        elif place == 0:
            loop = self._begin and _since(self._begin, self._clocks_when_done())
            self._bare_steps(IDLE)
            begin = self._clocks_when_done()
            self._bare_steps(self.steps)
            bare = _since(begin, self._clocks_when_done())
            if loop:
                self.found["bare"].append(bare[0] / self.steps)
                self.found["ratio"].append(loop[0] / bare[0])
                self.found["cpu_ratio"].append(loop[1] / bare[1])

    def _bare_steps(self, count):
        """Steps on the batch in memory, and nothing around them."""
        for _ in range(count):
            self.engine.step(self.batch)

    def _clocks_when_done(self):
        """The clocks when the device has done all that it was given."""
        self.model.trainable_variables[0].numpy()
        return _clocks()


def _clocks():
    return time.perf_counter(), time.process_time()


def _since(begin, end):
    """Seconds that passed, and seconds that the process' threads computed."""
    return [now - then for now, then in zip(end, begin, strict=True)]


def _quartiles(values):
    low, median, high = values
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def startup():
    """Returns seconds of a whole process that does one step, and of imports alone."""

    def seconds(*words):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as workdir:
        flags = ["--model=srn", "--steps=1", "--log_every=1", "--validation_pictures=1"]
        return {
            "import tensorflow, keras": seconds("-c", "import tensorflow, keras"),
            "import restore_tf.training.tensorflow_engine": seconds(
                "-c", "import restore_tf.training.tensorflow_engine"
            ),
            "train.py --steps 1": seconds("train.py", *flags, f"--workdir={workdir}"),
        }


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES, metavar="CASE")
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--steps", type=int, default=6, help="of a turn")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each, at least 2")
    parser.add_argument("--no-startup", action="store_true", help="leave the startup out")
    parser.add_argument("--output", help="also write the numbers as JSON")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # the process of one case
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds: expected at least 2; quartiles need several turns.")
    if arguments.case:
        name, precision = json.loads(arguments.case)
        print(json.dumps(measure(name, precision, arguments)))
        return
    results = []
    print("Medians, in brackets the quartiles.\n")
    print("| case | precision | loop / bare step | the same, CPU time | s here: bare step |")
    print("|---|---|---|---|---|")
    for name in arguments.cases:
        for precision in arguments.precisions:
            own = [f"--{key}={getattr(arguments, key)}" for key in ("steps", "rounds")]
            case = json.dumps([name, precision])
            done = subprocess.run(
                [sys.executable, __file__, *own, f"--case={case}"],
                check=True,
                capture_output=True,
                text=True,
            )
            found = json.loads(done.stdout.strip().splitlines()[-1])
            results.append({"case": name, "precision": precision, **found})
            cells = [_quartiles(found[key]) for key in ("ratio", "cpu_ratio", "bare")]
            print(f"| {name} | {precision} | {' | '.join(cells)} |", flush=True)
    times = {} if arguments.no_startup else startup()
    if times:
        first = times["import tensorflow, keras"]
        print("\n| startup | / import tensorflow, keras | s here |\n|---|---|---|")
    for what, seconds in times.items():
        print(f"| {what} | {seconds / first:.2f} | {seconds:.1f} |")
    if arguments.output:
        content = {"steps": results, "startup": times}
        Path(arguments.output).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
