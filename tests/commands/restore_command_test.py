"""restore.py on files, folders, patterns and streams, with a network that changes nothing."""

import io
import sys
import threading

import numpy as np
import pytest
from deep_files import png16
from PIL import Image

from restore_tf.commands import cli, restore, restore_jobs
from restore_tf.commands.flags import pictures as pictures_flags
from restore_tf.errors import UserError
from restore_tf.pictures import files as images

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    """In place of a trained network: what was given to it, and the same back."""
    seen = []

    def restore_pixels(pixels):
        seen.append(pixels)
        return pixels

    monkeypatch.setattr(restore, "_restorer", lambda values: restore_pixels)
    return seen


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/a.png, photos/b.jpg, photos/trip/c.png, photos/trip/day/d.bmp and other things."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg", "trip/c.png", "trip/day/d.bmp"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write_picture(path, PIXELS)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    (tmp_path / "photos" / "._a.png").write_bytes(b"a Mac's note")
    (tmp_path / "photos" / "x.png").mkdir()
    return tmp_path / "photos"


def run(*words):
    return restore.main(["restore.py", "--workdir", "run", *map(str, words)])


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def error_of(capsys, code, expected=cli.USER_ERROR):
    assert code == expected
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    line = captured.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_a_folder(photos, tmp_path, capsys):
    assert run("photos", "--output", "out") == 0
    assert files(tmp_path / "out") == ["a.png", "b.jpg"]
    captured = capsys.readouterr()
    assert captured.out == "2 of 2 pictures restored into out\n"
    assert captured.err == ""


def test_recursive_keeps_sub_folders(photos, tmp_path):
    assert run("photos", "--output", "out", "--recursive") == 0
    assert files(tmp_path / "out") == ["a.png", "b.jpg", "trip/c.png", "trip/day/d.bmp"]


def test_an_output_folder_within_the_input_is_not_an_input(photos):
    for _ in range(2):
        assert run("photos", "--output", "photos/out", "--recursive", "--overwrite") == 0
        assert files(photos / "out") == ["a.png", "b.jpg", "trip/c.png", "trip/day/d.bmp"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.png", ["a.png"]),
        ("photos/**/*.png", ["a.png", "trip/c.png"]),
        ("photos/t*/*", ["trip/c.png"]),
        ("photos/trip/[a-c].png", ["c.png"]),
    ],
)
def test_patterns(photos, tmp_path, pattern, expected):
    assert run(pattern, "--output", "out") == 0
    assert files(tmp_path / "out") == expected


def test_a_name_with_brackets_is_a_name(photos, tmp_path):
    (photos / "a.png").rename(photos / "a[1].png")
    assert run("photos/a[1].png", "--output", "out") == 0
    assert files(tmp_path / "out") == ["a[1].png"]


def test_suffix_beside_the_input(photos, capsys):
    before = files(photos)
    assert run("photos", "--recursive", "--suffix", "_sharp") == 0
    added = ["a_sharp.png", "b_sharp.jpg", "trip/c_sharp.png", "trip/day/d_sharp.bmp"]
    assert sorted(set(files(photos)) - set(before)) == added
    assert "4 of 4 pictures restored beside the inputs" in capsys.readouterr().out
    # Again: the results of the first time are no inputs.
    assert run("photos", "--recursive", "--suffix", "_sharp", "--overwrite") == 0
    assert run("photos/*.*g", "--suffix", "_sharp", "--overwrite") == 0
    assert sorted(set(files(photos)) - set(before)) == added


def test_suffix_and_format_in_a_folder(photos, tmp_path):
    assert run("photos", "--output", "out", "--suffix", "_sharp", "--format", "tif") == 0
    assert files(tmp_path / "out") == ["a_sharp.tif", "b_sharp.tif"]
    with Image.open(tmp_path / "out" / "a_sharp.tif") as image:
        assert image.format == "TIFF"


def test_a_single_picture_to_a_file(photos, tmp_path):
    assert run("photos/a.png", "--output", "new/sharp.webp") == 0
    with Image.open(tmp_path / "new" / "sharp.webp") as image:
        assert image.format == "WEBP"
    (tmp_path / "folder.png").mkdir()
    assert run("photos/a.png", "--output", "folder.png") == 0
    assert files(tmp_path / "folder.png") == ["a.png"]


def test_16_bits_reach_the_network(photos, tmp_path, identity):
    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, 4), np.uint16)
    (tmp_path / "deep.png").write_bytes(png16(deep))
    assert run("deep.png", "--output", "out", "--strip") == 0
    assert identity[0].dtype == np.uint16
    assert identity[0].shape == (5, 7, 3)
    assert (tmp_path / "out" / "deep.png").read_bytes()[24] == 16
    strip = images.read_picture(tmp_path / "out" / "deep_before_after.png").pixels
    np.testing.assert_array_equal(strip[:, :7], np.rint(deep[..., :3] / 257))


def test_jpeg_quality(photos, tmp_path):
    for quality in (20, 90):
        assert run("photos/a.png", "--output", f"{quality}.jpg", "--jpeg_quality", quality) == 0
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "90.jpg").stat().st_size


class Streams:
    """Standard input and output with bytes underneath."""

    def __init__(self, monkeypatch, data):
        self.written = io.BytesIO()
        for name, buffer in (("stdin", io.BytesIO(data)), ("stdout", self.written)):
            wrapper = io.TextIOWrapper(buffer)
            monkeypatch.setattr(sys, name, wrapper)
            setattr(self, name, wrapper)


@pytest.mark.parametrize(("words", "kind"), [((), "BMP"), (("--format", "png"), "PNG")])
def test_standard_input_and_output(photos, monkeypatch, words, kind):
    data = (photos / "trip" / "day" / "d.bmp").read_bytes()
    streams = Streams(monkeypatch, data)
    assert run("-", "--output", "-", *words) == 0
    with Image.open(io.BytesIO(streams.written.getvalue())) as image:  # nothing but the picture
        assert image.format == kind
        np.testing.assert_array_equal(np.asarray(image), PIXELS)


def test_one_of_the_two_streams(photos, tmp_path, monkeypatch):
    streams = Streams(monkeypatch, (photos / "a.png").read_bytes())
    assert run("-", "--output", "a.bmp") == 0
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "a.bmp"), PIXELS)
    streams = Streams(monkeypatch, b"")
    assert run("photos/a.png", "--output=-") == 0
    assert images.read_picture(streams.written.getvalue()).kind == "PNG"


def test_broken_standard_input_is_named(photos, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no picture")))
    line = error_of(capsys, run("-", "--output", "-"))
    assert "standard input: cannot be read as a picture" in line


def test_broken_files_do_not_stop_the_others(photos, tmp_path, capsys):
    (photos / "0.png").write_bytes(b"")
    (photos / "broken.jpg").write_bytes((photos / "b.jpg").read_bytes()[:300])
    (photos / "text.png").write_text("hello")
    assert run("photos", "--output", "out") == pictures_flags.SOME_FAILED
    assert files(tmp_path / "out") == ["a.png", "b.jpg"]
    captured = capsys.readouterr()
    assert "2 of 5 pictures restored" in captured.out
    lines = captured.err.splitlines()
    assert lines[0] == "3 of 5 pictures failed:"
    assert [line.split(": ")[1] for line in lines[1:]] == [
        "photos/0.png", "photos/broken.jpg", "photos/text.png",
    ]  # fmt: skip


def test_a_single_broken_picture(photos, capsys):
    (photos / "0.png").write_bytes(b"")
    assert "0.png: cannot be read" in error_of(capsys, run("photos/0.png", "--output", "out"))


def test_existing_outputs_stay(photos, tmp_path, capsys):
    assert run("photos/a.png", "--output", "out") == 0
    kept = tmp_path / "out" / "a.png"
    kept.write_bytes(b"precious")
    # The others go on, so that an interrupted run can be taken up.
    code = run("photos", "--output", "out")
    assert "a.png: exists; pass --overwrite" in error_of(capsys, code, pictures_flags.SOME_FAILED)
    assert files(tmp_path / "out") == ["a.png", "b.jpg"]
    assert kept.read_bytes() == b"precious"
    assert "exists; pass --overwrite" in error_of(capsys, run("photos", "--output", "out"))
    assert run("photos", "--output", "out", "--overwrite") == 0
    assert kept.read_bytes() != b"precious"


def test_an_output_that_comes_up_meanwhile_stays(photos, tmp_path, monkeypatch, capsys):
    def restore_pixels(pixels):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "a.png").write_bytes(b"precious")
        return pixels

    monkeypatch.setattr(restore, "_restorer", lambda values: restore_pixels)
    assert "exists" in error_of(capsys, run("photos/a.png", "--output", "out"))
    assert (tmp_path / "out" / "a.png").read_bytes() == b"precious"


def test_colours_converted_are_said(photos, tmp_path, capsys):
    from icc_profiles import DISPLAY_P3, rgb

    profile = rgb("Display P3", DISPLAY_P3)
    Image.fromarray(PIXELS).save("p3.png", icc_profile=profile)
    assert run("p3.png", "--output", "out") == 0
    assert capsys.readouterr().err == "warning: p3.png: converted from Display P3 to sRGB.\n"


def test_the_limit_is_an_option(photos, capsys):
    line = error_of(capsys, run("photos/a.png", "--output", "out", "--max_pixels", "34"))
    assert "photos/a.png: has 7x5 pixels, more than --max_pixels (34)" in line
    assert run("photos/a.png", "--output", "out", "--max_pixels", "35") == 0


def test_an_interruption_leaves_whole_files_only(photos, tmp_path, monkeypatch, capsys):
    calls, threads = [], threading.active_count()

    def restore_pixels(pixels):
        calls.append(pixels)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return pixels

    monkeypatch.setattr(restore, "_restorer", lambda values: restore_pixels)
    assert run("photos", "--recursive", "--output", "out") == cli.INTERRUPTED
    assert files(tmp_path / "out") == ["a.png", "b.jpg"]
    assert "interrupted" in capsys.readouterr().err
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no pictures"),
        (["photos"], "--output: missing"),
        (["photos/q.png", "--output", "o"], "photos/q.png: no such file or folder"),
        (["photos/*.gif", "--output", "o"], "photos/*.gif: matches no pictures"),
        (["photos/notes.txt", "--output", "o"], "unknown ending"),
        (["photos/x.png", "--output", "o"], "x.png: has no pictures"),
        (["photos", "--output", "o.png"], "o.png: names one picture; expected a folder"),
        (["photos", "--output", "photos/notes.txt"], "notes.txt: is a file; expected a folder"),
        (["photos", "--output", "-"], "takes a single picture"),
        (["photos/a.png", "--output", "photos"], "photos/a.png: is an input"),
        (["photos/a.png", "--output", "o.png", "--suffix", "_x"], "expected a folder, or no"),
        (["photos/a.png", "--output", "o.png", "--format", "jpg"], "has another ending"),
        (["photos/a.png", "--suffix", "/x"], "expected a part of a file name"),
        (["-", "photos/a.png", "--output", "o"], "standard input goes alone"),
        (["-", "--output", "o"], "standard input has no name"),
        (["-", "--suffix", "_x"], "standard input has no name"),
        (["-", "--output", "-", "--strip"], "--strip: writes a file"),
        (["photos", "--output", "o", "--format", "gif"], "--format"),
        (["photos", "--output", "o", "--jpeg_quality", "0"], "jpeg_quality"),
        (["photos/a.png", "photos/trip/../a.png", "--output", "o"], "would be written to"),
    ],
)
def test_bad_input_is_one_line(photos, words, message, capsys):
    before = files(photos)
    assert message in error_of(capsys, run(*words))
    assert files(photos) == before


def test_two_inputs_of_one_name(photos):
    images.write_picture(photos / "a.jpg", PIXELS)
    naming = restore_jobs.Naming("out", format="png")
    with pytest.raises(UserError, match="a.png: would be written to out/a.png, as photos/a.jpg is"):
        restore_jobs.plan(["photos"], naming)


def test_a_file_named_twice_is_restored_once(photos):
    jobs = restore_jobs.plan(["photos/a.png", "photos/a.png"], restore_jobs.Naming("out"))
    assert [str(job.output) for job in jobs] == ["out/a.png"]
