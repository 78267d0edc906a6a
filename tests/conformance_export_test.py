"""Every paper's networks, in a tiny form, as SavedModel and TFLite: equal to the Keras network.

A file of its own, so that it runs beside `conformance_test.py`.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_papers import EXPORTED, REPRESENTED, tiny
from tiny_training import toys as toys

from restore_tf.experiments import experiment
from restore_tf.export import fresh_process

HERE = Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the first exports all networks


@functools.cache
def operations(case):
    """The kinds of operations in a network's graph for pictures of any size."""
    network = experiment.build(tiny(case))
    images = tf.TensorSpec((1, None, None, network.channels), tf.float32)
    graph = tf.function(network.restore_batch).get_concrete_function(images).graph
    definition = graph.as_graph_def()
    functions = [node for function in definition.library.function for node in function.node_def]
    return {node.op for node in [*definition.node, *functions]}


@pytest.mark.parametrize("case", REPRESENTED)
def test_exports_of_others_stand_for_it(case, toys):
    assert set(REPRESENTED[case]) <= set(EXPORTED)
    assert operations(case) <= set().union(*map(operations, REPRESENTED[case]))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Where `export_program.py` exported the networks, and how it went."""
    folder = tmp_path_factory.mktemp("exported")
    words = [sys.executable, str(HERE / "export_program.py"), str(folder), ",".join(EXPORTED)]
    path = os.pathsep.join([str(HERE.parent), *filter(None, sys.path)])
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads((folder / "told.json").read_text())


@functools.cache
def saved_model_results(folder):
    """What every SavedModel of a folder makes of its batches, in one fresh process."""
    places = sorted(path.parent for path in folder.glob("*/saved_model"))

    def batches(place):
        return [np.load(place / f"batch{index}.npz")["given"] for index in range(3)]

    requests = [(place / "saved_model", batches(place)) for place in places]
    found = fresh_process.run_saved_models(requests)
    return dict(zip(places, found, strict=True))


@pytest.mark.parametrize("case", EXPORTED)
def test_saved_model_in_a_fresh_process(case, exported):
    folder, told = exported
    assert "error" not in told[case], told[case]["error"]
    place = folder / case.replace("/", "-")
    restored, _ = saved_model_results(folder)[place]
    for index, found in enumerate(restored):
        expected = np.load(place / f"batch{index}.npz")["expected"]
        tolerance = 1e-5 * max(1, np.ptp(expected))  # untrained pictures may lie far from [0, 1]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", EXPORTED)
def test_tflite_gives_keras_numbers(case, exported):
    """A file of fixed size; of a paper's first network one for any size, too."""
    folder, told = exported
    assert "error" not in told[case], told[case]["error"]
    for file in told[case]["rows"]:
        assert file["reason"] is None
        numbers = np.load(folder / case.replace("/", "-") / f"{file['file']}.npz")
        expected = numbers["expected"]
        tolerance = 1e-4 * max(1, np.ptp(expected))
        np.testing.assert_allclose(numbers["found"], expected, rtol=0, atol=tolerance)
        scale = experiment.construct(tiny(case)).output_scale
        assert list(numbers["times_as_large"]) == [scale, scale]  # a picture larger than the file
