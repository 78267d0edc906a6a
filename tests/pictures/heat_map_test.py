"""Values drawn as colours, with the bar that says what they mean."""

import numpy as np
import pytest

from restore_tf.pictures import heat_map


@pytest.mark.parametrize(
    ("top", "end"),
    [
        (0, 1),
        (0.3, 0.5),
        (1, 1),
        (1.01, 2),
        (2, 2),
        (4.9, 5),
        (5.1, 10),
        (70, 100),
        (0.0012, 0.002),
    ],
)
def test_scales_end_at_round_numbers(top, end):
    assert heat_map.scale_end(np.full((3, 4), top)) == pytest.approx(end)


def test_single_pixels_do_not_decide_the_scale():
    values = np.ones((100, 100))
    values[0, 0] = 1000
    assert heat_map.scale_end(values) == 1


def test_colours_grow_lighter():
    found = heat_map.colours(np.array([-1, 0, 1 / 3, 2 / 3, 1, 2]))
    black, red, yellow, white = [0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255]
    np.testing.assert_array_equal(found, [black, black, red, yellow, white, white])
    lightness = heat_map.colours(np.linspace(0, 1, 50)).sum(axis=-1)
    assert (np.diff(lightness.astype(int)) > 0).all()


@pytest.mark.parametrize("shape", [(40, 500), (40, 30)])
def test_pixels_stay_in_place_above_the_bar(shape):
    values = np.linspace(0, 5, shape[0] * shape[1]).reshape(shape)
    drawn = heat_map.draw(values, "levels", "caption")
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[:40, : shape[1]], heat_map.colours(values / 5))
    below = drawn[40:]
    assert (below == [255, 255, 0]).all(axis=-1).any()  # the bar
    assert (below == 0).all(axis=-1).sum() > 50  # its dark end, and letters
