"""The networks and losses on Keras' JAX and PyTorch backends, where no TensorFlow is installed.

The weights come from the parity files, read here under TensorFlow; each backend runs in a process
of its own that cannot import TensorFlow.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PARITY = Path(__file__).parents[1] / "parity"
SRN_STAGES = ("scale3", "scale2", "scale1")
MPRNET_STAGES = ("stage1", "stage2", "stage3")
MPRNET = {"n_feat": 12, "scale_unetfeats": 4, "scale_orsnetfeats": 8, "num_cab": 3}
# {numbers: (class, arguments, checkpoint, names of the stages)}; see tests/parity/README.md.
CASES = {
    "srn_lstm_small_io": (
        "srn_tf.model.SRN",
        {"channels": 1, "width": 4},
        "srn_lstm_small",
        SRN_STAGES,
    ),
    "srn_color_small_io": (
        "srn_tf.model.SRN",
        {"channels": 3, "recurrent": False, "width": 4},
        "srn_color_small",
        SRN_STAGES,
    ),
    "mprnet_small_io": ("mprnet_tf.model.MPRNet", MPRNET, "mprnet_small.pth", MPRNET_STAGES),
    "mprnet_local_small_io": (
        "mprnet_tf.model.MPRNet",
        {**MPRNET, "local_attention": 32},
        "mprnet_local_small.pth",
        MPRNET_STAGES,
    ),
    "mprnet_local_small_wide_io": (
        "mprnet_tf.model.MPRNet",
        {**MPRNET, "local_attention": 32},
        "mprnet_local_small.pth",
        MPRNET_STAGES,
    ),
}
CHILD = """
import importlib, json, sys
sys.modules["tensorflow"] = None  # importing it fails
import keras
import numpy as np
from restore_tf import losses

# The weights come from files; JAX would compile their initialisation for every shape.
for kind in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
    kind.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
folder, cases = json.loads(sys.argv[1])
for name, (kind, arguments) in cases.items():
    module, _, kind = kind.rpartition(".")
    model = getattr(importlib.import_module(module), kind)(**arguments)
    model.built = True  # its build would run the network, which JAX compiles piece by piece
    model(keras.KerasTensor((1, model.size_multiple, model.size_multiple, model.channels)))
    variables = importlib.import_module(module.replace("model", "convert")).name_map(model)
    weights, images = np.load(f"{folder}/{name}_weights.npz"), np.load(f"{folder}/{name}.npy")
    assert set(variables) == set(weights)
    for key, variable in variables.items():
        variable.assign(weights[key])
    np.savez(f"{folder}/{name}_stages.npz", *model.predict_on_batch(images))
sharp, restored = (np.load(f"{folder}/{name}.npy") for name in ("sharp", "restored"))
total = losses.charbonnier_edge(keras.ops.array(sharp), [keras.ops.array(restored)])
print(keras.backend.backend(), float(keras.ops.mean(total)))
"""


def load(kind, arguments, checkpoint):
    """Returns {name: array} of a parity checkpoint's weights, as our network keeps them."""
    module, _, kind = kind.rpartition(".")
    model = getattr(importlib.import_module(module), kind)(**arguments)
    model.build()
    convert = importlib.import_module(module.replace("model", "convert"))
    convert.load_checkpoint(model, PARITY / checkpoint)
    return {name: variable.numpy() for name, variable in convert.name_map(model).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights and inputs of every case."""
    folder = tmp_path_factory.mktemp("backends")
    for name, (kind, arguments, checkpoint, _) in CASES.items():
        np.savez(folder / f"{name}_weights.npz", **load(kind, arguments, checkpoint))
        images = np.load(PARITY / f"{name}.npz")["input"]
        np.save(folder / f"{name}.npy", images if images.ndim == 4 else images[None])
    numbers = np.load(PARITY / "mprnet_losses_io.npz")
    for name in ("sharp", "restored"):
        np.save(folder / f"{name}.npy", numbers[name])
    return folder


def where_installed(package):
    missing = importlib.util.find_spec(package) is None
    marks = pytest.mark.skipif(missing, reason=f"{package} is not installed")
    return pytest.param(package, marks=marks)


@pytest.mark.parametrize("backend", [where_installed("jax"), where_installed("torch")])
def test_outputs_equal_the_published_behaviour(backend, folder):
    cases = {name: case[:2] for name, case in CASES.items()}
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([str(folder), cases])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert child.returncode == 0, child.stderr
    used, total = child.stdout.splitlines()[-1].split()
    assert used == backend
    expected_total = float(np.load(PARITY / "mprnet_losses_io.npz")["total"])
    assert float(total) == pytest.approx(expected_total, rel=1e-5)
    for name, case in CASES.items():
        numbers, found = np.load(PARITY / f"{name}.npz"), np.load(folder / f"{name}_stages.npz")
        for index, stage in enumerate(case[-1]):
            expected = numbers[stage]
            tolerance = 1e-5 * np.ptp(expected)
            result = found[f"arr_{index}"].reshape(expected.shape)
            np.testing.assert_allclose(
                result, expected, rtol=0, atol=tolerance, err_msg=f"{name}, {stage}"
            )
