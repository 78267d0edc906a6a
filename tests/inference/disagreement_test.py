"""How far apart pictures of several seeds lie, and which networks draw any."""

import numpy as np
import pytest

from restore_tf.inference import disagreement


def pictures(shape, count=5):
    return np.random.default_rng(0).random((count, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(4, 6, 3), (4, 6, 1), (4, 6)])
def test_the_deviation_is_numpys(shape):
    drawn = pictures(shape)
    found = disagreement.deviation(lambda seed: drawn[seed - 7], 7, len(drawn))
    variances = drawn.astype(np.float64).var(axis=0, ddof=1).reshape(4, 6, -1)
    np.testing.assert_allclose(found, np.sqrt(variances.mean(axis=-1)), rtol=1e-12)


def test_seeds_follow_one_another_and_stay_in_range():
    seen = []

    def draw(seed):
        seen.append(seed)
        return np.zeros((1, 1))

    disagreement.deviation(draw, 2**31 - 2, 4)
    assert seen == [2**31 - 2, 2**31 - 1, 0, 1]


def test_equal_pictures_do_not_disagree():
    picture = pictures((4, 6, 3))[0]
    assert not disagreement.deviation(lambda seed: picture, 0, 3).any()
