"""Averaging of frames into training pairs: values, layout, memory, sources and errors."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_tf.commands import average as command
from restore_tf.datasets import averaging, exposure, frames
from restore_tf.datasets.gopro import layout
from restore_tf.errors import UserError


def _frame(value, size=(4, 6)):
    return np.full((*size, 3), value, np.uint8)


def _write_frames(folder: Path, numbers, value=lambda n: n * n, name="frame_{}.png") -> Path:
    """Frames n with the gray value n * n: their averages over a window are not the middle one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(_frame(value(number))).save(folder / name.format(number))
    return folder


def _gray(path: Path) -> int:
    values = np.unique(np.asarray(Image.open(path)))
    assert len(values) == 1, path
    return int(values[0])


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


# By hand. linear, 0 and 255: light 0.5 -> 1.055 * 0.5^(1/2.4) - 0.055 = 0.73536 -> 187.52.
# gamma: 0.5^(1/2.2) = 0.72974 -> 186.08. encoded: 127.5, halves go up. A third of the light:
# linear 0.61250 -> 156.19, gamma 0.60691 -> 154.76. 10/255 lies on sRGB's straight part, where
# light and value are proportional; gamma: 10 * 0.72974 = 7.30.
@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("linear", (0, 255), 188),
        ("gamma", (0, 255), 186),
        ("encoded", (0, 255), 128),
        ("linear", (0, 0, 255), 156),
        ("gamma", (0, 255, 0), 155),
        ("encoded", (255, 0, 0), 85),
        ("linear", (0, 10), 5),
        ("gamma", (0, 10), 7),
        ("encoded", (0, 1), 1),
        ("encoded", (100, 101), 101),
        ("encoded", (100, 101, 100), 100),
    ],
)
def test_average_by_hand(mode, values, expected):
    result = exposure.average((_frame(v) for v in values), mode)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, _frame(expected))


@pytest.mark.parametrize("mode", exposure.MODES)
@pytest.mark.parametrize("count", [1, 7, 13])
def test_average_of_equal_frames_is_the_frame(mode, count):
    every_value = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    np.testing.assert_array_equal(exposure.average([every_value] * count, mode), every_value)


def test_average_keeps_positions_and_channels():
    first, second = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    first[0, 1, 2], second[1, 0, 0] = 200, 100
    expected = np.zeros((2, 3, 3), np.uint8)
    expected[0, 1, 2], expected[1, 0, 0] = 100, 50
    np.testing.assert_array_equal(exposure.average([first, second], "encoded"), expected)


@pytest.mark.parametrize(
    ("frames", "mode", "message"),
    [
        ([], "linear", "no frames"),
        ([_frame(0), _frame(0, (4, 5))], "linear", r"frame 1 has shape \(4, 5, 3\)"),
        ([np.zeros((4, 4, 3), np.float32)], "linear", "float32; expected uint8"),
        ([np.zeros((4, 4), np.uint8)], "linear", "expected uint8"),
        ([_frame(0)], "srgb", "expected one of linear, gamma, encoded"),
    ],
)
def test_average_errors(frames, mode, message):
    with pytest.raises(UserError, match=message):
        exposure.average(frames, mode)


def test_layout_order_and_middle_frame(tmp_path):
    # Names without leading zeros: sorted as text, frame_10 would follow frame_1.
    source = _write_frames(tmp_path / "GOPR0001_03_00", range(1, 14))
    out = tmp_path / "out"
    assert averaging.make_pairs(source, out, window=3, mode="encoded") == {"GOPR0001_03_00": 4}
    names = ["000002.png", "000005.png", "000008.png", "000011.png"]
    assert _files(out / "train") == [
        f"GOPR0001_03_00/{side}/{name}" for side in ("blur", "sharp") for name in names
    ]
    for n in (2, 5, 8, 11):  # the mean of (n-1)^2, n^2 and (n+1)^2 is n^2 + 2/3
        assert _gray(out / f"train/GOPR0001_03_00/sharp/{n:06d}.png") == n * n
        assert _gray(out / f"train/GOPR0001_03_00/blur/{n:06d}.png") == n * n + 1


@pytest.mark.parametrize(
    ("mode", "folder"), [("linear", "blur_gamma"), ("gamma", "blur_gamma"), ("encoded", "blur")]
)
def test_mode_chooses_the_folder(tmp_path, mode, folder):
    source = _write_frames(tmp_path / "clip", range(3))
    averaging.make_pairs(source, tmp_path, window=3, mode=mode)
    assert _files(tmp_path / "train") == [f"clip/{folder}/000001.png", "clip/sharp/000001.png"]


def test_stride_and_limit(tmp_path):
    source = _write_frames(tmp_path / "clip", range(16))
    for stride, limit, expected in [(2, None, [1, 3, 5, 7, 9, 11, 13]), (5, None, [1, 6, 11])] + [
        (5, 2, [1, 6])
    ]:
        out = tmp_path / f"{stride}_{limit}"
        averaging.make_pairs(source, out, 3, stride, "encoded", limit=limit)
        assert _files(out / "train/clip/sharp") == [f"{n:06d}.png" for n in expected]
        for n in expected:
            assert _gray(out / f"train/clip/blur/{n:06d}.png") == n * n + 1


def test_drawn_windows_are_odd_and_follow_the_seed(tmp_path):
    source = _write_frames(tmp_path / "clip", range(120), value=lambda n: n)

    def middles(name, seed):
        averaging.make_pairs(source, tmp_path / name, (3, 7), seed=seed)
        return [int(Path(f).stem) for f in _files(tmp_path / name / "train/clip/sharp")]

    first = middles("first", seed=1)
    assert first == middles("again", seed=1) != middles("other", seed=2)
    start, sizes = 0, []
    for middle in first:  # windows touch, so each middle tells its window's size
        sizes.append(2 * (middle - start) + 1)
        start += sizes[-1]
    assert set(sizes) == {3, 5, 7}
    assert 120 - start < 7


@pytest.mark.parametrize(("window", "stride"), [(5, None), (5, 2), (5, 9), ((3, 7), 3)])
def test_no_more_than_the_window_in_memory(tmp_path, monkeypatch, window, stride):
    source = _write_frames(tmp_path / "clip", range(40), value=lambda n: n)
    live, most = set(), 0  # paths of the decoded frames that have not been freed

    def read(path):
        nonlocal most
        pixels = _frame(int(path.stem[6:]))
        live.add(path)
        weakref.finalize(pixels, live.discard, path)
        most = max(most, len(live))
        return pixels

    monkeypatch.setattr(frames, "decode", read)
    averaging.make_pairs(source, tmp_path / "out", window, stride)
    assert most == (window if isinstance(window, int) else max(window))


def test_tree_of_sequences_and_several_sources(tmp_path):
    for name in ("GOPR0001_03_00", "GOPR0002_03_00"):
        _write_frames(tmp_path / "train" / name, range(6), name="{:06d}.png")
    (tmp_path / "train" / ".cache").mkdir()
    other = _write_frames(tmp_path / "clip", range(3), name="take2_{}.png")
    counts = averaging.make_pairs([tmp_path / "train", other], tmp_path / "out", window=3)
    assert counts == {"GOPR0001_03_00": 2, "GOPR0002_03_00": 2, "clip": 1}
    assert len(_files(tmp_path / "out" / "train")) == 10


def test_existing_pictures_are_refused_then_replaced(tmp_path):
    source = _write_frames(tmp_path / "clip", range(6))
    out = tmp_path / "out"
    averaging.make_pairs(source, out, window=3)
    for settings in ({"window": 3}, {"window": 5}, {"window": 3, "mode": "encoded"}):
        with pytest.raises(UserError, match=r"000001\.png: already exists"):
            averaging.make_pairs(source, out, **settings)
    sharp = out / "train/clip/sharp/000001.png"
    sharp.write_bytes(b"old")
    averaging.make_pairs(source, out, window=3, overwrite=True)
    assert _gray(sharp) == 1


def test_overwriting_spares_what_no_call_recorded(tmp_path):
    source = _write_frames(tmp_path / "clip", range(6))
    foreign = tmp_path / "out" / "train" / "clip" / "sharp" / "000004.png"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"000004\.png: is in the way"):
        averaging.make_pairs(source, tmp_path / "out", window=3, overwrite=True)
    assert foreign.read_bytes() == b"mine"


def test_a_broken_sequence_does_not_end_the_others(tmp_path, caplog):
    broken, whole = (_write_frames(tmp_path / name, range(6)) for name in ("broken", "whole"))
    (broken / "frame_4.png").write_bytes(b"no picture")
    with pytest.raises(averaging.SomeFailed, match="1 of 2 sequences failed: broken") as error:
        averaging.make_pairs([broken, whole], tmp_path / "out", window=3)
    assert error.value.counts == {"whole": 2}
    assert error.value.exit_code == 1
    assert "frame_4.png: cannot be read" in caplog.text
    names = {name for name in _files(tmp_path / "out/train") if name.endswith(".png")}
    assert {name for name in names if name.startswith("broken")} == {
        "broken/blur_gamma/000001.png",
        "broken/sharp/000001.png",
    }
    words = ["average", str(broken), str(whole), f"--output_dir={tmp_path / 'again'}", "--window=3"]
    assert command.main(words) == 1


def test_resume_completes_and_keeps(tmp_path):
    source = _write_frames(tmp_path / "clip", range(9))
    out = tmp_path / "out"
    averaging.make_pairs(source, out, window=3, mode="encoded")
    expected = _files(out)
    kept = out / "train/clip/blur/000001.png"
    kept.write_bytes(b"as it was")
    (out / "train/clip/sharp/000004.png").unlink()
    assert averaging.make_pairs(source, out, 3, mode="encoded", resume=True) == {"clip": 3}
    assert _files(out) == expected
    assert kept.read_bytes() == b"as it was"
    assert _gray(out / "train/clip/sharp/000004.png") == 16


def test_nothing_is_left_of_a_pair_that_failed(tmp_path):
    source = _write_frames(tmp_path / "clip", range(9))
    (source / "frame_5.png").write_bytes((source / "frame_5.png").read_bytes()[:50])
    with pytest.raises(UserError, match=r"frame_5\.png: cannot be read"):
        averaging.make_pairs(source, tmp_path / "out", window=3, mode="encoded")
    assert _files(tmp_path / "out/train") == ["clip/blur/000001.png", "clip/sharp/000001.png"]


def test_frames_of_different_sizes(tmp_path):
    source = _write_frames(tmp_path / "clip", range(9))
    Image.fromarray(_frame(0, (6, 4))).save(source / "frame_7.png")
    with pytest.raises(UserError, match=r"frame_7\.png: is 4x6 pixels, .* are 6x4"):
        averaging.make_pairs(source, tmp_path / "out", window=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 4}, "window 4: expected an odd number"),
        ({"window": (7, 12)}, "expected an odd number"),
        ({"window": (9, 7)}, "smallest, largest"),
        ({"window": -1}, "expected an odd number"),
        ({"window": 7}, "only 6 frames, the first window needs 7"),
        ({"window": 3, "stride": 0}, "stride 0: expected 1 or more"),
        ({"window": (3, 5), "stride": 1}, "need 2 or more"),
        ({"window": 3, "limit": 0}, "limit 0"),
        ({"window": 3, "mode": "srgb"}, "mode 'srgb'"),
        ({"window": 3, "overwrite": True, "resume": True}, "choose one"),
    ],
)
def test_bad_arguments(tmp_path, settings, message):
    source = _write_frames(tmp_path / "clip", range(6))
    with pytest.raises(UserError, match=message):
        averaging.make_pairs(source, tmp_path / "out", **settings)
    assert not list(tmp_path.rglob("sharp/*"))


def test_links_to_folders_of_frames_are_followed(tmp_path):
    _write_frames(tmp_path / "disk", range(3))
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "one").symlink_to(tmp_path / "disk")
    assert averaging.make_pairs(tmp_path / "scenes", tmp_path / "out", window=3) == {"one": 1}


def test_a_folder_named_twice_is_averaged_once(tmp_path):
    source = _write_frames(tmp_path / "clip", range(3))
    (tmp_path / "again").symlink_to(tmp_path)
    sources = [source, source, tmp_path / "again" / "clip"]
    assert averaging.make_pairs(sources, tmp_path / "out", window=3) == {"clip": 1}


def test_an_output_that_cannot_be_made_is_named(tmp_path):
    source = _write_frames(tmp_path / "clip", range(3))
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(UserError, match="out: cannot be made .*is a file"):
        averaging.make_pairs(source, tmp_path / "out", window=3)


def test_bad_sources(tmp_path):
    clip = _write_frames(tmp_path / "clip", range(3))
    same_name = _write_frames(tmp_path / "other" / "clip", range(3))
    unnumbered = _write_frames(tmp_path / "unnumbered", range(3), name="{}.png")
    (unnumbered / "2.png").rename(unnumbered / "last.png")
    twice = _write_frames(tmp_path / "twice", range(3))
    _write_frames(twice, range(3), name="left_{}.png")
    (tmp_path / "empty" / "below").mkdir(parents=True)
    for source, message in [
        (tmp_path / "none", "none: no such file"),
        (tmp_path / "empty", "empty: no frames in it"),
        (clip / "frame_1.png", "is one picture"),
        ([clip, same_name], "its name clip is also that of"),
        (unnumbered, r"last\.png: no number in its name"),
        (twice, "has the same number as"),
    ]:
        with pytest.raises(UserError, match=message):
            averaging.make_pairs(source, tmp_path / "out", window=3)


def test_missing_frames_warn(tmp_path, caplog):
    source = _write_frames(tmp_path / "clip", [1, 2, 4])
    averaging.make_pairs(source, tmp_path / "out", window=3)
    assert "jump from number 2 to 4" in caplog.text


def _write_video(path: Path, frames, rate=240, times=None, rotation=None) -> Path:
    """Writes a lossless RGB video, so that values survive the trip exactly."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra `video`)")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24"
        if rotation:
            stream.set_display_rotation(rotation)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = times[index] if times else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_video(tmp_path, caplog):
    video = _write_video(tmp_path / "clip.mov", [_frame(n * n, (16, 24)) for n in range(10)])
    assert averaging.make_pairs(video, tmp_path / "out", window=3, mode="encoded") == {"clip": 3}
    assert not caplog.records
    for n in (1, 4, 7):
        assert _gray(tmp_path / f"out/train/clip/sharp/{n:06d}.png") == n * n
        assert _gray(tmp_path / f"out/train/clip/blur/{n:06d}.png") == n * n + 1


def test_a_folder_of_videos(tmp_path):
    for name in ("one.mov", "two.mov"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        _write_video(tmp_path / "clips" / name, [_frame(n, (16, 24)) for n in range(3)])
    made = averaging.make_pairs(tmp_path / "clips", tmp_path / "out", window=3)
    assert made == {"one": 1, "two": 1}


def test_video_in_yuv_is_rounded_not_darkened(tmp_path):
    """PyAV's default conversion of 4:2:0 truncates: about a level too dark."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra `video`)")
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=240)  # lossless
        stream.height, stream.width, stream.pix_fmt = 16, 24, "yuv420p"
        planes = np.full((24, 24), 128, np.uint8)  # no colour
        planes[:16] = 100
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())
    averaging.make_pairs(tmp_path / "clip.mkv", tmp_path / "out", window=3, mode="encoded")
    assert _gray(tmp_path / "out/train/clip/sharp/000001.png") == 98  # (100 - 16) 255 / 219 = 97.8
    assert _gray(tmp_path / "out/train/clip/blur/000001.png") == 98


def test_video_filmed_sideways_is_turned_upright(tmp_path):
    frame = _frame(0, (16, 24))
    frame[:8, :8, 0] = 255  # a red patch at the top left, turned counterclockwise: bottom left
    video = _write_video(tmp_path / "clip.mov", [frame] * 3, rotation=90)
    averaging.make_pairs(video, tmp_path / "out", window=3)
    sharp = np.asarray(Image.open(tmp_path / "out/train/clip/sharp/000001.png"))
    expected = _frame(0, (24, 16))
    expected[-8:, :8, 0] = 255
    np.testing.assert_array_equal(sharp, expected)


@pytest.mark.parametrize(
    ("rate", "times", "message"),
    [
        (30, None, "30 frames a second; below 100"),
        (240, [0, 1, 2, 5, 6, 7], "not evenly spaced"),
    ],
)
def test_video_that_will_show_ghosts_warns(tmp_path, caplog, rate, times, message):
    video = _write_video(
        tmp_path / "clip.mov", [_frame(n, (16, 24)) for n in range(6)], rate, times
    )
    averaging.make_pairs(video, tmp_path / "out", window=3)
    assert message in caplog.text


def test_broken_videos(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed (extra `video`)")
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (16, 24, 3), dtype=np.uint8) for _ in range(10)]
    whole = _write_video(tmp_path / "whole.mov", noise).read_bytes()
    damaged = bytearray(whole)
    middle = whole.index(b"IDAT", len(whole) // 2)  # the compressed pixels of one PNG frame
    damaged[middle + 8 : middle + 200] = bytes(192)
    for name, content in [
        ("text.mp4", b"hello"),
        ("empty.mp4", b""),
        ("cut.mov", whole[: len(whole) // 2]),
        ("damaged.mov", bytes(damaged)),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            averaging.make_pairs(tmp_path / name, tmp_path / "out", window=3)


def test_video_without_pyav(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'restore_tf\[video\]'"):
        averaging.make_pairs(tmp_path / "clip.mp4", tmp_path / "out")


def test_command_writes_what_the_gopro_reader_takes(tmp_path, capsys):
    for name in ("first", "second"):
        _write_frames(tmp_path / "frames" / name, range(7))
    out = str(tmp_path / "out")
    argv = ["average", str(tmp_path / "frames"), "--output_dir", out, "--window", "3"]
    assert command.main(argv) == 0
    printed = capsys.readouterr()
    assert f"{out}/train/second: 2 pairs" in printed.out
    assert f"--dataset gopro --config blur_gamma --data_dir {out}" in printed.out
    assert not printed.err  # not a terminal: no progress
    pairs = [
        p for split in ("train", "validation") for p in layout.find_pairs(out, "blur_gamma", split)
    ]
    assert [pair.name for pair in pairs] == [
        f"{name}/{n:06d}" for name in ("first", "second") for n in (1, 4)
    ]
    assert command.main([*argv, "--mode", "encoded", "--resume"]) == 0
    assert layout.find_pairs(out, "blur", "validation")[0].name == "second/000001"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output_dir=out"], "nothing to average"),
        (["clip"], "--output_dir is missing"),
        (["clip", "--output_dir=out"], "clip: no such file"),
        (["clip", "--output_dir=out", "--window=wide"], "--window wide: expected"),
        (["clip", "--output_dir=out", "--window=3,5,7"], "--window 3,5,7: expected"),
        (["clip", "--output_dir=out", "--mode=srgb"], "mode"),
    ],
)
def test_command_errors(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert command.main(["average", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
