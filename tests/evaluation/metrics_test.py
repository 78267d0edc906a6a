"""Metrics against stored values of the reference protocols, scikit-image, SciPy and arithmetic."""

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.metrics import structural_similarity

from restore_tf.errors import UserError
from restore_tf.evaluation import metrics
from restore_tf.networks.keras_metrics import PSNR

PARITY = Path(__file__).parents[1] / "parity"
EXPECTED = json.loads((PARITY / "metrics_expected.json").read_text())
ALIGNED = [name for name, values in EXPECTED.items() if "realblur_aligned_psnr" in values]
EIGHT_BIT = [metrics.psnr, metrics.mse, metrics.ssim, metrics.ssim_matlab]


@pytest.fixture(scope="module")
def pairs():
    """{name: (sharp, restored)} of the parity file, uint8."""
    with np.load(PARITY / "metrics_images.npz", allow_pickle=False) as file:
        return {name: (file[f"{name}_sharp"], file[f"{name}_restored"]) for name in EXPECTED}


@pytest.fixture(scope="module")
def pair(pairs):
    """One small pair, uint8."""
    sharp, restored = pairs["coffee_gauss"]
    return sharp[:48, :56], restored[:48, :56]


@pytest.mark.parametrize("name", EXPECTED)
def test_parity(pairs, name):
    sharp, restored = pairs[name]
    expected = EXPECTED[name]
    assert metrics.psnr(sharp, restored) == pytest.approx(expected["psnr_rgb"], abs=1e-6)
    assert metrics.mse(sharp, restored) == pytest.approx(expected["mse"], abs=1e-6)
    assert metrics.ssim(sharp, restored) == pytest.approx(
        expected["skimage_ssim_gaussian"], abs=1e-6
    )
    # The stored value was computed in float32, which is up to 1e-4 away.
    assert metrics.ssim_matlab(sharp, restored) == pytest.approx(
        expected["ssim_matlab_rgb"], abs=2e-4
    )
    # Shows that our `ssim` is not scikit-image's default, a 7x7 box window, by accident.
    default = structural_similarity(sharp, restored, channel_axis=-1, data_range=255)
    assert default == pytest.approx(expected["skimage_ssim_default"], abs=1e-6)
    assert abs(default - metrics.ssim(sharp, restored)) > 1e-3


@pytest.mark.parametrize("name", ALIGNED)
def test_realblur_parity(pairs, name):
    cv2 = pytest.importorskip("cv2")
    # OpenCV 4 rounds the warp's coordinates to 1/32 pixel: 0.006 dB away, measured on 4.14.
    tolerance = 1e-3 if int(cv2.__version__.split(".")[0]) >= 5 else 1e-2
    score = metrics.realblur(*pairs[name])
    assert score.aligned
    assert score.psnr == pytest.approx(EXPECTED[name]["realblur_aligned_psnr"], abs=tolerance)
    assert score.ssim == pytest.approx(EXPECTED[name]["realblur_aligned_ssim"], abs=1e-4)


def test_ssim_matlab_is_the_3d_gaussian(pairs):
    """SciPy's own 3-D filter, written out, gives the same map as the mixed planes."""
    sharp, restored = (picture.astype(np.float64) for picture in pairs["astronaut_gauss"])

    def blur(volume):
        return ndimage.gaussian_filter(volume, 1.5, mode="nearest", radius=5)

    mean_x, mean_z = blur(sharp), blur(restored)
    var_x, var_z = blur(sharp**2) - mean_x**2, blur(restored**2) - mean_z**2
    covariance = blur(sharp * restored) - mean_x * mean_z
    c1, c2 = 6.5025, 58.5225
    upper = (2 * mean_x * mean_z + c1) * (2 * covariance + c2)
    lower = (mean_x**2 + mean_z**2 + c1) * (var_x + var_z + c2)
    assert metrics.ssim_matlab(*pairs["astronaut_gauss"]) == pytest.approx(
        float(np.mean(upper / lower)), abs=1e-10
    )


@pytest.mark.parametrize("metric", EIGHT_BIT)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_equal_uint8(pair, metric, dtype):
    sharp, restored = pair
    floats = (sharp / 255).astype(dtype), (restored / 255).astype(dtype)
    assert metric(*floats) == metric(sharp, restored)
    assert metric(sharp, floats[1]) == metric(sharp, restored)


def test_floats_are_clipped_and_rounded():
    sharp = np.zeros((4, 4, 3), np.uint8)
    # 1.6 / 255 rounds to 2; truncation would give 1. -0.5 clips to 0 and 1.5 to 255.
    assert metrics.mse(sharp, np.full((4, 4, 3), 1.6 / 255)) == 4.0
    assert metrics.mse(sharp, np.full((4, 4, 3), -0.5)) == 0.0
    assert metrics.mse(sharp, np.full((4, 4, 3), 1.5)) == 65025.0


def test_psnr_by_hand():
    sharp = np.full((4, 5), 100, np.uint8)
    restored = sharp + np.uint8(10)
    assert metrics.psnr(sharp, restored) == pytest.approx(10 * np.log10(65025 / 100), abs=1e-12)
    assert metrics.psnr(sharp, sharp) == float("inf")


@pytest.mark.parametrize("metric", EIGHT_BIT)
def test_gray_layouts_agree(pair, metric):
    gray = [picture[..., 1] for picture in pair]
    flat = metric(*gray)
    assert metric(*(picture[..., np.newaxis] for picture in gray)) == pytest.approx(flat, abs=1e-12)


def test_ssim_matlab_of_equal_channels_is_the_gray_one(pair):
    gray = [picture[..., 1] for picture in pair]
    # Every channel alike: averaging over the channel axis changes nothing.
    colour = [np.repeat(picture[..., np.newaxis], 3, axis=-1) for picture in gray]
    assert metrics.ssim_matlab(*colour) == pytest.approx(metrics.ssim_matlab(*gray), abs=1e-9)


def test_bfloat16_is_accepted(pair):
    sharp, restored = (picture / 255 for picture in pair)
    rounded = restored.astype(ml_dtypes.bfloat16)
    assert metrics.psnr(sharp, rounded) == metrics.psnr(sharp, rounded.astype(np.float64))


@pytest.mark.parametrize("metric", [*EIGHT_BIT, metrics.realblur])
def test_different_shapes_are_named(metric):
    if metric is metrics.realblur:
        pytest.importorskip("cv2")
    sharp, restored = np.zeros((20, 30, 3)), np.zeros((20, 32, 3))
    with pytest.raises(UserError, match=r"\(20, 30, 3\) and \(20, 32, 3\)"):
        metric(sharp, restored)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((2, 16, 16, 3)), "one picture at a time"),
        (np.zeros((16, 16, 4)), r"\(16, 16, 4\)"),
        (np.zeros((0, 16, 3)), r"\(0, 16, 3\)"),
        (np.zeros((16, 16, 3), np.int32), "got int32"),
        (np.full((16, 16, 3), np.nan), "768 of 768 values are NaN or infinite"),
        (np.full((16, 16, 3), 200.0), "found 200; divide by 255"),
    ],
)
def test_what_is_no_picture_is_refused(picture, message):
    with pytest.raises(UserError, match=message):
        metrics.psnr(picture, picture)


@pytest.mark.parametrize("metric", [metrics.ssim, metrics.ssim_matlab, metrics.realblur])
def test_too_small_for_the_window(metric):
    if metric is metrics.realblur:
        pytest.importorskip("cv2")
    small = np.zeros((10, 40, 3), np.uint8)
    with pytest.raises(UserError, match="at least 11x11 pixels, got 10x40"):
        metric(small, small)


def test_realblur_undoes_gain_and_shift(pairs):
    pytest.importorskip("cv2")
    sharp = pairs["astronaut_gauss"][0] / 255
    shifted = 0.8 * np.roll(sharp, (1, 2), axis=(0, 1))[:, 4:]
    score = metrics.realblur(sharp[:, 4:], shifted)
    # Unaligned, this pair reads 16 dB; aligned, only the rolled-in row differs.
    assert score.aligned
    assert score.psnr > 30
    assert score.psnr > metrics.psnr(sharp[:, 4:], shifted) + 10


def test_realblur_says_when_it_cannot_align():
    pytest.importorskip("cv2")
    ramp = np.tile(np.linspace(0.2, 0.8, 32), (32, 1))
    flat = np.full((32, 32), 0.25)  # nothing to align: ECC cannot converge
    score = metrics.realblur(ramp, flat)
    assert not score.aligned
    gain = ramp.mean() / 0.25
    error = np.mean((ramp - gain * flat) ** 2)
    assert score.psnr == pytest.approx(-10 * np.log10(error), abs=1e-4)


def test_realblur_without_opencv(pair, monkeypatch):
    real_import = builtins.__import__

    def no_opencv(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_opencv)
    with pytest.raises(UserError, match=r"pip install 'restore_tf\[eval\]'"):
        metrics.realblur(*pair)


def test_importing_the_metrics_loads_no_framework():
    code = (
        "import sys, restore_tf.evaluation.metrics as m; "
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'cv2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_keras_metric_equals_numpy(pairs):
    batches = [
        [picture[:64, :80].astype(np.float32) / 255 for picture in pairs[name]] for name in EXPECTED
    ]
    noise = np.random.default_rng(0).normal(0, 0.3, (64, 80, 3)).astype(np.float32)
    batches = [(sharp, restored + noise) for sharp, restored in batches]  # leaves [0, 1]
    expected = np.mean([metrics.psnr(*batch) for batch in batches])
    metric = PSNR()
    for start in (0, 4):  # batches of 4 and 2: the mean is over images, not over batches
        sharp, restored = (np.stack(side) for side in zip(*batches[start : start + 4], strict=True))
        metric.update_state(sharp, [np.zeros_like(sharp)[:, ::2, ::2], restored])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-4)
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_keras_metric_caps_and_weighs():
    sharp = np.zeros((2, 8, 8, 3), np.float32)
    restored = sharp.copy()
    restored[1] = 10 / 255
    metric = PSNR()
    metric.update_state(sharp, restored)
    by_hand = 10 * np.log10(65025 / 100)
    assert float(metric.result()) == pytest.approx((100 + by_hand) / 2, abs=1e-4)
    metric.reset_state()
    metric.update_state(sharp, restored, sample_weight=np.array([0.0, 1.0]))
    assert float(metric.result()) == pytest.approx(by_hand, abs=1e-4)


def test_keras_metric_in_bfloat16():
    """A bfloat16 output is rounded to 8 bit in float32, as the NumPy metric does."""
    random = np.random.default_rng(0)
    sharp = random.random((2, 16, 16, 3)).astype(np.float32)
    restored = keras.ops.cast(sharp + 0.01, "bfloat16")
    metric = PSNR()
    metric.update_state(sharp, restored)
    stored = keras.ops.convert_to_numpy(keras.ops.cast(restored, "float32"))
    expected = np.mean([metrics.psnr(*pair) for pair in zip(sharp, stored, strict=True)])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-4)


def test_keras_metric_refuses_to_broadcast():
    with pytest.raises(UserError, match=r"\(1, 8, 8, 3\) and \(1, 8, 8, 1\)"):
        PSNR().update_state(np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 1)))


def test_keras_metric_is_serialisable():
    config = keras.saving.serialize_keras_object(PSNR(name="sharpness"))
    assert keras.saving.deserialize_keras_object(config).name == "sharpness"


@pytest.mark.slow
def test_keras_metric_on_jax():
    pytest.importorskip("jax")
    code = (
        "import numpy as np; from restore_tf.networks.keras_metrics import PSNR; m = PSNR(); "
        "m.update_state(np.zeros((1, 4, 4, 3)), [np.full((1, 4, 4, 3), 10 / 255)]); "
        "print(float(m.result()))"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(10 * np.log10(65025 / 100), abs=1e-4)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(1).normal(30, 2, 50)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    low, high = metrics.bootstrap_interval(values)
    assert (low, high) == pytest.approx(tuple(expected), abs=0.1)
    assert metrics.bootstrap_interval(values) == (low, high)
    assert metrics.bootstrap_interval(values, seed=1) != (low, high)
    narrow = metrics.bootstrap_interval(values, confidence=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high


def test_bootstrap_of_two_values_by_hand():
    # Means are 0, 1/2 and 1 with chances 1/4, 1/2, 1/4: both ends lie inside 95 %.
    assert metrics.bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)
    assert metrics.bootstrap_interval([0.0, 1.0], confidence=0.3) == (0.5, 0.5)


def test_bootstrap_edges():
    inf = float("inf")
    assert metrics.bootstrap_interval([31.5]) == (31.5, 31.5)
    assert metrics.bootstrap_interval([inf, inf]) == (inf, inf)
    # With one inf among three, (2/3)^3 = 30 % of the resampled means are finite.
    low, high = metrics.bootstrap_interval([20.0, 30.0, inf])
    assert 20 <= low <= 30
    assert high == inf
    assert np.isnan(metrics.bootstrap_interval([1.0, float("nan")])).all()
    assert metrics.bootstrap_interval(value for value in (1.0, 1.0)) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "values"),
        ([1.0, 2.0], {"confidence": 95}, "confidence"),
        ([1.0, 2.0], {"resamples": 0}, "resamples"),
    ],
)
def test_bootstrap_refuses(values, options, message):
    with pytest.raises(UserError, match=message):
        metrics.bootstrap_interval(values, **options)
