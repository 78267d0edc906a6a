"""Networks, losses and training on Keras' JAX and PyTorch backends, where no TensorFlow is.

The weights come from the parity files, read here under TensorFlow; each backend runs in one process
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
import pretrained_files
import pytest
from tiny_training import rows, some_batch, weights

from restore_tf.networks import losses, noise, pretrained
from restore_tf.weights.run import FIT_STATE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PARITY = Path(__file__).parents[1] / "parity"
SRN_STAGES = ("scale3", "scale2", "scale1")
MPRNET_STAGES = ("stage1", "stage2", "stage3")
MAXIM_STAGES = ("stage1_scale3", "stage1_scale2", "stage1_scale1")
MPRNET = {"n_feat": 12, "scale_unetfeats": 4, "scale_orsnetfeats": 8, "num_cab": 3}
LOSSES = [
    "l1 + 2*mse",
    "sobel",
    "charbonnier + 0.05*edge + 0.1*frequency",
    "multi_scale_charbonnier",
    "perceptual:mobilenet_v3_small",
    *(["perceptual_l1:vgg16"] if pretrained.is_installed() else []),
]
# {numbers: (class, arguments, checkpoint, names of the stages)}; see tests/parity/README.md. JAX
# compiles MAXIM and MPRNet for long, so there is one stage of MAXIM, and MPRNet once, with local
# attention: the means of global attention are MAXIM's, too.
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
    "mprnet_local_small_wide_io": (
        "mprnet_tf.model.MPRNet",
        {**MPRNET, "local_attention": 32},
        "mprnet_local_small.pth",
        MPRNET_STAGES,
    ),
    "maxim_small_io": (
        "maxim_tf.model.MAXIM",
        {
            "features": 4,
            "num_stages": 2,
            "stages": 1,
            "num_groups": 1,
            "num_bottleneck_blocks": 2,
            "block_size_hr": 4,
            "block_size_lr": 2,
        },
        "maxim_small.npz",
        MAXIM_STAGES,
    ),
    "srcnn_seed_small_io": (
        "baselines_tf.srcnn.SRCNN",
        {"channels": 3, "kernels": (9, 3, 1, 5), "filters": (8, 4, 4)},
        "srcnn_seed_9315_small.pth",
        ("output_replicate_9315",),
    ),
    "dncnn_small_io": (
        "baselines_tf.dncnn.DnCNN",
        {"depth": 8, "width": 16, "bias": "all"},
        "dncnn_small.pth",
        ("output",),
    ),
    "unet_seed_small_io": ("seed_unet.SeedUNet", {"width": 4}, "unet_seed_small.pth", ("output",)),
    "edsr_small_x4_io": (
        "baselines_tf.edsr.EDSR",
        {"scale": 4, "features": 16, "blocks": 4, "residual_scale": 0.1},
        "edsr_small_x4.pth",
        ("output",),
    ),
    "deblurgan_fpn_small_io": (
        "deblurgan_tf.model.DeblurGANv2",
        {"stem": 4, "channels": [2, 3, 4, 8, 12, 20], "pyramid": 16, "heads": 8},
        "deblurgan_fpn_small.pth",
        ("output",),
    ),
    "deblurgan_resnet_small_io": (
        "deblurgan_tf.model.DeblurGAN",
        {"width": 8, "blocks": 3},
        "deblurgan_resnet_small.pth",
        ("output",),
    ),
}


def load(kind, arguments, checkpoint):
    """Returns {name: array} of a parity checkpoint's weights, as our network keeps them."""
    module, _, kind = kind.rpartition(".")
    model = getattr(importlib.import_module(module), kind)(**arguments)
    model.build()
    convert = importlib.import_module(module.replace("model", "convert"))
    convert.load_checkpoint(model, PARITY / checkpoint)
    return {name: variable.numpy() for name, variable in convert.name_map(model).items()}


@pytest.fixture(scope="module", params=["jax", "torch"])
def done(request, tmp_path_factory):
    """Where `worker_backend.py` ran on a backend, and what it wrote down."""
    backend = request.param
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder = tmp_path_factory.mktemp(backend)
    for name, (kind, arguments, checkpoint, _) in CASES.items():
        np.savez(folder / f"{name}_weights.npz", **load(kind, arguments, checkpoint))
        images = np.load(PARITY / f"{name}.npz")["input"]
        np.save(folder / f"{name}.npy", images if images.ndim == 4 else images[None])
    numbers = np.load(PARITY / "mprnet_losses_io.npz")
    for name in ("sharp", "restored"):
        np.save(folder / f"{name}.npy", numbers[name])
    pretrained_files.mobilenet(folder / "mobilenet.weights.h5")
    program = (
        "import sys; sys.modules['tensorflow'] = None  # importing it fails\n"
        "import worker_backend; worker_backend.main(*sys.argv[1:])"
    )
    cases = json.dumps({name: case[:2] for name, case in CASES.items()})
    child = subprocess.run(
        [sys.executable, "-c", program, str(folder), cases, json.dumps(LOSSES)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            # Compiling takes most of the time, and these programs run for milliseconds.
            "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes",
            pretrained.MOBILENET_VARIABLE: str(folder / "mobilenet.weights.h5"),
        },
    )
    assert child.returncode == 0, child.stderr
    said = json.loads((folder / "done.json").read_text())
    assert said["backend"] == backend
    return folder, said | {"output": child.stdout}


def test_outputs_equal_the_published_behaviour(done):
    folder, said = done
    expected = float(np.load(PARITY / "mprnet_losses_io.npz")["total"])
    assert said["loss"] == pytest.approx(expected, rel=1e-5)
    for name, case in CASES.items():
        numbers, found = np.load(PARITY / f"{name}.npz"), np.load(folder / f"{name}_stages.npz")
        for index, stage in enumerate(case[-1]):
            expected = numbers[stage]
            tolerance = 1e-5 * np.ptp(expected)
            result = found[f"arr_{index}"].reshape(expected.shape)
            np.testing.assert_allclose(
                result, expected, rtol=0, atol=tolerance, err_msg=f"{name}, {stage}"
            )


def test_losses_equal_those_on_tensorflow(done, monkeypatch):
    folder, said = done
    monkeypatch.setenv(pretrained.MOBILENET_VARIABLE, str(folder / "mobilenet.weights.h5"))
    sharp, restored = (np.load(folder / f"{name}.npy") for name in ("sharp", "restored"))
    for text in LOSSES:
        expected = losses.get(text)(sharp, [restored])
        np.testing.assert_allclose(said["losses"][text], expected, rtol=1e-5, err_msg=text)


def test_fit_minimises_a_loss_that_draws_noise(done):
    """The toy sampler's, as in `keras_fit_test.py`; two steps over the same batch."""
    folder, said = done
    degraded, sharp, seeds = some_batch()
    level = np.asarray(noise.uniform_per_image(seeds))[:, None, None, None]
    noisy = degraded + level * np.asarray(noise.normal(degraded.shape, seeds, draw=1))
    kernel, bias, losses_ = np.eye(3), np.zeros(3), []
    for _ in range(2):
        error = sharp - (noisy + 0.1 * (noisy @ kernel + bias))
        losses_.append(np.mean(error**2))
        bias = bias + 0.1 * 0.2 * error.mean(axis=(0, 1, 2)) / 3
        slope = np.einsum("bhwi,bhwo->io", noisy, error) / error[..., 0].size
        kernel = kernel + 0.1 * 0.2 * slope / 3
    np.testing.assert_allclose(said["fit"]["loss"], losses_, rtol=1e-5)
    np.testing.assert_allclose(said["fit"]["bias"], bias, atol=1e-7)
    np.testing.assert_allclose(said["fit"]["kernel"], kernel, atol=1e-6)


def test_the_command(done):
    folder, said = done
    assert said["exit code"] == 0
    assert "Done: 4 steps" in said["output"]
    for which in ("best", "latest"):
        assert all(np.isfinite(w).all() for w in weights(folder / "command", which))


def test_a_resumed_run_equals_an_uninterrupted_one(done):
    folder, said = done
    assert said["broken off at"] == 3
    paths = [folder / run / "checkpoints" / FIT_STATE for run in ("whole", "parts")]
    whole, parts = map(np.load, paths)
    assert whole.files == parts.files
    assert any(name.startswith("average/") for name in whole.files)
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_keras_callbacks_last_the_whole_training(done):
    folder, said = done
    # The first validation is the best; every later one halves the rate, and the third ends it.
    assert said["stopped at"] == 4
    rates = [float(row["learning_rate"]) for row in rows(folder / "callbacks") if row["loss"]]
    np.testing.assert_allclose(rates, [1e-12, 1e-12, 5e-13, 2.5e-13], rtol=1e-5)


def test_training_shows_no_lines_of_tensorflows(tmp_path):
    """Where it is installed, Keras imports it whatever the backend, to seed it."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    words = ["--model=srcnn", "--steps=1", "--set=batch=2", "--set=network.filters=(2,2)"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words, "--workdir", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert (done.returncode, done.stderr) == (0, "")
