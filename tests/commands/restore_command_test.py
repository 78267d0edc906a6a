"""restore.py on files, folders, patterns and streams, with a network that changes nothing."""

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from deep_files import png16
from PIL import Image

from restore_tf.commands import cli, restore, restore_inputs, restore_jobs
from restore_tf.commands.flags import pictures as pictures_flags
from restore_tf.errors import UserError
from restore_tf.pictures import files as images
from restore_tf.system.record import MANIFEST

PROGRAM = """
from restore_tf.commands import restore
restore.make_restorer = lambda values: lambda pixels: pixels
raise SystemExit(restore.main())
"""
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    """In place of a trained network: what was given to it, and the same back."""
    seen = []

    def restore_pixels(pixels):
        seen.append(pixels)
        return pixels

    monkeypatch.setattr(restore, "make_restorer", lambda values: restore_pixels)
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
    """What lies in a folder, without the record of what was written there."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST]
    return sorted(str(p.relative_to(folder)) for p in found)


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
    assert captured.err == "warning: left out 1 file: 1 .txt (notes.txt).\n"


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
    lines = [line for line in captured.err.splitlines() if not line.startswith("warning")]
    assert lines[0] == "3 of 5 pictures failed:"
    assert [line.split(": ")[1] for line in lines[1:]] == [
        "photos/0.png", "photos/broken.jpg", "photos/text.png",
    ]  # fmt: skip


def test_an_odd_name_stays_in_its_line(photos, capsys):
    """Line breaks and terminal codes are shown, not obeyed."""
    (photos / "a\n\x1b[2Jb.png").write_bytes(b"")
    code = run("photos/a\n\x1b[2Jb.png", "--output", "out")
    assert error_of(capsys, code) == (
        "error: photos/a\\n\\x1b[2Jb.png: cannot be read as a picture (it is empty)."
    )
    line = error_of(capsys, run("photos/none\n.png", "--output", "out"))
    assert line == "error: photos/none\\n.png: no such file or folder."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["photos/a.png", "--output="], "--output: is empty; "),
        (["", "--output=out"], "an argument is empty; "),
        (["photos/a.png", "--output=out", "--tflite="], "--tflite: is empty; "),
    ],
)
def test_an_empty_word_is_no_path(photos, tmp_path, capsys, words, said):
    """As a shell leaves of a variable that is not set: it would be the folder one is in."""
    before = files(tmp_path)
    assert said in error_of(capsys, run(*words))
    assert files(tmp_path) == before


def test_names_that_are_no_text(photos, tmp_path):
    """As in an archive from another system; standard output may take text only."""
    name = os.fsdecode(b"caf\xe9")
    (photos / "a.png").rename(photos / f"{name}.png")
    command = [sys.executable, "-c", PROGRAM, f"photos/{name}.png", f"--output={name}"]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as most locales are
    done = subprocess.run(command, capture_output=True, text=True, env=strict)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 of 1 pictures restored into caf\\udce9\n"
    assert (tmp_path / name / f"{name}.png").is_file()


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


def test_an_existing_output_beside_its_input_names_the_suffix(photos, capsys):
    assert run("photos/a.png", "--suffix", "_s") == 0
    (photos / "x.png").rmdir()
    code = run("photos/[ax]*.png", "--suffix", "_s")
    captured = capsys.readouterr()
    assert code == cli.USER_ERROR
    assert "left out 1 result of an earlier run (a_s.png)" in captured.err
    assert "a_s.png: exists; pass --overwrite or another --suffix." in captured.err


def test_an_output_that_comes_up_meanwhile_stays(photos, tmp_path, monkeypatch, capsys):
    def restore_pixels(pixels):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "a.png").write_bytes(b"precious")
        return pixels

    monkeypatch.setattr(restore, "make_restorer", lambda values: restore_pixels)
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

    monkeypatch.setattr(restore, "make_restorer", lambda values: restore_pixels)
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
        (["-", "photos/a.png", "--output", "o"], "standard input cannot be combined"),
        (["-", "--output", "o"], "standard input has no name"),
        (["-", "--suffix", "_x"], "standard input has no name"),
        (["-", "--output", "-", "--strip"], "--strip: writes a file"),
        (["photos", "--output", "o", "--format", "gif"], "--format"),
        (["photos", "--output", "o", "--jpeg_quality", "0"], "jpeg_quality"),
        (["photos/a.png", "photos/trip/c.png", "--output", "photos/notes.txt/o"], "cannot be made"),
        (["photos/a.png", "--output", "o", "--suffix", "x" * 252], "is too long for a file name"),
        (["x" * 300, "--output", "o"], "no such file or folder"),
    ],
)
def test_bad_input_is_one_line(photos, words, message, capsys):
    before = files(photos)
    assert message in error_of(capsys, run(*words))
    assert files(photos) == before


def plan(inputs, naming, recursive=False):
    found = restore_inputs.entries(inputs, naming.output, recursive)
    return restore_jobs.plan(found, inputs, naming)


def test_two_inputs_of_one_name(photos):
    images.write_picture(photos / "a.jpg", PIXELS)
    naming = restore_jobs.Naming("out", format="png")
    with pytest.raises(UserError, match="a.png: would be written to out/a.png, like photos/a.jpg"):
        plan(["photos"], naming)


def test_a_file_named_twice_is_restored_once(photos):
    jobs = plan(["photos/a.png", "photos/a.png"], restore_jobs.Naming("out"))
    assert [str(job.output) for job in jobs] == ["out/a.png"]


def test_links_are_followed_and_dead_ones_named_once(photos, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    images.write_picture(tmp_path / "elsewhere" / "e.png", PIXELS)
    (photos / "link").symlink_to("../elsewhere")
    (photos / "again").symlink_to("../elsewhere")
    (photos / "trip" / "loop").symlink_to("..")
    (photos / "gone.png").symlink_to("nowhere.png")
    expected = ["a.png", "again/e.png", "b.jpg", "trip/c.png", "trip/day/d.bmp"]
    for number, source in enumerate(["photos", "photos/**/*", "photos/**"]):
        words = ["--recursive"] if source == "photos" else []
        assert run(source, "--output", f"out{number}", *words) == 0
        assert files(tmp_path / f"out{number}") == expected
        lines = sorted(capsys.readouterr().err.splitlines())
        assert lines == [
            "warning: left out 1 file: 1 .txt (notes.txt).",
            "warning: photos/gone.png: is a broken link; left out.",
            "warning: photos/link: is the folder photos/again again; taken once.",
            "warning: photos/trip/loop: is the folder photos again; taken once.",
        ]
    assert run("photos/*.png", "photos/g*", "photos/a*", "--output", "out3") == cli.USER_ERROR
    assert "photos/g*: matches no pictures" in capsys.readouterr().err
    assert run("photos/*.png", "--output", "out3") == 0
    assert capsys.readouterr().err.count("broken link") == 1
    line = error_of(capsys, run("photos/gone.png", "--output", "out4"))
    assert "photos/gone.png: is a broken link" in line


@pytest.mark.parametrize(
    "inputs",
    [
        ["photos", "photos"],
        ["photos", "photos/"],
        ["photos", "./photos"],
        ["photos", "link"],
        ["photos", "photos/*.png"],
        ["photos/*.png", "photos/a*", "photos/*.jpg"],
        ["photos/a.png", "photos/trip/../a.png", "photos/*"],
        ["photos/../photos/*", "photos/**/[ab].*"],
    ],
)
def test_what_is_given_twice_is_done_once(photos, tmp_path, inputs, identity):
    (tmp_path / "link").symlink_to("photos")
    for words in (["--output", "out"], ["--suffix", "_s"]):
        identity.clear()
        assert run(*inputs, *words) == 0
        assert len(identity) == 2
    assert files(tmp_path / "out") == ["a.png", "b.jpg"]


def test_one_file_under_two_folders_is_written_once(photos, tmp_path, identity):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").symlink_to("../photos/a.png")
    assert run("photos/a.png", "other/a.png", "--output", "out") == 0
    assert len(identity) == 1


@pytest.mark.parametrize("inputs", [["photos"], ["photos/*"], ["every file"]])
@pytest.mark.parametrize("words", [(), ("--output", "photos"), ("--format", "png")])
def test_results_of_an_earlier_run_are_no_inputs(photos, inputs, words, capsys):
    def given():
        return sorted(photos.glob("[ab]*.[pj]*g")) if inputs == ["every file"] else inputs

    (photos / "x.png").rmdir()
    options = ("--suffix", "_s", "--strip", *words)
    assert run(*given(), *options) == 0
    once = files(photos)
    assert sum("_s." in name for name in once) == sum("_before_after" in name for name in once) == 2
    capsys.readouterr()
    assert run(*given(), *options, "--overwrite") == 0
    assert files(photos) == once
    assert "left out 4 results of an earlier run (a_before_after.png, " in capsys.readouterr().err
    assert run(*given(), "--suffix", "_s", *words, "--overwrite") == 0  # without --strip
    assert files(photos) == once


def test_results_beside_their_inputs_are_no_inputs_of_another_output(photos, tmp_path, capsys):
    (photos / "x.png").rmdir()
    images.write_picture(photos / "a_t.png", PIXELS)  # never a result
    assert run("photos", "--suffix", "_s", "--strip") == 0
    assert {"a_s.png", "b_s.jpg", "a_t_s.png", "a_before_after.png"} <= set(files(photos))
    capsys.readouterr()
    assert run("photos", "--output", "out") == 0
    assert "left out 6 results of an earlier run (" in capsys.readouterr().err
    assert files(tmp_path / "out") == ["a.png", "a_t.png", "b.jpg"]
    # What a run wrote elsewhere is restored again as it is, whatever names begin alike.
    assert run("out", "--output", "again") == 0
    assert files(tmp_path / "again") == ["a.png", "a_t.png", "b.jpg"]
    # So is a result that was changed since, and one that is asked for alone.
    images.write_picture(photos / "a_s.png", PIXELS[::-1])
    assert run("photos", "--output", "changed") == 0
    assert files(tmp_path / "changed") == ["a.png", "a_s.png", "a_t.png", "b.jpg"]
    assert run("photos/b_s.jpg", "--output", "alone") == 0
    assert files(tmp_path / "alone") == ["b_s.jpg"]


def test_what_only_looks_like_a_result_is_an_input(photos, tmp_path):
    for name in ("b_s.jpg", "q_s.png", "q_before_after.png"):
        images.write_picture(photos / name, PIXELS)
    assert run("photos", "--suffix", "_s", "--output", "out") == 0  # not beside the inputs
    assert "b_s_s.jpg" in files(tmp_path / "out")
    (photos / "b_s.jpg").unlink()
    assert run("photos", "--suffix", "_s") == 0
    assert {"q_s_s.png", "q_before_after_s.png"} <= set(files(photos))


@pytest.mark.parametrize("length", [240, 250, 255])
def test_names_as_long_as_names_can_be(photos, tmp_path, length):
    name = "\u00e4" * ((length - 4) // 2) + "a" * ((length - 4) % 2) + ".png"
    assert len(name.encode()) == length
    (photos / "a.png").rename(photos / name)
    assert run(f"photos/{name}", "--output", "out") == 0
    assert files(tmp_path / "out") == [name]


def test_endings_and_what_is_left_out(photos, tmp_path, capsys):
    for name in ("e.jfif", "f.JPE", "g.webp", "h.tiff"):
        images.write_picture(photos / name, PIXELS)
    for name in ("i.heic", "j.HEIC", "k.cr2", "clip.mp4"):
        (photos / name).write_bytes(b"x")
    assert run("photos", "--output", "out") == 0
    assert files(tmp_path / "out") == ["a.png", "b.jpg", "e.jfif", "f.JPE", "g.webp", "h.tiff"]
    assert capsys.readouterr().err == (
        "warning: left out 5 files: 2 .heic (i.heic, j.HEIC; convert it to JPEG or PNG first), "
        "1 .cr2 (k.cr2; develop it to TIFF or PNG first), 1 .mp4 (clip.mp4), 1 .txt (notes.txt); "
        'restore clips in a separate run: "photos/*.mp4".\n'
    )
    line = error_of(capsys, run("photos/i.heic", "--output", "out"))
    assert "photos/i.heic: .heic files are not read; convert it to JPEG or PNG first." in line
    line = error_of(capsys, run("photos/*.cr2", "--output", "out"))
    assert "photos/*.cr2: matches no pictures; left out 1 file: 1 .cr2 (k.cr2; develop" in line


def test_outputs_in_the_way_are_noticed_before_the_work(photos, tmp_path, capsys, identity):
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    line = error_of(capsys, run("photos", "--output", "out", "--overwrite"))
    assert "out/a.png: is a folder" in line
    (tmp_path / "out" / "a.png").rmdir()
    (tmp_path / "out" / "a.png").symlink_to("nowhere.png")
    assert "a.png: exists" in error_of(capsys, run("photos/a.png", "--output", "out"))
    (tmp_path / "target").write_text("foreign")
    (tmp_path / "out" / "a.png").unlink()
    (tmp_path / "out" / "a.png").symlink_to("../target")
    line = error_of(capsys, run("photos/a.png", "--output", "out", "--overwrite"))
    assert "out/a.png: is a link, which is not followed" in line
    assert (tmp_path / "target").read_text() == "foreign"
    assert len(identity) == 0


def test_errors_of_computing_name_the_file(photos, monkeypatch, capsys):
    def restore_pixels(pixels):
        raise errors.pop()

    monkeypatch.setattr(restore, "make_restorer", lambda values: restore_pixels)
    errors = [UserError("7x5 pixels do not fit into memory"), MemoryError()]
    assert run("photos", "--output", "out") == pictures_flags.SOME_FAILED
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert lines == [
        "error: photos/a.png: does not fit into memory; give --memory or --tile.",
        "error: photos/b.jpg: 7x5 pixels do not fit into memory",
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_hidden_colours_reach_no_network(photos, tmp_path, identity, dtype):
    top = np.iinfo(dtype).max
    alpha = np.full((5, 7), top, dtype)
    alpha[:, 4:] = 0
    for name, under in (("black", 0), ("white", top)):
        pixels = np.full((5, 7, 3), 3 * (top // 5), dtype)
        pixels[:, 4:] = under
        images.write_picture(f"{name}.png", images.Picture(pixels, alpha))
        assert run(f"{name}.png", "--output", "out") == 0
        read = images.read_picture(tmp_path / "out" / f"{name}.png")
        np.testing.assert_array_equal(read.pixels, pixels)  # the hidden ones are as they were
        np.testing.assert_array_equal(read.alpha, alpha)
    np.testing.assert_array_equal(identity[0], identity[1])
    assert np.unique(identity[0]).size == 1


def test_a_network_that_enlarges(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(
        restore, "make_restorer", lambda values: lambda p: p.repeat(2, 0).repeat(2, 1)
    )
    alpha = np.full((5, 7), 255, np.uint8)
    alpha[:, 4:] = 0
    exif = Image.Exif()
    exif[0x8769] = {0xA002: 7, 0xA003: 5}
    Image.fromarray(np.dstack([PIXELS, alpha])).save("large.png", exif=exif.tobytes())
    assert run("large.png", "--output", "out", "--strip") == 0
    read = images.read_picture(tmp_path / "out" / "large.png")
    np.testing.assert_array_equal(read.pixels, PIXELS.repeat(2, 0).repeat(2, 1))
    assert read.alpha.shape == (10, 14)
    assert read.alpha[:, :6].min() == 255 and read.alpha[:, 10:].max() == 0
    with Image.open(tmp_path / "out" / "large.png") as image:
        inner = image.getexif().get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == (14, 10)
    strip = images.read_picture(tmp_path / "out" / "large_before_after.png").pixels
    assert strip.shape == (10, 14 + 8 + 14, 3)


class Clips:
    """In place of `video.restore_video`: what was asked of it."""

    def __init__(self, monkeypatch):
        from restore_tf.video import restore as video

        self.done = []
        monkeypatch.setattr(video, "restore_video", self)

    def __call__(self, source, output, restore, **options):
        from restore_tf.video import restore as video

        if "broken" in str(source):
            raise UserError(f"{source}: cannot be read as a video")
        self.done.append((str(source), str(output)))
        output.write_bytes(b"restored")
        return video.Summary(1, 1.0, 8, 8)


@pytest.fixture
def clips(photos, monkeypatch, tmp_path):
    names = ("films/a.mp4", "films/b.MTS", "films/trip/c.3gp", "films/.d.mp4")
    for name in (*names, "twins/a.mov", "twins/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return Clips(monkeypatch)


def test_folders_and_patterns_of_clips(clips, capsys):
    both = [("films/a.mp4", "out/a.mp4"), ("films/b.MTS", "out/b.mkv")]
    for source in ("films", "films/*", "films/[ab]*"):
        assert run(source, "--output", "out", "--overwrite") == 0
        assert clips.done == both
        clips.done.clear()
    assert run("films", "--output", "out", "--recursive", "--overwrite") == 0
    assert clips.done == [*both, ("films/trip/c.3gp", "out/trip/c.mkv")]
    clips.done.clear()
    assert run("films", "films/a.mp4", "--suffix", "_s") == 0
    assert clips.done == [("films/a.mp4", "films/a_s.mp4"), ("films/b.MTS", "films/b_s.mkv")]
    assert capsys.readouterr().err == ""


def test_clips_among_pictures(clips, photos, tmp_path, capsys):
    (photos / "m.mp4").write_bytes(b"x")
    assert run("photos", "--output", "out") == 0
    assert not clips.done
    assert (
        "1 .mp4 (m.mp4), 1 .txt (notes.txt); restore clips in a separate run"
        in capsys.readouterr().err
    )
    assert run("photos", "--output", "out", "--video_quality", "20") == 0
    assert clips.done == [("photos/m.mp4", "out/m.mp4")]
    line = error_of(capsys, run("films/a.mp4", "photos/a.png", "--output", "out"))
    assert (
        "photos/a.png: is not one of the clips given with it; restore pictures in a separate run"
        in line
    )


def test_a_broken_clip_does_not_stop_the_others(clips, tmp_path, capsys):
    (tmp_path / "films" / "a_broken.mp4").write_bytes(b"x")
    assert run("films", "--output", "out") == pictures_flags.SOME_FAILED
    assert [source for source, _ in clips.done] == ["films/a.mp4", "films/b.MTS"]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "1 of 3 clips failed:", "error: films/a_broken.mp4: cannot be read as a video"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["films", "--output", "a_file/c"], "a_file/c: cannot be made"),
        (["films/a.mp4", "--output", "a_file"], "a_file: cannot be made"),
        (["films/a.mp4", "--output", "a_file/c.mp4"], "a_file: cannot be made"),
        (["films/a.mp4", "--output", "a_file", "--as_images"], "a_file: cannot be made"),
        (["films", "--output", "films"], "films/a.mp4: is an input"),
        (["films", "--output", "o.mp4"], "o.mp4: expected a folder"),
        (["films"], "--output: missing"),
        (["films", "--as_images"], "--output: missing"),
        (["films", "--output", "o", "--strip"], "--strip: is for pictures"),
        (["films", "--output", "o", "--format", "png"], "--format: is for pictures"),
        (["films/a.mp4", "--output", "o.mp4", "--suffix", "_s"], "expected a folder, or no suffix"),
        (["photos", "--output", "o", "--as_images"], "--as_images: is for videos"),
        (["films/*.wmv", "--output", "o"], "films/*.wmv: matches no pictures"),
        (["twins", "--output", "o", "--as_images"], "twins/a.mp4: its stills would have the names"),
        (["twins", "--output", "o", "--suffix", "/x"], "--suffix /x: expected a part of a file"),
    ],
)
def test_bad_input_of_clips_is_one_line(clips, tmp_path, words, message, capsys):
    (tmp_path / "a_file").write_text("not a folder")
    assert message in error_of(capsys, run(*words))
    assert not clips.done
    assert (tmp_path / "a_file").read_text() == "not a folder"


def test_folders_without_pictures(photos, tmp_path, capsys):
    (tmp_path / "full" / "trip").mkdir(parents=True)
    (tmp_path / "full" / "notes.txt").write_text("x")
    line = error_of(capsys, run("full", "--output", "o"))
    assert "full: has no pictures (.png, " in line
    assert line.endswith("left out 1 file: 1 .txt (notes.txt); --recursive looks into sub-folders.")
    (tmp_path / "full" / "trip" / "a.heic").write_text("x")
    line = error_of(capsys, run("full", "--output", "o", "--recursive"))
    assert "2 files: 1 .heic (a.heic; convert" in line and "--recursive" not in line
    line = error_of(capsys, run("photos", "full", "--output", "o"))
    assert line.startswith("error: full: has no pictures")
