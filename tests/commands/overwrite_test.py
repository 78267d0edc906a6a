"""restore.py --overwrite: only what an earlier run wrote, and recorded, is replaced."""

import json

import numpy as np
import pytest
from PIL import Image

from restore_tf.commands import cli, restore
from restore_tf.commands.flags import pictures as pictures_flags
from restore_tf.system.record import MANIFEST

MINE = b"somebody else's"
NO_RECORD = "is in the way, and no record says that an earlier run wrote it"
LINK = "is a link, which is not followed"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """photos/a.png, photos/b.jpg, photos/trip/c.png; a network that changes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restore, "make_restorer", lambda values: lambda pixels: pixels)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    for name in ("a.png", "b.jpg", "trip/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "films").mkdir()
    return tmp_path


@pytest.fixture
def film(place):
    """A clip of three frames."""
    av = pytest.importorskip("av")
    with av.open(str(place / "films" / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 16
        for _ in range(3):
            gray = np.full((16, 16, 3), 100, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        container.mux(stream.encode(None))
    return place / "films" / "a.mp4"


def run(*words):
    return restore.main(["restore.py", "--workdir=run", *words])


def last_line(capsys, code, expected):
    said = capsys.readouterr().err
    assert code == expected, said
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def recorded(folder):
    lines = (folder / MANIFEST).read_text().splitlines()
    return sorted({json.loads(line)["path"] for line in lines})


def block(path, how):
    """Puts somebody else's file at a path, or a link to one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = path if how == "file" else path.with_name("held.bin")
    held.write_bytes(MINE)
    if how == "link":
        path.symlink_to(held.name)
    return held


PICTURES = [
    (["photos", "--output=out"], "out/a.png"),
    (["photos", "--output=out", "--strip"], "out/a_before_after.png"),
    (["photos", "--suffix=_s"], "photos/a_s.png"),
    (["photos/*.*", "--suffix=_s"], "photos/a_s.png"),
    (["photos", "--suffix=_s", "--strip"], "photos/a_before_after.png"),
    (["photos", "--recursive", "--suffix=_s"], "photos/trip/c_s.png"),
    (["photos/a.png", "--output=one.png", "--strip"], "a_before_after.png"),
]


@pytest.mark.parametrize("how", ["file", "link"])
@pytest.mark.parametrize(("words", "in_the_way"), PICTURES)
def test_what_no_run_wrote_stays(place, capsys, words, in_the_way, how):
    held = block(place / in_the_way, how)
    alone = words[0].endswith("a.png")
    expected = cli.USER_ERROR if alone else pictures_flags.SOME_FAILED
    line = last_line(capsys, run(*words, "--overwrite"), expected)
    assert f"{in_the_way}: {NO_RECORD if how == 'file' else LINK}" in line
    assert held.read_bytes() == MINE


@pytest.mark.parametrize(("words", "in_the_way"), PICTURES)
def test_what_a_run_wrote_is_replaced(place, capsys, words, in_the_way):
    assert run(*words) == 0
    (place / in_the_way).write_bytes(b"changed since")
    assert run(*words, "--overwrite") == 0
    Image.open(place / in_the_way).verify()


def test_each_folder_has_its_record(place):
    assert run("photos", "--recursive", "--output=out") == 0
    assert recorded(place / "out") == ["a.png", "b.jpg", "trip/c.png"]
    assert run("photos", "--recursive", "--suffix=_s") == 0
    assert recorded(place / "photos") == ["a_s.png", "b_s.jpg"]
    assert recorded(place / "photos" / "trip") == ["c_s.png"]


def test_a_file_that_is_named_itself_needs_no_record(place):
    """Who names it and says --overwrite means it; a link there is replaced, not followed."""
    held = block(place / "one.png", "link")
    assert run("photos/a.png", "--output=one.png", "--overwrite") == 0
    assert not (place / "one.png").is_symlink()
    assert held.read_bytes() == MINE
    assert not (place / MANIFEST).exists()


CLIPS = [
    (["films/a.mp4", "--output=out"], "out/a.mp4"),
    (["films", "--suffix=_s"], "films/a_s.mp4"),
    (["films/a.mp4", "--output=out", "--as_images"], "out/a_000001.png"),
    (["films", "--output=out", "--as_images", "--format=jpg", "--frames=2"], "out/a_000002.jpg"),
]


@pytest.mark.parametrize("how", ["file", "link"])
@pytest.mark.parametrize(("words", "in_the_way"), CLIPS)
def test_clips_and_stills_that_no_run_wrote_stay(place, film, capsys, words, in_the_way, how):
    held = block(place / in_the_way, how)
    before = sorted(place.rglob("*"))
    line = last_line(capsys, run(*words, "--overwrite"), cli.USER_ERROR)
    assert f"{in_the_way}: {NO_RECORD if how == 'file' else LINK}" in line
    assert held.read_bytes() == MINE
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(("words", "in_the_way"), CLIPS)
def test_clips_and_stills_that_a_run_wrote_are_replaced(place, film, capsys, words, in_the_way):
    assert run(*words) == 0
    assert in_the_way.rpartition("/")[2] in recorded((place / in_the_way).parent)
    assert "exists; pass --overwrite" in last_line(capsys, run(*words), cli.USER_ERROR)
    (place / in_the_way).write_bytes(b"changed since")
    assert run(*words, "--overwrite") == 0
    assert (place / in_the_way).read_bytes() != b"changed since"


def test_a_dead_link_is_in_the_way_of_a_clip(place, film, capsys):
    (place / "dead.mp4").symlink_to("nowhere")
    code = run("films/a.mp4", "--output=dead.mp4")
    assert "dead.mp4: exists" in last_line(capsys, code, cli.USER_ERROR)
    assert (place / "dead.mp4").is_symlink()
