"""Which crops are shown, by pictures whose answer is known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from toy_comparison import changed, from_tables, planted, with_pictures

from restore_tf.errors import UserError
from restore_tf.evaluation import metrics
from restore_tf.evaluation.comparison import grid
from restore_tf.evaluation.comparison.results import INPUT, SHARP
from restore_tf.evaluation.comparison.statistics import analyse
from restore_tf.pictures.files import read_rgb


def _rules(comparison):
    return grid.rules(comparison, analyse(comparison)["defocus"])


def test_rules_by_hand():
    psnr = {
        "input": [10.0] * 5,
        "a": [20.0, 25.0, 30.0, 26.0, 19.0],
        "b": [21.0, 15.0, 31.0, 24.0, 20.0],
    }
    gmsd = {
        "input": [0.9] * 5,
        "a": [0.2, 0.2, 0.2, 0.3, 0.2],
        "b": [0.1, 0.3, 0.1, 0.2, 0.1],
    }
    chosen = _rules(from_tables({"psnr": psnr, "gmsd": gmsd}))
    # Spreads 1, 10, 1, 2, 1; means 20.5, 20, 30.5, 25, 19.5, of which the median is 20.5. PSNR and
    # GMSD pick different networks on p03 alone.
    assert chosen == {
        "p01": ["largest spread between models", "the worst of B"],
        "p00": ["the median picture"],
        "p03": ["largest disagreement of PSNR and GMSD"],
        "p04": ["the worst of A"],
    }


def test_the_seed_decides_between_equals():
    same = from_tables({"psnr": {"input": [10.0] * 9, "a": [20.0] * 9}})
    found = analyse(same)["defocus"]
    chosen = {next(iter(grid.rules(same, found, seed))) for seed in range(8)}
    assert len(chosen) > 1
    assert grid.rules(same, found, 3) == grid.rules(same, found, 3)


def test_crops_lie_where_pictures_differ():
    one, other = np.zeros((2, 120, 160, 3), np.uint8)
    other[70:80, 100:110] = 255
    top, left = grid.place([one, other], 32)
    assert top <= 70 and top + 32 >= 80
    assert left <= 100 and left + 32 >= 110


def test_small_pictures_are_shown_whole(tmp_path):
    found = with_pictures(tmp_path, 1, ("psnr",), ["unsharp", "unet@all"])
    choice = grid.cut(found, "synthetic_motion", "photo/00", [], crop=500)
    assert choice.corner == (0, 0)
    path = found.picture_path("synthetic_motion", "unet@all", "photo/00")
    np.testing.assert_array_equal(choice.crops["unet@all"], read_rgb(path))


def test_scores_are_those_of_the_crop(tmp_path):
    found = with_pictures(tmp_path, 1, ("psnr", "gmsd"), ["unsharp", "unet@all", "gan@all"])
    choice = grid.cut(found, "synthetic_motion", "photo/00", [], crop=64)
    top, left = choice.corner
    pictures = [
        read_rgb(found.picture_path("synthetic_motion", row, "photo/00"))[
            top : top + 64, left : left + 64
        ]
        for row in (SHARP, "gan@all")
    ]
    assert choice.scores["gan@all"]["psnr"] == pytest.approx(metrics.psnr(*pictures))
    assert list(choice.crops) == [INPUT, "unsharp", "unet@all", "gan@all", SHARP]
    assert grid.shown(found, choice) == [INPUT, "unet@all", "gan@all", SHARP]


@pytest.mark.parametrize("scale", [1, 3])
def test_pixels_are_repeated(tmp_path, scale):
    found = with_pictures(tmp_path, 1, ("psnr",), ["unet@all"])
    choice = grid.cut(found, "synthetic_motion", "photo/00", ["a rule"], crop=80)
    sheet = grid.draw(found, [choice], scale)
    for row in (INPUT, "unet@all", SHARP):
        shown = choice.crops[row].repeat(scale, 0).repeat(scale, 1)
        side = 80 * scale
        # The crop's place in the sheet: where its first row of pixels stands.
        places = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], side, axis=1)
        tops, lefts = np.nonzero((places == shown[0, :, 0]).all(-1))
        assert any(
            (sheet[top : top + side, left : left + side] == shown).all()
            for top, left in zip(tops, lefts, strict=True)
        )


def test_wrong_arguments(tmp_path):
    found = with_pictures(tmp_path, 1, ("psnr",), ["unet@all"])
    with pytest.raises(UserError, match="at least 16 pixels"):
        grid.select(found, analyse(found), crop=8)
    choices = grid.select(found, analyse(found), crop=32)
    with pytest.raises(UserError, match="expected 1, 2 or 3"):
        grid.draw(found, choices, 4)


def test_without_pictures_nothing_is_chosen():
    found = dataclasses.replace(planted(5), folder=Path("/nowhere"))
    assert grid.select(found, analyse(found)) == []


def test_a_metric_that_is_not_installed_is_not_asked_for(tmp_path):
    found = with_pictures(tmp_path, 1, ("psnr", "gmsd"), ["unet@all"])
    found = changed(found, metrics=("psnr", "gmsd", "lpips"))
    choice = grid.cut(found, "synthetic_motion", "photo/00", [], crop=64)
    assert set(choice.scores["unet@all"]) == {"psnr", "gmsd"}
