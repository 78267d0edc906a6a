"""Luminance and cut borders, against scikit-image and by hand."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore_tf.datasets.sources import MemorySource
from restore_tf.errors import UserError
from restore_tf.evaluation import score, super_resolution
from restore_tf.pictures.planes import enlarged_to


@pytest.fixture(scope="module")
def pair():
    random = np.random.default_rng(0)
    sharp = random.integers(0, 256, (40, 56, 3), np.uint8)
    noise = random.integers(-20, 21, sharp.shape)
    return sharp, np.clip(sharp.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "colour, expected",  # the columns of MATLAB's matrix, and its ends
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81), ((0, 255, 0), 145)],
)
def test_luma(colour, expected):
    assert super_resolution.luma(np.array([[colour]], np.uint8)).tolist() == [[expected]]


def test_scores_of_luma_and_of_what_the_border_leaves(pair):
    cut = [picture[3:-3, 3:-3] for picture in pair]
    weights = np.array([65.481, 128.553, 24.966]) / 255
    luma = [np.round(16 + picture @ weights) for picture in cut]
    expected = peak_signal_noise_ratio(*luma, data_range=255)
    assert super_resolution.psnr_y(*pair, 3) == pytest.approx(expected, abs=1e-9)
    expected = peak_signal_noise_ratio(*cut, data_range=255)
    assert super_resolution.psnr_shaved(*pair, 3) == pytest.approx(expected, abs=1e-9)
    expected = structural_similarity(
        *luma, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert super_resolution.ssim_y(*pair, 3) == pytest.approx(expected, abs=1e-6)


def test_a_border_that_leaves_nothing(pair):
    with pytest.raises(UserError, match="nothing is left without a border of 20"):
        super_resolution.psnr_y(*pair, 20)


def test_an_evaluation_cuts_as_much_as_a_picture_was_enlarged(pair):
    sharp, _ = pair
    source = MemorySource(["a"], [(sharp[::2, ::2].copy(), sharp)], output_scale=2)
    names = ("psnr", *score.ENLARGED)
    (row,) = score.evaluate(
        lambda picture: enlarged_to(picture, sharp.shape[:2]), source, names
    ).rows
    restored = enlarged_to(sharp[::2, ::2], sharp.shape[:2])
    for name, measure in score.ENLARGED.items():
        assert row.scores["restored"][name] == measure(sharp, restored, 2)
