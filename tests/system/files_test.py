"""Files are written whole or not at all, whatever their name; what goes wrong is one line."""

import errno
import os

import pytest

from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path


@pytest.mark.parametrize("ending", [".png", ".weights.h5", "", "." + "x" * 100])
@pytest.mark.parametrize("length", [200, 242, 255])
def test_names_as_long_as_names_can_be(tmp_path, ending, length):
    path = tmp_path / ("a" * (length - len(ending)) + ending)
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "target").write_text("foreign")
    (tmp_path / "link").symlink_to("target")
    with atomic_path(tmp_path / "link") as temporary:
        assert temporary.name.startswith(".")  # no folder's listing takes it for a result
        temporary.write_text("new")
    assert (tmp_path / "target").read_text() == "foreign"
    assert (tmp_path / "link").read_text() == "new"


def test_files_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for folder, words in (("missing", "No such file"), ("file", "Not a directory")):
        with (
            pytest.raises(UserError, match=f"{folder}/a: cannot be written .{words}"),
            atomic_path(tmp_path / folder / "a"),
        ):
            pass
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(UserError, match="folder: cannot be written .Is a directory"),
        atomic_path(tmp_path / "folder"),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space(tmp_path, number):
    (tmp_path / "a").write_text("old")
    with (
        pytest.raises(UserError, match="a: cannot be written .(No space|Disk quota)"),
        atomic_path(tmp_path / "a"),
    ):
        raise OSError(number, os.strerror(number))
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_other_errors_pass(tmp_path):
    for error in (FileNotFoundError(errno.ENOENT, "none", "another file"), RuntimeError()):
        with pytest.raises(type(error)), atomic_path(tmp_path / "a"):
            raise error
    assert list(tmp_path.iterdir()) == []
