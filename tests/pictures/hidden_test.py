"""What lies under full transparency reaches no visible pixel and comes back as it was."""

import numpy as np
import pytest
from scipy import ndimage

from restore_tf.pictures import hidden

RANDOM = np.random.default_rng(0)


def test_the_nearest_visible_pixel_by_hand():
    pixels = np.array([[1, 2, 3, 4, 5]], np.uint8)
    alpha = np.array([[9, 0, 0, 0, 255]], np.uint8)
    filled = hidden.fill(pixels, alpha)
    assert filled[0, [0, 1, 3, 4]].tolist() == [1, 1, 5, 5]
    assert filled[0, 2] in (1, 5)
    assert pixels.tolist() == [[1, 2, 3, 4, 5]]


def test_without_hidden_or_without_visible_pixels_nothing_changes():
    pixels = RANDOM.integers(0, 256, (4, 5, 3), np.uint8)
    for alpha in (None, np.full((4, 5), 1, np.uint8), np.zeros((4, 5), np.uint8)):
        assert hidden.fill(pixels, alpha) is pixels
        np.testing.assert_array_equal(hidden.put_back(pixels, pixels, alpha), pixels)


@pytest.mark.parametrize("shape", [(24, 32, 3), (24, 32)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_cut_out_over_anything_gives_the_same_visible_pixels(shape, dtype):
    top = np.iinfo(dtype).max
    alpha = np.where(np.hypot(*np.mgrid[-12:12, -16:16]) < 9, top, 0).astype(dtype)
    alpha[:, 15] = alpha[:, 15] // 2  # half transparent: seen
    visible = RANDOM.integers(0, top, shape, dtype)
    mask = (alpha > 0).reshape(alpha.shape + (1,) * (len(shape) - 2))

    def blur(pixels):
        sides = (3, 3) + (0,) * (pixels.ndim - 2)
        return ndimage.gaussian_filter(pixels.astype(float), sides).astype(dtype)

    results = []
    for under in (np.zeros(shape), np.full(shape, top), RANDOM.integers(0, top, shape)):
        pixels = np.where(mask, visible, under.astype(dtype))
        restored = hidden.restore(blur, pixels, alpha)
        assert restored.dtype == dtype
        np.testing.assert_array_equal(restored[alpha == 0], pixels[alpha == 0])
        results.append(restored[alpha > 0])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert np.any(results[0] != visible[alpha > 0])


def test_a_flat_cut_out_stays_flat():
    """A logo of 250 over black: without filling, a blur of its edge reads 104."""
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, :8] = 255
    pixels = np.where(alpha[..., None], np.uint8(250), np.uint8(0)).repeat(3, -1)
    restored = hidden.restore(lambda p: ndimage.uniform_filter(p, (9, 9, 1)), pixels, alpha)
    assert restored[:, :8].min() == 250
    assert restored[:, 8:].max() == 0


def test_enlarged_pictures_keep_hidden_colours_as_squares():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    alpha = np.array([[0, 1], [255, 255]], np.uint8)
    restored = hidden.restore(lambda p: p.repeat(2, 0).repeat(2, 1) + 100, pixels, alpha)
    expected = (pixels + 100).repeat(2, 0).repeat(2, 1)
    expected[:2, :2] = pixels[0, 0]
    np.testing.assert_array_equal(restored, expected)
