"""Picture files in and out; `picture_files_test.py` goes through every kind of them."""

import icc_profiles
import numpy as np
import pytest

from restore_tf.errors import UserError
from restore_tf.pictures import files
from restore_tf.pictures.pixels import before_after
from restore_tf.system.files import atomic_path

GRADIENT = np.dstack(np.mgrid[:6, :8].tolist() + [np.zeros((6, 8))]).astype(np.uint8) * 20


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    files.write_picture(path, GRADIENT)
    read = files.read_picture(path).pixels
    assert read.shape == GRADIENT.shape
    tolerance = 0 if suffix in (".png", ".bmp", ".tif") else 60
    np.testing.assert_allclose(read.astype(int), GRADIENT, atol=tolerance)


def test_gray_alpha_and_profile_are_kept(tmp_path):
    alpha = np.arange(48, dtype=np.uint8).reshape(6, 8)
    profile = icc_profiles.gray("a gray")
    files.write_picture(tmp_path / "a.png", files.Picture(GRADIENT[..., 0], alpha, profile))
    read = files.read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(read.pixels, GRADIENT[..., 0])
    np.testing.assert_array_equal(read.alpha, alpha)
    assert read.icc_profile == profile
    colours = files.read_rgb(tmp_path / "a.png")[..., 0]
    np.testing.assert_array_equal(colours[alpha > 0], GRADIENT[..., 0][alpha > 0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"not a picture", "cannot be read as a picture"),
        ("a.png", None, "no such file"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"a.png: {message}"):
        files.read_picture(tmp_path / name)


def test_unknown_ending(tmp_path):
    with pytest.raises(UserError, match="unknown ending"):
        files.write_picture(tmp_path / "a.xyz", GRADIENT)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_before_after_by_hand():
    strip = before_after(np.zeros((2, 3, 3), np.uint8), np.full((2, 1), 7, np.uint8), gap=2)
    np.testing.assert_array_equal(strip[0, :, 0], [0, 0, 0, 255, 255, 7])
    deep = before_after(np.full((2, 1, 3), 65535, np.uint16), np.full((2, 1), 300, np.uint16))
    assert deep.dtype == np.uint8
    assert (deep[0, 0, 0], deep[0, -1, 0]) == (255, 1)  # 300 / 257 = 1.2
