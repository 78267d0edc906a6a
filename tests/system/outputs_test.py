"""Output folders: nothing that another owns is replaced, and what is made is whole."""

import hashlib
import json
import os

import pytest

from restore_tf.errors import UserError
from restore_tf.system import outputs


def write(folder, contents):
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != outputs.MANIFEST
    }


def run(folder, files, names=("scores.csv", "pictures")):
    with outputs.staged(folder, names, cleared=("pictures",)) as staging:
        write(staging, files)


FIRST = {"scores.csv": "1", "pictures/a.png": "a", "pictures/b.png": "b"}
SECOND = {"scores.csv": "2", "pictures/b.png": "B", "pictures/deep/c.png": "c"}


def test_a_second_run_replaces_the_first(tmp_path):
    output = tmp_path / "made" / "on the way" / "out"
    run(output, FIRST)
    assert contents(output) == FIRST
    (output / "mine.txt").write_text("kept")
    (output / "pictures" / "mine.png").write_text("kept")
    run(output, SECOND)
    assert contents(output) == SECOND | {"mine.txt": "kept", "pictures/mine.png": "kept"}
    assert sorted(os.listdir(tmp_path / "made" / "on the way")) == ["out"]
    run(output, {"scores.csv": "3"})
    assert contents(output) == {"scores.csv": "3", "mine.txt": "kept", "pictures/mine.png": "kept"}
    recorded = [json.loads(line) for line in (output / outputs.MANIFEST).read_text().splitlines()]
    assert [entry["path"] for entry in recorded] == ["scores.csv"]


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        ({"pictures/holiday.png": "x"}, "pictures: is in the way"),
        ({"scores.csv": "x"}, "scores.csv: is in the way"),
        ({"pictures": "a file"}, "pictures: is in the way"),
        ({"scores.csv/x": "a folder"}, "scores.csv: is in the way"),
        ({outputs.MANIFEST: "{", "scores.csv": "x"}, "scores.csv: is in the way"),
        ({outputs.MANIFEST: "[1]\n\n7\n", "scores.csv": "x"}, "scores.csv: is in the way"),
    ],
)
def test_what_another_owns_stays(tmp_path, foreign, named):
    write(tmp_path / "out", foreign)
    before = contents(tmp_path / "out")
    with pytest.raises(UserError, match=named) as error:
        run(tmp_path / "out", FIRST)
    assert "\n" not in str(error.value)
    assert contents(tmp_path / "out") == before


def test_what_was_changed_since_stays(tmp_path):
    run(tmp_path, FIRST)
    (tmp_path / "pictures" / "b.png").write_text("retouched")
    with pytest.raises(UserError, match="b.png: was changed since an earlier run wrote it"):
        run(tmp_path, SECOND)
    assert contents(tmp_path) == FIRST | {"pictures/b.png": "retouched"}


@pytest.mark.parametrize("name", ["pictures", "scores.csv", "pictures/b.png"])
def test_links_are_not_followed(tmp_path, name):
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    run(output, FIRST)
    elsewhere.mkdir()
    os.rename(output / name, elsewhere / "it")
    before = contents(elsewhere)
    (output / name).symlink_to(elsewhere / "it")
    with pytest.raises(UserError, match=f"{name}: is a link, which is not followed"):
        run(output, SECOND)
    assert contents(elsewhere) == before


def test_a_linked_record_is_neither_believed_nor_written_to(tmp_path):
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    run(output, FIRST)
    os.rename(output / outputs.MANIFEST, elsewhere)
    before = elsewhere.read_text()
    (output / outputs.MANIFEST).symlink_to(elsewhere)
    with pytest.raises(UserError, match="scores.csv: is in the way"):
        run(output, SECOND)
    with pytest.raises(UserError, match="cannot be written"):
        outputs.Record(output).add(output / "scores.csv")
    assert elsewhere.read_text() == before


def test_the_output_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    run(tmp_path / "out", FIRST)
    run(tmp_path / "out", SECOND)
    assert contents(tmp_path / "disk") == SECOND


@pytest.mark.parametrize("path", ["../victim", "/etc/hostname", "pictures/../../victim", "", "."])
def test_a_record_does_not_reach_outside(tmp_path, path):
    output, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("v")
    run(output, FIRST)
    digest = hashlib.sha256(b"v").hexdigest()
    with open(output / outputs.MANIFEST, "a") as file:
        file.write(json.dumps({"path": path, "sha256": digest}) + "\n")
    run(output, SECOND)
    assert victim.read_text() == "v"


def test_a_record_cut_off_by_a_kill_goes_on(tmp_path):
    record = outputs.Record(tmp_path)
    for name in "abc":
        (tmp_path / name).write_text(name)
        record.add(tmp_path / name)
    manifest = tmp_path / outputs.MANIFEST
    manifest.write_text(manifest.read_text()[:-30])  # in the middle of c's line
    (tmp_path / "d").write_text("d")
    outputs.Record(tmp_path).add(tmp_path / "d")
    record = outputs.Record(tmp_path)
    assert [record.owns(tmp_path / name) for name in "abcd"] == [True, True, False, True]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"path": 3}', '{"path": "a", "sha256": []}', "[" * 10**5, "\0"]
)
def test_damaged_lines_of_a_record_are_no_claims(tmp_path, line):
    (tmp_path / "a").write_text("a")
    (tmp_path / outputs.MANIFEST).write_text(
        line + "\n" + json.dumps({"path": "a\0b", "sha256": ""})
    )
    record = outputs.Record(tmp_path)
    assert not record.owns(tmp_path / "a")
    record.add(tmp_path / "a")
    record.tidy()
    assert outputs.Record(tmp_path).owns(tmp_path / "a")


def test_what_cannot_be_recorded_stays_and_is_said(tmp_path):
    """As on a full disk."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    record = outputs.Record(tmp_path)
    record.add(tmp_path / "a")
    manifest = tmp_path / outputs.MANIFEST
    kept = manifest.read_text()
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(UserError, match=r"cannot be written \(Is a directory\)\.$"):
        record.add(tmp_path / "a")  # it was recorded before
    with pytest.raises(UserError, match="/b is written, but no --overwrite will replace it"):
        record.add(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "b"
    manifest.rmdir()
    manifest.write_text(kept + '{"path": "b", "sh')  # half a line, as a full disk leaves it
    (tmp_path / "c").write_text("c")
    record.add(tmp_path / "c")
    again = outputs.Record(tmp_path)
    assert again.owns(tmp_path / "a") and again.owns(tmp_path / "c")


def test_overwriting_single_files(tmp_path):
    record = outputs.Record(tmp_path)
    path = tmp_path / "frame.png"
    record.check_overwrite(path, False)
    path.write_text("1")
    with pytest.raises(UserError, match="frame.png: is in the way"):
        record.check_overwrite(path, True)
    record.add(path)
    path.write_text("2")
    outputs.Record(tmp_path).check_overwrite(path, True)
    with pytest.raises(UserError, match="frame.png: exists; pass --overwrite"):
        record.check_overwrite(path, False)
    with pytest.raises(UserError, match="frame.png: was changed since"):
        record.check(path)
    os.rename(path, tmp_path / "elsewhere")
    path.symlink_to("elsewhere")
    with pytest.raises(UserError, match="frame.png: is a link"):
        record.check_overwrite(path, True)


def test_a_failure_changes_nothing(tmp_path):
    run(tmp_path / "out", FIRST)
    for folder in (tmp_path / "out", tmp_path / "new" / "folder"):
        with pytest.raises(ZeroDivisionError), outputs.staged(folder) as staging:
            write(staging, SECOND)
            raise ZeroDivisionError
    assert contents(tmp_path) == {f"out/{name}": text for name, text in FIRST.items()}
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_results_are_kept_where_something_came_in_their_way(tmp_path):
    run(tmp_path, FIRST)
    with (
        pytest.raises(
            UserError, match=r"late.csv: is in the way.* The results are in (\S+)\."
        ) as e,
        outputs.staged(tmp_path) as staging,
    ):
        write(staging, {"late.csv": "new"})
        (tmp_path / "late.csv").write_text("foreign")
    assert (staging / "late.csv").read_text() == "new"
    assert str(staging) in str(e.value)
    assert (tmp_path / "late.csv").read_text() == "foreign"


def test_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "a_file").write_text("")
    (tmp_path / "nothing").symlink_to(tmp_path / "nowhere")
    for path in ("a_file", "a_file/out", "nothing", "nothing/out"):
        for check in (outputs.check_folder, outputs.make_folder):
            with pytest.raises(UserError, match=f"{path}: cannot be made"):
                check(tmp_path / path)
    outputs.check_folder(tmp_path / "x" / "y")
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_one_line(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    (tmp_path / "scores.csv").symlink_to("/dev/full")
    with (
        pytest.raises(UserError, match=r"scores.csv: cannot be written \(No space left"),
        outputs.writing(tmp_path / "scores.csv"),
    ):
        (tmp_path / "scores.csv").write_text("1")


def test_folders_follow_the_users_umask(tmp_path):
    run(tmp_path / "out", FIRST)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode
