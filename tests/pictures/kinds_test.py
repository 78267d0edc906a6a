"""The one list of endings."""

import pytest
from PIL import Image

from restore_tf.pictures import kinds

Image.init()


def test_pillow_agrees_on_the_formats():
    known = {ending: {"DIB": "BMP"}.get(kind, kind) for ending, kind in Image.EXTENSION.items()}
    assert {ending: known[ending] for ending in kinds.PICTURES} == kinds.PICTURES


def test_no_ending_stands_in_two_lists():
    endings = [*kinds.PICTURES, *kinds.CLIPS, *kinds.UNREADABLE]
    assert len(endings) == len(set(endings))
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


@pytest.mark.parametrize(
    ("name", "picture", "clip", "readable"),
    [
        ("a.png", True, False, True), ("a.JFIF", True, False, True), ("a.jpe", True, False, True),
        ("a.WebP", True, False, True), ("a.tif", True, False, True), ("a.mts", False, True, True),
        ("a.3gp", False, True, True), ("A.MOV", False, True, True), ("a.heic", False, False, False),
        ("a.CR2", False, False, False), ("a.wmv", False, False, False),
        ("a.txt", False, False, True), ("png", False, False, True), (".png", False, False, True),
    ],
)  # fmt: skip
def test_kinds(name, picture, clip, readable):
    assert kinds.is_picture(name) == picture
    assert kinds.is_clip(f"photos/{name}") == clip
    assert (kinds.advice(name) is None) == readable


def test_unknown_endings():
    assert kinds.unknown_ending("x/a.HEIC") == (
        "x/a.HEIC: .heic files are not read; convert it to JPEG or PNG first."
    )
    assert "a.txt: unknown ending; expected one of .png, .jpg" in kinds.unknown_ending("a.txt")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["x/notes.txt"], "left out 1 file: 1 .txt (notes.txt)"),
        (
            ["c.txt", "x/a.heic", "b.HEIC"],
            "left out 3 files: 2 .heic (a.heic, b.HEIC; convert it to JPEG or PNG first), "
            "1 .txt (c.txt)",
        ),
        (
            ["1.xmp", "2.xmp", "3.xmp", "4.xmp", "README"],
            "left out 5 files: 4 .xmp (1.xmp, 2.xmp, 3.xmp, …), 1 without an ending (README)",
        ),
    ],
)
def test_what_is_left_out_is_counted_and_named(names, expected):
    assert kinds.describe_left_out(names) == expected
