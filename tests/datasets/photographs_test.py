"""The configuration `photo`: its optics against hand calculation and SciPy, its kinds, splits."""

import collections

import numpy as np
import pytest
from PIL import Image
from scipy import signal
from skimage.metrics import peak_signal_noise_ratio
from skimage.registration import phase_cross_correlation

from restore_tf.datasets import kernels, photographs, sources
from restore_tf.datasets.dead_leaves import dead_leaves
from restore_tf.datasets.printed_text import printed_text
from restore_tf.datasets.samples import Samples
from restore_tf.datasets.synthetic import Synthetic
from restore_tf.datasets.varying_blur import STILL, Motion, blur, disc_kernel, filter_flow
from restore_tf.errors import UserError

KINDS = ("shake", "turn", "depth", "moving", "defocus", "both", "sensor", "untouched")


def planes(height=70, width=90):
    return np.random.default_rng(0).random((3, height, width), dtype=np.float32)


def kernel(side=9):
    values = np.random.default_rng(1).random((side, side))
    return values / values.sum()


@pytest.mark.parametrize("nodes", [1, 3, 4])
def test_equal_kernels_make_a_plain_convolution(nodes):
    found = filter_flow(planes(), lambda row, column: kernel(), nodes)
    for plane, blurred in zip(planes(), found, strict=True):
        expected = signal.convolve2d(plane, kernel(), mode="same")  # zeros beyond the border
        np.testing.assert_allclose(blurred, expected, atol=2e-6)


def test_kernels_are_mixed_by_where_the_light_comes_from():
    """A point half way between two nodes leaves the mean of their kernels."""
    point = np.zeros((1, 61, 61), np.float32)
    point[0, 30, 15] = 1
    at = {0.0: np.eye(3) / 3, 30.0: np.fliplr(np.eye(3)) / 3, 60.0: np.ones((3, 3)) / 9}
    found = filter_flow(point, lambda row, column: at[column], 3)
    expected = (at[0.0] + at[30.0]) / 2
    np.testing.assert_allclose(found[0, 29:32, 14:17], expected, atol=1e-6)
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_a_turn_moves_points_along_circles():
    turn = np.array([-0.02, 0.0, 0.02])
    motion = Motion(np.array([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]]), turn, (10.0, 20.0))
    np.testing.assert_allclose(motion.offsets(10, 20), motion.path)
    for row, column in ((10, 60), (-30, 20), (4, 7)):
        cosine, sine = np.cos(turn), np.sin(turn)
        down, across = row - 10, column - 20
        exact = np.stack(
            [cosine * down - sine * across - down, sine * down + cosine * across - across], axis=-1
        )
        # Linear in the angle: off by its square, halved, times the distance.
        np.testing.assert_allclose(motion.offsets(row, column) - motion.path, exact, atol=0.011)


def test_a_turning_camera_leaves_the_middle_sharp():
    turn = np.linspace(-0.1, 0.1, 101)
    motion = Motion(np.zeros((101, 2)), turn, (60.0, 60.0))
    points = np.zeros((1, 121, 121), np.float32)
    points[0, 60, 60] = points[0, 60, 110] = 1
    found = blur(points, motion, nodes=13)
    assert found[0, 60, 60] > 0.99
    rows = found[0, :, 100:].sum(axis=1)
    spread = np.flatnonzero(rows > 1e-4)
    assert spread[0] == 55  # 50 pixels from the middle, 0.1 radians each way
    assert spread[-1] == 65
    assert found[0, 60, 107:114].sum() == pytest.approx(rows[60], abs=1e-6)


def test_a_motion_is_kept_within_its_reach():
    motion = Motion(40 * np.eye(2) - 20, np.array([0.3, -0.3]), (0.0, 0.0)).within(5, 80, 90)
    corners = [(row, column) for row in (0, 79) for column in (0, 89)]
    assert max(np.abs(motion.offsets(*corner)).max() for corner in corners) == pytest.approx(5)
    np.testing.assert_array_equal(STILL.within(0, 80, 90).path, STILL.path)


@pytest.mark.parametrize("radius", [0.8, 1.5, 3.0, 6.0])
def test_a_disc_has_its_radius(radius):
    disc = disc_kernel(radius)
    steps = np.arange(len(disc)) - len(disc) // 2
    assert disc.sum() == pytest.approx(1)
    np.testing.assert_allclose(disc, disc.T)
    variance = (disc.sum(axis=0) * steps**2).sum()
    # Of an even disc r^2 / 4; its edge, spread over a pixel, adds 1/24 + ... of a pixel squared.
    assert variance == pytest.approx(radius**2 / 4, abs=0.12 + 0.02 * radius**2)
    assert disc_kernel(0.0).tolist() == [[1.0]]


def picture():
    return dead_leaves(np.random.default_rng(5), 160, 176)


def photographed(kind, seed=0):
    return photographs.photograph(np.random.default_rng(seed), picture(), kind, 24)


@pytest.mark.parametrize("kind", KINDS)
def test_a_photograph_fits_its_sharp_picture(kind):
    degraded, sharp = photographed(kind)
    assert degraded.shape == sharp.shape == (112, 128, 3)
    assert degraded.dtype == sharp.dtype == np.float32
    assert degraded.min() >= 0
    assert degraded.max() <= 1
    shift, *_ = phase_cross_correlation(
        sharp.mean(axis=-1), degraded.mean(axis=-1), upsample_factor=20, normalization=None
    )
    # Kernels have their centroid in the middle, their peak somewhere near.
    assert np.abs(shift).max() < (0.1 if kind in ("defocus", "sensor", "untouched") else 3)


@pytest.mark.parametrize("nodes", [1, 3])
def test_blur_shifts_nothing(nodes):
    """The light of a point keeps its centre wherever it lies."""
    path = kernels.shake_path(np.random.default_rng(3), 14.0)
    turn = kernels.shake_path(np.random.default_rng(4), 0.1)[:, 0]
    motion = Motion(path, turn, (50.0, 40.0)).within(20, 121, 121)
    for row, column in ((60, 60), (43, 71), (80, 37)):
        point = np.zeros((1, 121, 121), np.float32)
        point[0, row, column] = 1
        found = blur(point, motion, disc_kernel(2.0), nodes)[0]
        assert found.sum() == pytest.approx(1, abs=1e-4)
        rows, columns = np.mgrid[:121, :121]
        assert (found * rows).sum() == pytest.approx(row, abs=0.01)
        assert (found * columns).sum() == pytest.approx(column, abs=0.01)


def test_what_is_untouched_is_equal():
    degraded, sharp = photographed("untouched")
    np.testing.assert_array_equal(degraded, picture()[24:-24, 24:-24])
    np.testing.assert_array_equal(degraded, sharp)


def test_a_sensor_adds_noise_and_no_blur():
    for seed in range(4):
        degraded, sharp = photographed("sensor", seed)
        difference = degraded - sharp
        assert 1e-4 < difference.std() < 0.1
        # Noise has no memory of its neighbours.
        assert abs(np.corrcoef(difference[:, 1:].ravel(), difference[:, :-1].ravel())[0, 1]) < 0.05


def test_behind_a_moving_thing_the_background_stays():
    """Where the thing never comes, there is the lens's slight blur and noise alone."""
    shares = []
    for seed in range(8):
        degraded, sharp = photographed("moving", seed)
        still = photographed("sensor", seed)[1]
        background = np.abs(sharp - still).max(axis=-1) < 1e-6
        away = background & (np.abs(degraded - sharp).max(axis=-1) < 0.12)
        shares.append(away.sum() / max(background.sum(), 1))
    assert np.mean(shares) > 0.6


def test_every_twenty_pictures_have_all_kinds():
    for block in (0, 7):
        shots = [photographs.shot(20 * block + place) for place in range(20)]
        kinds = collections.Counter(shot.kind for shot in shots)
        assert set(kinds) == set(KINDS)
        assert (kinds["untouched"], kinds["sensor"]) == (2, 2)
        assert sum(shot.zoom > 1 for shot in shots) == 5
    assert [photographs.shot(n) for n in range(20)] != [photographs.shot(20 + n) for n in range(20)]


def test_training_pairs_by_kind():
    data = Synthetic("photo", "train", count=20, size=(64, 80))
    assert len(Synthetic("photo")) == 4000
    for name, (degraded, sharp) in zip(data.names, data, strict=True):
        assert degraded.shape == sharp.shape == (64, 80, 3)
        assert (degraded.dtype, sharp.dtype) == (np.uint8, np.uint8)
        assert np.array_equal(degraded, sharp) == name.endswith("-untouched")


@pytest.mark.parametrize("folder", [False, True])
def test_one_training_picture_in_ten_is_text(folder, tmp_path):
    if folder:
        for name in "abcd":
            Image.fromarray(np.full((80, 90, 3), 128, np.uint8)).save(tmp_path / f"{name}.png")
    given = {"folder": tmp_path} if folder else {}
    data = Synthetic("photo", "train", count=40, size=(64, 80), **given)
    assert [index for index, name in enumerate(data.names) if "text" in name] == [9, 19, 29, 39]
    sharp = data[19][1]
    # Two colours, and little between them.
    tones = np.histogram(sharp.mean(axis=-1), 16)[0] / sharp[..., 0].size
    assert np.sort(tones)[-2:].sum() > 0.5
    assert not any("text" in name for name in Synthetic("photo", "test", count=40, **given).names)
    assert not any("text" in name for name in Synthetic("shake", count=40, **given).names)


def test_printed_text_is_a_function_of_the_generators_state():
    one, same, other = (printed_text(np.random.default_rng(seed), 40, 60) for seed in (3, 3, 4))
    assert one.shape == (40, 60, 3)
    assert one.dtype == np.float32
    assert one.min() >= 0
    assert one.max() <= 1
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)
    with pytest.raises(UserError, match="expected at least 8 pixels"):
        printed_text(np.random.default_rng(0), 7, 60)


def test_video_averages_stored_values_and_photo_light():
    """Stripes of black and white, a pixel each: 0.5 stored, half the light is stored as 0.735."""
    stripes = np.zeros((148, 148, 3), np.float32)
    stripes[:, ::2] = 1.0
    stripes[::2] = 1.0 - stripes[::2]
    for make, blurred in [(photographs.average_frames, 0.5), (photographs.photograph, 0.735)]:
        degraded, sharp = make(np.random.default_rng(9), stripes, "shake", 24)
        assert sharp.mean() == pytest.approx(0.5, abs=1e-6)
        assert degraded.shape == sharp.shape == (100, 100, 3)
        assert degraded.mean() == pytest.approx(blurred, abs=0.02)
        assert degraded.std() < 0.1


def test_video_shows_what_moves():
    for block in (0, 7):
        shots = [photographs.video_shot(20 * block + place) for place in range(20)]
        kinds = collections.Counter(shot.kind for shot in shots)
        assert kinds == {"shake": 7, "turn": 6, "depth": 3, "moving": 4}
        assert all(shot.stored for shot in shots)
    data = Synthetic("video", "train", count=20, size=(64, 80))
    assert {name.rsplit("-", 1)[1] for name in data.names} == set(kinds)
    assert all(np.any(degraded != sharp) for degraded, sharp in data)


def test_held_out_pairs_have_a_finite_psnr():
    for split in ("validation", "test"):
        data = Synthetic("photo", split)
        assert len(data) == 20
        psnr = [peak_signal_noise_ratio(sharp, degraded) for degraded, sharp in data]
        assert 22 < np.mean(psnr) < 30
        assert max(psnr) < 50
        assert np.mean(np.array(psnr) > 30) > 0.1  # some that need hardly anything


def test_a_pair_is_a_function_of_its_index():
    data = Synthetic("photo", "train", seed=2, count=20, size=(48, 48))
    backwards = [data[index] for index in reversed(range(20))][::-1]
    for one, other in zip(data.load_all(threads=3), backwards, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.any(Synthetic("photo", "train", seed=3, size=(48, 48))[0][1] != data[0][1])


def test_samples_are_cut_from_it():
    source = sources.open_source("synthetic", "photo", "train")
    degraded, sharp, _ = Samples(source, crop=128, seed=0, augment=("flip_rotate",))(0)
    assert degraded.shape == sharp.shape == (128, 128, 3)


def test_sharp_shots_show_photos_as_a_whole(tmp_path):
    """Photos that grow brighter from top to bottom: the width fits, margins of an eighth go."""
    ramp = np.repeat(np.linspace(0, 255, 1600).round().astype(np.uint8)[:, None], 1200, axis=1)
    for name in "abc":
        Image.fromarray(np.stack([ramp] * 3, axis=-1)).save(tmp_path / f"{name}.png")
    pictures = Synthetic("photo", "train", count=60, folder=tmp_path)
    shown = collections.defaultdict(set)
    for index, name in enumerate(pictures.names):
        photo, _, kind = name.rsplit("-", 2)
        if photo in ("leaves", "text"):
            continue
        rows = pictures[index][1].mean(axis=(1, 2))
        shown[kind in photographs.SHARP].add(round(float(rows[-1] - rows[0]) / 255, 2))
    assert all(0.55 < part < 0.65 for part in shown[True])
    assert all(part < 0.4 for part in shown[False])
