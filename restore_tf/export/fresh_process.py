"""Runs an exported SavedModel in a fresh process with TensorFlow and without this package.

A server needs a SavedModel that loads without the code that wrote it. The process loads it as a
TensorFlow 1 session and runs its signatures by their SignatureDef, as `tensorflow_model_server`
does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.system.quiet import NEEDLESS

_PROGRAM = """
import sys
absent, *words = sys.argv[1:]
sys.modules.update(dict.fromkeys(absent.split(",")))  # importing one of them is now an error
import numpy as np, tensorflow as tf
def answers_of(directory, given):
    answers = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], directory).signature_def
        def outputs_of(name, value):
            (source,), (target,) = loaded[name].inputs.values(), loaded[name].outputs.values()
            return session.run(target.name, {source.name: value})
        for key in given.files:
            if key.startswith("images"):
                answers[key] = outputs_of("serving_default", given[key])
        files = [given[key].tobytes() for key in given.files if key.startswith("file")]
        for index, file in enumerate(outputs_of("serving_bytes", files) if files else []):
            answers[f"file{index:04}"] = np.frombuffer(file, np.uint8)
    return answers
for directory, given, found in zip(words[::3], words[1::3], words[2::3]):
    np.savez(found, **answers_of(directory, np.load(given)))
"""


def run_saved_model(
    directory: str | os.PathLike, images: Sequence[np.ndarray], files: Sequence[bytes] = ()
) -> tuple[list[np.ndarray], list[bytes]]:
    """Runs both signatures of a SavedModel in a fresh process.

    Args:
      directory: the SavedModel, as `saved_model.write` makes it.
      images: batches for `serving_default`, each (batch, height, width, channels) float32.
      files: bytes of JPEG or PNG files, for one call of `serving_bytes`.

    Returns:
      The restored batches, float32, and the restored PNG files.

    Raises:
      UserError: the process failed; with the last line that it printed.
    """
    return run_saved_models([(directory, images, files)])[0]


def run_saved_models(requests: Sequence[tuple]) -> list[tuple[list[np.ndarray], list[bytes]]]:
    """Runs several SavedModels, one after another, in one fresh process.

    Args:
      requests: arguments of `run_saved_model` for each.

    Returns:
      A result of `run_saved_model` for each.

    Raises:
      UserError: the process failed; names the SavedModel that it failed at.
    """
    with tempfile.TemporaryDirectory() as scratch:
        words, found = [], []
        for number, (directory, *given) in enumerate(requests):
            paths = [Path(scratch) / f"{kind}{number}.npz" for kind in ("given", "found")]
            np.savez(paths[0], **_named(*given))
            words += [str(Path(directory).resolve()), *map(str, paths)]
            found.append(paths[1])
        absent = [*packages(), *NEEDLESS]
        done = subprocess.run(
            # -I: neither the current folder nor PYTHONPATH is looked into.
            [sys.executable, "-I", "-c", _PROGRAM, ",".join(absent), *words],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=scratch,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            failed = requests[sum(path.exists() for path in found)][0]
            raise UserError(f"{failed}: does not run in a fresh process ({said[-1][:300]}).")
        return [_answers(path) for path in found]


def _named(images, files=()):
    """The input of `_PROGRAM`, as {name: array}."""
    named = {f"images{i:04}": batch for i, batch in enumerate(images)}
    return named | {f"file{i:04}": np.frombuffer(file, np.uint8) for i, file in enumerate(files)}


def _answers(path):
    """The output of `_PROGRAM`: restored batches and encoded files."""
    with np.load(path) as found:
        restored = [found[key] for key in sorted(found.files) if key.startswith("images")]
        encoded = [found[key] for key in sorted(found.files) if key.startswith("file")]
    return restored, [array.tobytes() for array in encoded]


def packages() -> list[str]:
    """Returns the packages that a SavedModel must not need: this one, the papers', and Keras."""
    modules = (papers.find(name).__name__ for name in papers.names())
    return sorted({"restore_tf", "keras", "tf_keras", *(m.partition(".")[0] for m in modules)})
