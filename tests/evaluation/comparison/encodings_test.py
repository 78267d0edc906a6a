"""What the crops of the pages look like as files, read back by Pillow."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from toy_comparison import photographs, with_pictures

from restore_tf.evaluation.comparison import blind, encodings, gallery, report
from restore_tf.evaluation.comparison.grid import Choice

ROWS = ["unsharp", "unet@all", "gan@all"]


@pytest.fixture(scope="module")
def crops():
    return list(photographs(3, (64, 64)).values())


def _opened(encoded):
    return Image.open(io.BytesIO(encoded.file))


def _choice(block, name, size):
    """A picture whose crops are noise of size x size: a PNG file of 3 size^2 bytes and some."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return Choice(block, name, [], (0, 0), {"a": noise, "b": noise}, {})


def test_crops_to_look_at_keep_their_colours_at_full_resolution(crops):
    for pixels in crops:
        encoded = encodings.for_looking(pixels)
        opened = _opened(encoded)
        assert (opened.format, encoded.kind) == ("JPEG", "image/jpeg")
        assert {(each[1], each[2]) for each in opened.layer} == {(1, 1)}  # no subsampling
        error = np.asarray(opened).astype(float) - pixels
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 35


def test_crops_to_vote_on_are_exact_where_there_is_room(crops, monkeypatch):
    encoded, how = encodings.for_voting(crops)
    assert how.startswith("exact")
    for one, pixels in zip(encoded, crops, strict=True):
        assert _opened(one).format == "WEBP"
        np.testing.assert_array_equal(np.asarray(_opened(one)), pixels)
    room = sum(len(one.file) for one in encoded)
    monkeypatch.setattr(encodings, "VOTING_BYTES", room)
    assert encodings.for_voting(crops)[1].startswith("exact")
    monkeypatch.setattr(encodings, "VOTING_BYTES", room - 1)
    encoded, how = encodings.for_voting(crops)  # all alike: the format must not tell them apart
    assert {_opened(one).format for one in encoded} == {"JPEG"}
    assert how.startswith("JPEG of quality 95")


def test_the_grid_holds_every_blocks_first_pictures(monkeypatch):
    chosen = [_choice("one", "p", 20), _choice("one", "q", 20), _choice("one", "r", 20)]
    chosen += [_choice("two", "s", 20), _choice("two", "t", 20)]
    one = len(chosen[0].pngs["a"])
    rows = [["a"]] * 5

    def kept(room):
        monkeypatch.setattr(encodings, "GRID_BYTES", room)
        return "".join(choice.picture for choice in encodings.within_grid(chosen, rows))

    assert kept(5 * one) == "pqrst"
    assert kept(5 * one - 1) == "pqst"
    assert kept(3 * one) == "pqs"
    assert kept(1) == "p"


def test_pages_say_what_they_hold(tmp_path, monkeypatch):
    found = with_pictures(tmp_path, 4, ("psnr", "gmsd"), ROWS)
    blind.write_blind(found, crop=48)
    vote = (tmp_path / "blind.html").read_text()
    assert "exact, pixel for pixel" in vote and "image/jpeg" not in vote
    report.write(found, crop=48)
    text = (tmp_path / "index.html").read_text()
    assert "JPEG of quality 92" in text and "image/png" not in text
    assert "of every block" not in text
    height = Image.open(tmp_path / "grid.png").height
    monkeypatch.setattr(encodings, "VOTING_BYTES", 1)
    monkeypatch.setattr(encodings, "GRID_BYTES", 1)
    monkeypatch.setattr(gallery, "LIMIT", 1)
    blind.write_blind(found, crop=48)
    vote = (tmp_path / "blind.html").read_text()
    assert "JPEG of quality 95" in vote and "image/webp" not in vote
    report.write(found, crop=48)
    text = (tmp_path / "index.html").read_text()
    (shown, chosen) = map(int, re.search(r"(\d+) of (\d+) pictures, the first", text).groups())
    assert shown == 1 < chosen and Image.open(tmp_path / "grid.png").height < height
    assert "more are not shown here" in text
