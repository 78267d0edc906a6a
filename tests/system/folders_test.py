"""Folders are walked in a fixed order, each real one once, and what is left out is named."""

import os

import pytest

from restore_tf.errors import UserError
from restore_tf.system import disk, folders


@pytest.fixture
def tree(tmp_path):
    """photos/a.png, photos/z/b.png, photos/.c.png, photos/.trash/d.png; elsewhere/e.png."""
    for name in (
        "photos/a.png", "photos/z/b.png", "photos/.c.png", "photos/.trash/d.png", "elsewhere/e.png"
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "photos"


def listed(folder, *arguments):
    return {
        str(below): [path.name for path in files]
        for below, files in folders.walk(folder, *arguments)
    }


def test_hidden_files_and_folders_are_left_out(tree):
    assert listed(tree, False) == {".": ["a.png"]}
    assert listed(tree, True) == {".": ["a.png"], "z": ["b.png"]}
    assert [path for _, files in folders.walk(tree, True) for path in files] == [
        tree / "a.png", tree / "z" / "b.png",
    ]  # fmt: skip


def test_order_is_by_name(tmp_path):
    for name in ("b/2", "b/10", "a/1", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(listed(tmp_path, True).items()) == [
        (".", ["c"]), ("a", ["1"]), ("b", ["10", "2"]),
    ]  # fmt: skip


def test_links_to_folders_are_followed(tree, caplog):
    (tree / "link").symlink_to("../elsewhere")
    assert listed(tree, True) == {".": ["a.png"], "link": ["e.png"], "z": ["b.png"]}
    assert not caplog.records


def test_a_folder_and_links_to_it_are_one(tree, caplog):
    (tree / "first").symlink_to("z")  # by name it comes before z, which has the better name
    (tree / "one").symlink_to("../elsewhere")
    (tree / "two").symlink_to("../elsewhere")
    assert listed(tree, True) == {".": ["a.png"], "one": ["e.png"], "z": ["b.png"]}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tree}/first: is the folder {tree}/z again; taken once.",
        f"{tree}/two: is the folder {tree}/one again; taken once.",
    ]


def test_loops_end(tree, caplog):
    (tree / "z" / "up").symlink_to("..")
    (tree / "self").symlink_to("self")
    assert listed(tree, True) == {".": ["a.png"], "z": ["b.png"]}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tree}/self: is a broken link; left out.",
        f"{tree}/z/up: is the folder {tree} again; taken once.",
    ]


def test_dead_links_are_named_once(tree, caplog):
    (tree / "gone.png").symlink_to("nowhere.png")
    assert listed(tree, True) == {".": ["a.png"], "z": ["b.png"]}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tree}/gone.png: is a broken link; left out."
    ]


def test_what_would_never_end_is_no_file(tree):
    os.mkfifo(tree / "pipe.png")
    assert listed(tree, False) == {".": ["a.png"]}


def test_folders_to_skip(tree, caplog):
    (tree / "link").symlink_to("z")
    assert listed(tree, True, [tree / "z"]) == {".": ["a.png"]}
    assert not caplog.records


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "missing"):
        with pytest.raises(UserError, match=f"{name}: cannot be listed"):
            listed(tmp_path / name, True)


def test_folders_that_cannot_be_made(tmp_path):
    disk.make_folder(tmp_path / "a" / "b")
    disk.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/a: cannot be made .Not a directory"):
        disk.make_folder(tmp_path / "file" / "a")
    with pytest.raises(UserError, match="file: cannot be made .File exists"):
        disk.make_folder(tmp_path / "file")


def test_folders_are_checked_without_being_made(tmp_path, monkeypatch):
    disk.check_folder(tmp_path / "a" / "b")
    disk.check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for name in ("file", "file/a/b"):
        with pytest.raises(UserError, match=f"{name}: cannot be made .*file is a file"):
            disk.check_folder(tmp_path / name)
    monkeypatch.setattr(disk.os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UserError, match="a: cannot be written .no permission for"):
        disk.check_folder(tmp_path / "a")
