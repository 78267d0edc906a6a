"""Pictures that exported files are calibrated and scored on."""

import types

import numpy as np
import pytest

from restore_tf.errors import UserError
from restore_tf.export import samples
from restore_tf.export.samples import Samples
from restore_tf.pictures import files


def picture(value, height=40, width=50):
    return np.full((height, width, 3), value, np.uint8)


def ramp(height, width):
    """Each pixel says where it is: row, column, 7."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 7)], axis=-1).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """blur/ and sharp/ with twelve pairs, picture i of value i and 100 + i."""
    for name, start in (("blur", 0), ("sharp", 100)):
        (tmp_path / name).mkdir()
        for index in range(12):
            path = tmp_path / name / f"{index:02}.png"
            files.write_picture(path, picture(start + index))
    return tmp_path / "blur", tmp_path / "sharp"


def test_the_embedded_pictures_have_sharp_partners():
    said = []
    found = samples.load(count=2, note=said.append)
    assert found.origin == "synthetic/defocus/validation"
    assert len(found) == len(found.degraded) == len(found.sharp) == 2
    assert found.degraded[0].shape == found.sharp[0].shape
    assert found.degraded[0].dtype == np.uint8
    # Blurred: neighbours are more alike than in the sharp picture.
    blurred, sharp = (np.diff(p[0].astype(float), axis=0) for p in (found.degraded, found.sharp))
    assert np.abs(blurred).mean() < np.abs(sharp).mean()
    assert "--calibrate" in said[0]


def test_folders_are_read_evenly_and_in_pairs(folders):
    found = samples.load(*folders, count=4)
    assert [p[0, 0, 0] for p in found.degraded] == [0, 3, 6, 9]
    assert [p[0, 0, 0] for p in found.sharp] == [100, 103, 106, 109]
    assert samples.load(folders[0], count=99).sharp is None
    assert len(samples.load(folders[0], count=99)) == 12


def test_any_picture_becomes_eight_bit_colour(tmp_path):
    files.write_picture(tmp_path / "gray.png", np.full((4, 5), 9, np.uint8))
    files.write_picture(tmp_path / "gray16.png", np.full((4, 5), 257 * 9, np.uint16))
    for found in samples.load(tmp_path).degraded:
        np.testing.assert_array_equal(found, picture(9, 4, 5))


def test_crops_of_pairs_show_the_same_place():
    whole = ramp(40, 60)
    found = Samples((whole, whole), (whole, whole), "here")
    degraded, sharp = found.crops((16, 24), count=7, dtype=np.uint8)
    assert degraded.shape == (7, 16, 24, 3)
    np.testing.assert_array_equal(degraded, sharp)
    np.testing.assert_array_equal(degraded[0, 0, 0], [12, 18, 7])  # the middle of 40x60
    again, _ = found.crops((16, 24), count=7, dtype=np.uint8)
    np.testing.assert_array_equal(degraded, again)
    corners = {tuple(crop[0, 0]) for crop in degraded}
    assert len(corners) > 3
    for top, left, _ in corners:
        expected = whole[top : top + 16, left : left + 24]
        assert any(np.array_equal(crop, expected) for crop in degraded)


def test_floats_are_the_same_in_0_to_1():
    found = Samples((ramp(20, 20),), None, "here")
    levels, sharp = found.crops((8, 8), 3, dtype=np.uint8)
    pixels, _ = found.crops((8, 8), 3)
    assert sharp is None
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, levels.astype(np.float32) / 255)


def test_gray_networks_get_planes_in_turn():
    gray = types.SimpleNamespace(channels=1, output_scale=1)
    levels, _ = Samples((ramp(8, 8),), None, "here").crops((8, 8), 4, gray, np.uint8)
    assert levels.shape == (4, 8, 8, 1)
    np.testing.assert_array_equal(levels[2], np.full((8, 8, 1), 7))
    np.testing.assert_array_equal(levels[0], levels[3])


def test_small_pictures_are_mirrored_and_counted():
    found = Samples((ramp(3, 4), ramp(9, 9)), None, "here")
    assert found.smaller_than((5, 4)) == 1
    levels, _ = found.crops((5, 4), 1, dtype=np.uint8)
    np.testing.assert_array_equal(levels[0, :, 0, 0], [0, 1, 2, 1, 0])
    levels, _ = Samples((ramp(1, 1),), None, "here").crops((4, 4), 1, dtype=np.uint8)
    np.testing.assert_array_equal(levels[0, ..., 2], np.full((4, 4), 7))


@pytest.mark.parametrize("sharp", [None, (ramp(4, 5), ramp(6, 7))])
def test_saved_samples_are_the_same(sharp, tmp_path):
    found = Samples((ramp(4, 5), ramp(6, 7)), sharp, "a/b, c")
    found.save(tmp_path / "samples.npz")
    again = Samples.open(tmp_path / "samples.npz")
    assert again.origin == "a/b, c"
    assert (again.sharp is None) == (sharp is None)
    for one, other in zip(found.degraded, again.degraded, strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrong_folders_are_named(folders, tmp_path):
    blur, sharp = folders
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    for arguments, message in [
        ((None, sharp), "without degraded ones"),
        ((tmp_path / "none",), "no such folder"),
        ((tmp_path / "empty",), "has no pictures"),
        ((tmp_path / "broken",), "a.png: cannot be read"),
        ((blur, sharp, 0), "at least 1"),
    ]:
        with pytest.raises(UserError, match=message):
            samples.load(*arguments)
    (sharp / "03.png").unlink()
    with pytest.raises(UserError, match="03.png: no sharp picture of the same name"):
        samples.load(blur, sharp)
    files.write_picture(sharp / "03.png", picture(0, 9, 9))
    with pytest.raises(UserError, match="must have one size"):
        samples.load(blur, sharp)
