"""Restoring one picture: sizes, types, planes."""

import numpy as np
import pytest

from restore_tf.errors import UserError
from restore_tf.inference import restore
from restore_tf.networks.restorer import Restorer
from srn_tf.model import SRN


class Halve(Restorer):
    """Returns the images, then the images halved: two stages."""

    size_multiple = 8

    def __init__(self, channels=3, padding="edge"):
        super().__init__()
        self.channels, self.padding = channels, padding

    def call(self, images, training=False):
        self.check_size(images)
        return [images, images * 0.5]


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 16), (17, 3)])
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_planes(size, shape, channels):
    image = np.random.default_rng(0).random((*size, *shape)).astype(np.float32)
    restored = restore.restore(Halve(channels), image)
    assert restored.shape == image.shape
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, image / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "value", "half"), [(np.uint8, 101, 50), (np.uint16, 65535, 32768)]
)
def test_integers_are_rounded(dtype, value, half):
    # 101 / 2 = 50.5 and 65535 / 2 = 32767.5: halves go to the even neighbour.
    restored = restore.restore(Halve(), np.full((9, 9, 3), value, dtype))
    assert restored.dtype == dtype
    np.testing.assert_array_equal(restored, half)


@pytest.mark.parametrize("padding", ["edge", "reflect"])
def test_padding_is_the_models(padding):
    image = np.arange(5 * 6 * 3, dtype=np.float32).reshape(5, 6, 3) / 90
    padded = restore.pad(image[None], Halve(padding=padding))
    np.testing.assert_array_equal(
        padded, np.pad(image, ((0, 3), (0, 2), (0, 0)), mode=padding)[None]
    )


def test_colour_through_a_gray_network_is_three_planes():
    model = SRN(channels=1, width=4, res_blocks=1)
    image = np.random.default_rng(1).random((16, 32, 3)).astype(np.float32)
    restored = restore.restore(model, image)
    for plane in range(3):
        alone = np.asarray(model(image[None, :, :, plane, None])[-1])[0, :, :, 0]
        np.testing.assert_allclose(restored[..., plane], alone, atol=1e-5)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4,)), np.zeros((4, 4, 2)), np.zeros((0, 4, 3)), np.zeros((1, 4, 4, 3))],
)
def test_other_shapes_are_named(image):
    with pytest.raises(UserError, match="expected \\(height, width\\)"):
        restore.restore(Halve(), image)


def test_other_types_are_named():
    with pytest.raises(UserError, match="pixels of type int64"):
        restore.restore(Halve(), np.zeros((4, 4, 3), np.int64))
