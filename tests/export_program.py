"""What `conformance_export_test.py` exports, in one process: python … FOLDER CASE,CASE…

For every case FOLDER/CASE gets a SavedModel and TFLite files, with the numbers that Keras and the
files give: networks that differ share one start of TensorFlow. What went wrong is written down, and
the others go on.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
from tiny_papers import FIRST, images, tiny

from restore_tf.experiments import experiment, papers
from restore_tf.export import jobs, samples, saved_model
from restore_tf.export.tflite import make
from restore_tf.inference.restore import restore
from restore_tf.inference.tflite_model import LiteModel

# Noise for any size takes operations that TFLite lacks. The other two take longest, and their
# operations for any size are shown by their SavedModels.
NO_ANY_SIZE = ("sampler", "diffusion", "maxim", "mprnet")


def in_this_process(module, function, scratch, **arguments):
    """`jobs.run_in_process` without a process of its own; the functions are the same."""
    return getattr(importlib.import_module(f"restore_tf.export.{module}"), function)(**arguments)


def write_saved_model(model, folder):
    """Writes a SavedModel, batches, and what `restore` makes of them."""
    saved_model.write(model, folder / "saved_model")
    batches = [images(model, 32, 64), images(model, 5, 33, count=1), images(model, 1, 1)]
    for index, batch in enumerate(batches):
        expected = np.stack([restore(model, image) for image in batch])
        np.savez(folder / f"batch{index}.npz", given=batch, expected=expected)


def write_tflite(run, model, folder, sizes):
    """Exports by `make.export`, and restores pictures by the files; returns the rows."""
    rows = make.export(
        run, {}, folder, sizes=sizes, kinds=["float32"], samples=samples.load(count=2)
    )
    random = np.random.default_rng(1)
    for row in rows:
        if row["written"]:
            height, width = row["size"] or (21, 45)
            picture = random.random((height, width, 3), np.float32)
            expected = restore(model, picture, whole=True)
            lite = LiteModel(folder / row["file"])
            larger = restore(lite, random.random((45, 50, 3), np.float32))
            np.savez(
                folder / f"{row['file']}.npz",
                expected=expected,
                found=restore(lite, picture),
                times_as_large=np.divide(larger.shape[:2], (45, 50)),
            )
    return rows


def export(case, folder):
    """Exports one case; returns the rows of its TFLite files."""
    recipe = tiny(case)
    model = experiment.build(recipe)
    experiment.write(folder / "run", recipe, {})
    model.save_weights(folder / "run" / "best.weights.h5")
    write_saved_model(model, folder)
    any_size = [None] if case in FIRST and not case.startswith(NO_ANY_SIZE) else []
    sizes = [(32, 64), *any_size]
    return write_tflite(folder / "run", model, folder, sizes)


def main(folder, cases):
    """Exports all cases and writes down how it went."""
    sys.path.insert(0, str(Path(__file__).with_name("toys")))
    papers.refresh()
    jobs.run_in_process = in_this_process
    told = {}
    for case in cases:
        place = folder / case.replace("/", "-")
        place.mkdir()
        try:
            told[case] = {"rows": export(case, place)}
        except Exception:
            told[case] = {"error": traceback.format_exc()}
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","))
