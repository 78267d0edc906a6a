"""A process with a live iterator over Python functions must end."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The iterator stays in a global variable, with calls under way when the script ends.
SCRIPT = """
import atexit, threading
import numpy as np
import tensorflow as tf
from restore_tf.datasets.python_calls import python_call

begun, ends = threading.Event(), threading.Event()

def slow(number):
    if number >= 6:  # beyond the two batches that are made
        begun.set()
        ends.wait()
    return [np.full((2,), number, np.int64)]

dataset = tf.data.Dataset.counter().map(
    lambda number: python_call(slow, [number], [tf.TensorSpec((None,), tf.int64)])[0],
    num_parallel_calls=4
)
iterator = iter(dataset.batch(3).prefetch(2))
print(next(iterator).numpy().tolist())
begun.wait()
atexit.register(ends.set)  # before what was registered earlier
"""


def test_a_process_with_a_live_iterator_ends():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[0, 0], [1, 1], [2, 2]]"
