"""The embedded data set: its optics against hand calculation, its splits against each other."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.color.colorconv
import skimage.data
import skimage.metrics

import restore_tf.errors
from restore_tf.datasets import kernels, sharp_pictures
from restore_tf.datasets.dead_leaves import dead_leaves
from restore_tf.datasets.sharp_pictures import SPLITS
from restore_tf.datasets.synthetic import Synthetic
from restore_tf.errors import UserError

SMALL = (40, 56)


def run_python(code: str) -> str:
    """Runs code in a process of its own and returns what it prints."""
    root = Path(restore_tf.errors.__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


def to_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(255 * image).astype(np.uint8)


def moments(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centroid and variances of a kernel along (row, column), from its middle pixel."""
    offsets = np.stack(np.mgrid[: len(kernel), : len(kernel)]) - len(kernel) // 2
    centroid = (kernel * offsets).sum(axis=(1, 2))
    return centroid, (kernel * (offsets - centroid[:, None, None]) ** 2).sum(axis=(1, 2))


def row_kernel(*weights: float) -> np.ndarray:
    kernel = np.zeros((len(weights), len(weights)))
    kernel[len(weights) // 2] = weights
    return kernel


def degrade(sharp, kernel, **options):
    return kernels.degrade(np.float32(sharp), kernel, np.random.default_rng(0), **options)


# Light.


@pytest.mark.parametrize(
    ("encoded", "linear"),
    [(0, 0), (1, 1), (0.04, 0.04 / 12.92), (0.5, 0.2140411), (0.8, 0.6038273)],
)
def test_transfer_function_has_the_standards_values(encoded, linear):
    assert kernels.srgb_to_linear(np.float64(encoded)) == pytest.approx(linear, abs=1e-7)
    assert kernels.linear_to_srgb(np.float64(linear)) == pytest.approx(encoded, abs=1e-6)


def test_transfer_function_agrees_with_scikit_image():
    encoded = np.random.default_rng(0).random((20, 20, 3))
    xyz = kernels.srgb_to_linear(encoded) @ skimage.color.colorconv.xyz_from_rgb.T
    np.testing.assert_allclose(xyz, skimage.color.rgb2xyz(encoded), atol=1e-6)


def test_every_byte_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    linear = kernels.srgb_to_linear(np.float32(values) / 255)
    np.testing.assert_array_equal(to_bytes(kernels.linear_to_srgb(linear)), values)


# Kernels.


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.2, 1.6, 2.0])
def test_defocus_kernel_has_variance_sigma_squared(sigma):
    kernel = kernels.defocus_kernel(sigma)
    centroid, variance = moments(kernel)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(centroid, 0, atol=1e-12)
    np.testing.assert_allclose(variance, sigma**2, rtol=2e-4, atol=1e-12)


def test_path_kernel_shares_a_sample_among_its_four_pixels():
    kernel = kernels.path_kernel(np.array([[0.25, -0.5]]))
    expected = [[0, 0, 0], [0.375, 0.375, 0], [0.125, 0.125, 0]]
    np.testing.assert_allclose(kernel, expected)


@pytest.mark.parametrize("seed", range(20))
def test_shake_kernel_sums_to_one_and_is_centred(seed):
    kernel = kernels.camera_shake_kernel(np.random.default_rng(seed), defocus=0.05 * seed)
    centroid, _ = moments(kernel)
    assert kernel.shape[0] == kernel.shape[1] <= 49
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(centroid, 0, atol=1e-9)


@pytest.mark.parametrize("length", [4.0, 12.0, 25.0])
def test_shake_path_is_as_long_as_asked_and_smooth(length):
    path = kernels.shake_path(np.random.default_rng(3), length)
    distances = np.linalg.norm(path[:, None] - path[None], axis=-1)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
    assert distances.max() == pytest.approx(length, rel=0.02)
    assert steps.max() < 1  # a kernel without gaps


def test_defocus_adds_its_variance_to_a_shake_kernel():
    sharp, soft = (
        kernels.camera_shake_kernel(np.random.default_rng(1), 10.0, defocus=s) for s in (0, 0.8)
    )
    np.testing.assert_allclose(moments(soft)[1] - moments(sharp)[1], 0.64, rtol=1e-3)


def test_a_long_path_is_shrunk_to_the_largest_radius():
    kernel = kernels.camera_shake_kernel(np.random.default_rng(0), 60.0, max_radius=9)
    assert len(kernel) == 19


# The camera.


def test_a_step_is_blurred_in_linear_light():
    step = np.zeros((9, 12, 3))
    step[:, 6:] = 1
    blurry, sharp = degrade(step, row_kernel(1 / 3, 1 / 3, 1 / 3))
    assert blurry.shape == sharp.shape == (7, 10, 3)
    # 1/3 and 2/3 of full scale are 156 and 213 of 255 in sRGB; 85 and 170 would be gamma's error.
    np.testing.assert_array_equal(to_bytes(blurry)[3, :, 0], [0] * 4 + [156, 213] + [255] * 4)
    np.testing.assert_array_equal(sharp, step[1:-1, 1:-1])


def test_half_covered_is_188():
    step = np.zeros((9, 12, 3))
    step[:, 6:] = 1
    blurry, _ = degrade(step, row_kernel(0.5, 0, 0.5))
    np.testing.assert_array_equal(to_bytes(blurry)[3, 3:7, 1], [0, 188, 188, 255])


def test_a_point_leaves_the_kernels_picture():
    kernel = np.random.default_rng(0).dirichlet(np.ones(25)).reshape(5, 5)
    point = np.zeros((13, 13, 3))
    point[6, 6] = 1
    blurry, _ = degrade(point, kernel)
    np.testing.assert_allclose(kernels.srgb_to_linear(blurry)[2:7, 2:7, 0], kernel, atol=1e-6)


def test_a_lamp_draws_a_clipped_streak():
    lamp = np.zeros((11, 11, 3))
    lamp[5, 5] = 1
    line = row_kernel(0.2, 0.2, 0.2, 0.2, 0.2)
    plain, _ = degrade(lamp, line)
    bright, sharp = degrade(lamp, line, highlights=10.0)
    np.testing.assert_array_equal(to_bytes(plain)[3, 1:6, 0], 124)  # 0.2 of full scale
    np.testing.assert_array_equal(to_bytes(bright)[3, 1:6, 0], 255)  # 2.0, clipped
    np.testing.assert_array_equal(to_bytes(sharp), 255 * lamp[2:-2, 2:-2])


def test_highlights_leave_the_rest_alone():
    grey = np.full((9, 9, 3), 0.8)  # linear 0.60, below the highlights
    blurry, sharp = degrade(grey, row_kernel(0.5, 0, 0.5), highlights=10.0)
    np.testing.assert_allclose(blurry, 0.8, atol=1e-5)
    np.testing.assert_allclose(sharp, 0.8, atol=1e-5)


def test_borders_are_not_darkened():
    blurry, _ = degrade(np.ones((60, 60, 3)), kernels.defocus_kernel(2.0))
    np.testing.assert_allclose(blurry, 1, atol=1e-5)


def test_noise_has_the_stated_variance():
    blurry, _ = degrade(np.full((130, 130, 3), 0.5), np.ones((1, 1)), shot=2e-4, read=3e-3)
    linear = kernels.srgb_to_linear(blurry.astype(np.float64))
    assert linear.mean() == pytest.approx(0.2140411, rel=1e-3)
    assert linear.var() == pytest.approx(2e-4 * 0.2140411 + 9e-6, rel=0.03)


@pytest.mark.parametrize(
    ("sharp", "kernel"),
    [((9, 9, 3), (4, 4)), ((9, 9, 3), (3, 5)), ((5, 9, 3), (7, 7)), ((9, 9), (3, 3))],
)
def test_degrade_refuses_what_does_not_fit(sharp, kernel):
    with pytest.raises(UserError, match="shape"):
        degrade(np.zeros(sharp), np.zeros(kernel))


def test_kernels_refuse_impossible_numbers():
    with pytest.raises(UserError, match="sigma"):
        kernels.defocus_kernel(-1.0)
    for options in ({"length": 0.0}, {"defocus": 1.0, "max_radius": 5}):
        with pytest.raises(UserError, match="max_radius"):
            kernels.camera_shake_kernel(np.random.default_rng(0), **options)


# Dead leaves.


def test_dead_leaves_are_pictures():
    first, again, other = (dead_leaves(np.random.default_rng(s), 60, 81) for s in (1, 1, 2))
    assert first.shape == (60, 81, 3)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01
    with pytest.raises(UserError, match="height 7"):
        dead_leaves(np.random.default_rng(0), 7, 60)


def test_dead_leaves_have_the_spectrum_of_nature():
    # Power falls about as frequency^-2 in natural pictures (Field 1987), steeper with less detail.
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(192), np.fft.fftfreq(192)))
    edges = np.geomspace(0.02, 0.35, 9)
    slopes = []
    for seed in range(8):
        grey = dead_leaves(np.random.default_rng(seed), 192, 192).mean(axis=-1)
        window = np.outer(np.hanning(192), np.hanning(192))
        power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
        bands = [
            power[(frequency >= low) & (frequency < high)].mean()
            for low, high in zip(edges[:-1], edges[1:], strict=True)
        ]
        slopes.append(np.polyfit(np.log(edges[:-1]), np.log(bands), 1)[0])
    assert -3.0 < np.mean(slopes) < -2.0


# The data set.


@pytest.mark.parametrize("config", ["shake", "defocus"])
@pytest.mark.parametrize("split", SPLITS)
def test_pairs_are_pictures_of_one_size(config, split):
    data = Synthetic(config, split, count=9, size=SMALL)
    assert len(data) == len(set(data.names)) == 9
    for blurry, sharp in data:
        for picture in (blurry, sharp):
            assert picture.shape == (*SMALL, 3)
            assert picture.dtype == np.uint8
        assert np.any(blurry != sharp)


def test_default_sizes_and_counts():
    assert [len(Synthetic(split=split)) for split in SPLITS] == [480, 9, 10]
    assert Synthetic()[1][0].shape == (192, 192, 3)
    assert Synthetic("defocus", "test")[0][1].shape == (256, 256, 3)


@pytest.mark.parametrize(("config", "low", "high"), [("shake", 20, 27), ("defocus", 22, 29)])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_blur_costs_a_sane_number_of_decibels(config, low, high, split):
    psnr = [skimage.metrics.peak_signal_noise_ratio(s, b) for b, s in Synthetic(config, split)]
    assert low < np.mean(psnr) < high
    assert min(psnr) > 14


def test_a_pair_is_a_function_of_its_index():
    data = Synthetic("shake", "train", seed=5, count=8, size=SMALL)
    backwards = [data[index] for index in reversed(range(8))][::-1]
    for one, two, three in zip(data, backwards, data.load_all(threads=3), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    longer = Synthetic("shake", "train", seed=5, count=20, size=SMALL)
    np.testing.assert_array_equal(longer[7], data[7])


def test_a_pair_is_the_same_in_another_process():
    code = (
        "import hashlib, numpy as np; from restore_tf.datasets.synthetic import Synthetic;"
        "data = Synthetic('shake', 'train', seed=3, count=6, size=(40, 56));"
        "print(hashlib.sha256(np.stack([data[4], data[1]]).tobytes()).hexdigest())"
    )
    data = Synthetic("shake", "train", seed=3, count=6, size=SMALL)
    here = hashlib.sha256(np.stack([data[4], data[1]]).tobytes()).hexdigest()
    assert run_python(code) == here


def test_seeds_and_splits_draw_different_pictures():
    first = Synthetic(split="train", size=SMALL)[11]
    for data in (
        Synthetic(split="train", seed=1, size=SMALL),
        Synthetic(split="test", count=12, size=SMALL),
    ):
        assert data.names[11] == "leaves-0011"
        assert np.mean(data[11][1] != first[1]) > 0.9


def test_both_configs_blur_the_same_pictures():
    for index in range(6):
        sharp = Synthetic("defocus", "validation", size=SMALL)[index][1]
        lit = Synthetic("shake", "validation", size=SMALL)[index][1]
        dark = sharp.max(axis=-1) < 200  # lamps brighten what is nearly white
        np.testing.assert_array_equal(sharp[dark], lit[dark])


def test_a_held_out_photo_is_its_photo():
    _, sharp = Synthetic("defocus", "test")[1]
    # The view's middle is at 0.1 of the height, moved inwards, and at 0.4 of the width.
    np.testing.assert_array_equal(sharp, skimage.data.astronaut()[0:256, 77:333])
    _, sharp = Synthetic("defocus", "validation")[5]
    coins = np.repeat(skimage.data.coins()[24:280, 128:384, None], 3, axis=-1)
    np.testing.assert_array_equal(sharp, coins)


def test_held_out_photos_never_reach_training(monkeypatch):
    used = {split: set() for split in SPLITS}
    photo = sharp_pictures.embedded_photo
    for split in SPLITS:
        monkeypatch.setattr(
            sharp_pictures,
            "embedded_photo",
            lambda name, scale, s=split: used[s].add(name) or photo(name, scale),
        )
        data = Synthetic("shake", split, size=(16, 16))
        for index in range(0, min(len(data), 96)):
            data[index]
    assert used["train"] == set(sharp_pictures.TRAIN_PHOTOS)
    assert used["validation"] == {"coffee.png", "coins.png"}
    assert used["test"] == {"chelsea.png", "astronaut.png", "camera.png"}
    assert not used["train"] & (used["validation"] | used["test"])


def test_every_photo_is_inside_scikit_images_wheel():
    inside = {str(path) for path in importlib.metadata.files("scikit-image")}
    held_out = [view.photo for views in sharp_pictures.VIEWS.values() for view in views]
    for name in (*sharp_pictures.TRAIN_PHOTOS, *held_out):
        assert f"skimage/data/{name}" in inside


def test_a_missing_photo_is_named():
    with pytest.raises(UserError, match="nowhere.png: not in this scikit-image"):
        sharp_pictures.embedded_photo("nowhere.png", 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "rain"}, "unknown config 'rain'; expected one of shake, defocus"),
        ({"split": "val"}, "unknown split 'val'; expected one of train, validation, test"),
        ({"seed": -1}, "seed -1"),
        ({"count": 0}, "count 0"),
        ({"size": (4, 64)}, r"size is \(4, 64\)"),
        ({"size": (64, 64, 3)}, r"size is \(64, 64, 3\)"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Synthetic(**options)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError, match="expected 0 to 2"):
        Synthetic(count=3, size=SMALL)[index]


def test_imports_no_framework():
    code = (
        "import sys, restore_tf.datasets.synthetic;"
        "print([m for m in ('tensorflow', 'keras', 'tensorflow_datasets') if m in sys.modules])"
    )
    assert run_python(code) == "[]"
