"""Video: what comes out has the times, the colours, the sound and the shape of what went in.

Clips are made with PyAV, so expected values come from the clips' own construction.
"""

import itertools
import signal
import sys
import weakref
from fractions import Fraction

import numpy as np
import pytest
from log_checks import no_other_warnings, warns
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.pictures import kinds
from restore_tf.system import log
from restore_tf.video import clip as video_clip
from restore_tf.video import restore as video
from restore_tf.video import speed
from restore_tf.video.container import is_cover

av = pytest.importorskip("av", reason="PyAV is not installed (extra `video`)")
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def _no_unexpected_warnings():
    with no_other_warnings():
        yield


# Steps of 40, 30, 60 … thousandths of a second: no constant rate.
UNEVEN = [0, 40, 70, 130, 170, 200, 260, 300, 333, 400, 440, 480]
EVEN = list(range(0, 480, 40))
MILLISECOND = Fraction(1, 1000)
UNTAGGED = (2, 0, 2, 2)  # matrix, range, primaries, transfer


def identity(pixels):
    return pixels


def level(number):
    """The gray level of a clip's frame: far enough apart to tell frames by."""
    return 30 + 15 * number


def gray_frames(count=12, width=64, height=48):
    return [np.full((height, width, 3), level(number), np.uint8) for number in range(count)]


def make_clip(
    path,
    times=None,
    pictures=None,
    encoder=None,
    pixel_format="yuv420p",
    tags=UNTAGGED,
    audio=None,
    rotation=None,
    aspect=Fraction(1),
    options=None,
    container_options=None,
):
    """Writes pictures, (h, w, 3) RGB or av frames, at times in milliseconds; lossless H.264."""
    times = EVEN if times is None else times
    pictures = gray_frames(len(times)) if pictures is None else pictures
    encoder = encoder or "libx264"
    options = options or {"libx264": {"qp": "0"}, "libvpx-vp9": {"lossless": "1"}}.get(encoder)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(encoder, rate=25, options=options or {})
        first = pictures[0]
        size = (
            (first.width, first.height) if isinstance(first, av.VideoFrame) else first.shape[1::-1]
        )
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        stream.time_base = context.time_base = MILLISECOND
        context.colorspace, context.color_range = tags[:2]
        context.color_primaries, context.color_trc = tags[2:]
        context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        sound = container.add_stream(audio, rate=48000) if audio else None
        if sound:
            sound.metadata["language"] = "deu"
        for picture, moment in zip(pictures, times, strict=True):
            if not isinstance(picture, av.VideoFrame):
                picture = av.VideoFrame.from_ndarray(picture, format="rgb24")
            picture.pts, picture.time_base = moment, MILLISECOND
            container.mux(stream.encode(picture))
        if sound:
            for frame in tone(sound.codec_context.format.name, (times[-1] + 40) * 48):
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


def tone(sample_format, samples):
    """Yields stereo audio frames of 960 samples at 48 kHz."""
    for start in range(0, samples, 960):
        wave = 0.2 * np.sin(np.arange(start, start + 960) / 20 + np.arange(960) ** 2 / 1e5)
        if sample_format == "fltp":
            data = np.stack([wave, -wave]).astype(np.float32)
        else:
            data = np.stack([wave, -wave], axis=1).reshape(1, -1)
            data = (data * 32767).astype(np.int16) if "16" in sample_format else data
            data = data.astype(np.float32) if sample_format == "flt" else data
        frame = av.AudioFrame.from_ndarray(data, format=sample_format, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        yield frame


def frame_times(path):
    """Times of the decoded frames, in order, in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def gray_levels(path):
    """Mean red of each decoded frame."""
    with av.open(str(path)) as container:
        return [
            frame.reformat(format="rgb24", interpolation=0x42004).to_ndarray()[..., 0].mean()
            for frame in container.decode(video=0)
        ]


def numbers(path):
    return [round((value - level(0)) / 15) for value in gray_levels(path)]


def packets(path, kind="audio"):
    """(time, duration, content) of the packets of the first stream of a kind, in seconds."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (float(p.pts * p.time_base), float((p.duration or 0) * p.time_base), bytes(p))
            for p in container.demux(stream)
            if p.size
        ]


def header(path):
    """The video stream's size, pixel format, tags, pixel aspect and the angle of its frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        context = stream.codec_context
        return {
            "size": (frame.width, frame.height),
            "format": context.pix_fmt,
            "tags": tuple(
                int(tag)
                for tag in (
                    context.colorspace,
                    context.color_range,
                    context.color_primaries,
                    context.color_trc,
                )
            ),
            "aspect": stream.sample_aspect_ratio,
            "rotation": frame.rotation,
            "codec": context.name,
        }


# Times


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("start", [0, 500])
def test_every_frame_keeps_its_time(tmp_path, ending, start):
    times = [start + moment for moment in UNEVEN]
    source = make_clip(tmp_path / f"clip{ending}", times, options={"bf": "3", "qp": "4"})
    with av.open(str(source)) as container:  # B-frames: stored in another order than shown
        stored = [p.pts for p in container.demux(video=0) if p.size]
    assert stored != sorted(stored)
    summary = video.restore_video(source, tmp_path / f"out{ending}", identity)
    assert frame_times(tmp_path / f"out{ending}") == pytest.approx(
        [moment / 1000 for moment in times], abs=1e-6
    )
    assert numbers(tmp_path / f"out{ending}") == list(range(12))
    assert (summary.frames, summary.width, summary.height) == (12, 64, 48)
    assert summary.frames_per_second == pytest.approx(12 / summary.seconds)


def test_webm_is_vp9_and_keeps_times(tmp_path):
    source = make_clip(tmp_path / "clip.webm", UNEVEN, encoder="libvpx-vp9")
    video.restore_video(source, tmp_path / "out.webm", identity)
    assert frame_times(tmp_path / "out.webm") == pytest.approx([t / 1000 for t in UNEVEN], abs=1e-6)
    assert header(tmp_path / "out.webm")["codec"] == "vp9"


def test_avi_is_read_but_not_written(tmp_path):
    source = make_clip(tmp_path / "clip.avi", encoder="mpeg4", options={"qscale": "1"})
    video.restore_video(source, tmp_path / "out.mp4", identity)
    assert len(frame_times(tmp_path / "out.mp4")) == 12
    with pytest.raises(UserError, match=r"out.avi: unknown ending .* expected one of \.mp4"):
        video.restore_video(source, tmp_path / "out.avi", identity)


# Sound and the rest of the file


@pytest.mark.parametrize(("ending", "codec"), [(".mp4", "aac"), (".mov", "pcm_s16le")])
def test_sound_is_copied_bit_for_bit(tmp_path, ending, codec):
    source = make_clip(tmp_path / f"clip{ending}", audio=codec)
    summary = video.restore_video(source, tmp_path / f"out{ending}", identity)
    before, after = packets(source), packets(tmp_path / f"out{ending}")
    assert len(before) > 20
    assert b"".join(p[2] for p in after) == b"".join(p[2] for p in before)
    if codec == "aac":  # MOV groups PCM anew
        assert [p[2] for p in after] == [p[2] for p in before]
        np.testing.assert_allclose([p[:2] for p in after], [p[:2] for p in before], atol=1e-6)
    assert after[0][0] == pytest.approx(before[0][0], abs=1e-6)
    assert sum(after[-1][:2]) == pytest.approx(sum(before[-1][:2]), abs=1e-6)
    assert summary.dropped == ()
    if ending == ".mp4":
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert container.streams.audio[0].language == "deu"


def test_between_containers_sound_and_picture_stay_together(tmp_path):
    """AAC starts before time 0 in MP4; Matroska cannot say so and moves all streams alike."""
    source = make_clip(tmp_path / "clip.mp4", audio="aac")
    video.restore_video(source, tmp_path / "out.mkv", identity)
    before = frame_times(source)[0] - packets(source)[0][0]
    after = frame_times(tmp_path / "out.mkv")[0] - packets(tmp_path / "out.mkv")[0][0]
    assert after == pytest.approx(before, abs=1e-3)
    assert [p[2] for p in packets(tmp_path / "out.mkv")] == [p[2] for p in packets(source)]


def test_a_stream_that_the_format_cannot_hold_is_named(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", audio="aac")
    with warns(r"out.webm: cannot hold audio stream 1 \(aac\)"):
        summary = video.restore_video(source, tmp_path / "out.webm", identity)
    assert summary.dropped == ("audio stream 1 (aac)",)
    assert len(frame_times(tmp_path / "out.webm")) == 12


def test_a_cover_picture_is_not_the_video(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4")
    source = tmp_path / "covered.mp4"
    with av.open(str(clip)) as bare, av.open(str(source), "w") as covered:
        cover = covered.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        copy = covered.add_stream_from_template(bare.streams.video[0], opaque=True)
        picture = av.VideoFrame.from_ndarray(gray_frames(1, 16, 16)[0], format="rgb24")
        for packet in [*cover.encode(picture), *cover.encode(None)]:
            packet.pts = packet.dts = 0
            covered.mux(packet)
        for packet in bare.demux():
            if packet.size:
                packet.stream = copy
                covered.mux(packet)
    video.restore_video(source, tmp_path / "out.mp4", identity, frames="2-4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        covers = [stream for stream in container.streams.video if is_cover(stream)]
        assert [(stream.width, stream.height) for stream in covers] == [(16, 16)]
    assert numbers(tmp_path / "out.mp4") == [2, 3, 4]


def add_subtitles(source, path):
    """Copies a clip and adds subtitles, chapters and a title."""
    words = tmp_words = path.with_suffix(".srt")
    tmp_words.write_text(
        "1\n00:00:00,040 --> 00:00:00,120\nfirst\n\n2\n00:00:00,200 --> 00:00:00,400\nsecond\n"
    )
    with av.open(str(source)) as clip, av.open(str(words)) as srt, av.open(str(path), "w") as out:
        copies = {s.index: out.add_stream_from_template(s, opaque=True) for s in clip.streams}
        lines = out.add_stream_from_template(srt.streams.subtitles[0], opaque=True)
        chapter = {"id": 1, "start": 0, "end": 400, "time_base": MILLISECOND}
        out.set_chapters([chapter | {"metadata": {"title": "one"}}])
        out.metadata["title"] = "A clip"
        for container, target in ((srt, lambda p: lines), (clip, lambda p: copies[p.stream.index])):
            for packet in list(container.demux()):
                if packet.size:
                    packet.stream = target(packet)
                    out.mux(packet)
    return path


def test_subtitles_chapters_and_titles_are_copied(tmp_path):
    source = add_subtitles(make_clip(tmp_path / "clip.mp4"), tmp_path / "clip.mkv")
    video.restore_video(source, tmp_path / "out.mkv", identity)
    assert packets(tmp_path / "out.mkv", "subtitle") == packets(source, "subtitle")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"] == "A clip"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one"]
    with warns("cannot hold subtitle stream 1"):
        video.restore_video(source, tmp_path / "out.mp4", identity)
    assert len(frame_times(tmp_path / "out.mp4")) == 12


# Colours

# Kr and Kb of each matrix (ITU-T H.273, table 4).
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
PATCHES = [(60, 128, 128), (120, 118, 150), (150, 140, 110), (180, 120, 134)]


def yuv_frame(values):
    """A 64x48 frame whose left half has one colour and whose right half another."""
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane, left, right in zip(frame.planes, *values, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width // 2], rows[:, plane.width // 2 :] = left, right
        plane.update(rows.tobytes())
    return frame


def to_rgb(yuv, matrix, full):
    """ITU-T H.273, equations 38 to 46, by hand."""
    kr, kb = LUMA[matrix]
    y, u, v = yuv
    y, u, v = (
        (y / 255, (u - 128) / 255, (v - 128) / 255)
        if full
        else ((y - 16) / 219, (u - 128) / 224, (v - 128) / 224)
    )
    r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    return 255 * np.array([r, (y - kr * r - kb * b) / (1 - kr - kb), b])


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_colours_and_tags_survive(tmp_path, matrix, full):
    tags = (matrix, 2 if full else 1, 1, 1)
    pairs = [PATCHES[:2], PATCHES[2:]]
    source = make_clip(tmp_path / "clip.mp4", [0, 40], [yuv_frame(p) for p in pairs], tags=tags)
    seen = []

    def keep(pixels):
        seen.append(pixels.copy())
        return pixels

    video.restore_video(source, tmp_path / "out.mp4", keep)
    for pixels, (left, right) in zip(seen, pairs, strict=True):
        np.testing.assert_allclose(pixels[24, 10], to_rgb(left, matrix, full), atol=0.51)
        np.testing.assert_allclose(pixels[24, 54], to_rgb(right, matrix, full), atol=0.51)
    with av.open(str(tmp_path / "out.mp4")) as container:
        for frame, (left, right) in zip(container.decode(video=0), pairs, strict=True):
            planes = [np.frombuffer(p, np.uint8).reshape(p.height, -1) for p in frame.planes]
            for plane, one, other in zip(planes, left, right, strict=True):
                wide = 64 * len(plane) // 48
                assert abs(int(plane[len(plane) // 2, wide // 6]) - one) <= 1
                assert abs(int(plane[len(plane) // 2, wide * 5 // 6]) - other) <= 1
    assert header(tmp_path / "out.mp4")["tags"] == tags


def test_textured_colours_differ_by_a_level_or_two(tmp_path):
    y, x = np.mgrid[:48, :64]
    picture = np.stack([128 + 50 * np.sin(x / 9), 128 + 40 * np.cos(y / 7), 90 + x + y / 2], -1)
    source = make_clip(tmp_path / "clip.mp4", [0], [picture.astype(np.uint8)], tags=(1, 1, 1, 1))
    seen = []

    def keep(pixels):
        seen.append(pixels.astype(int))
        return pixels

    video.restore_video(source, tmp_path / "exact.mp4", keep, quality=0)
    video.restore_video(source, tmp_path / "default.mp4", keep)
    video.restore_video(tmp_path / "exact.mp4", tmp_path / "again.mp4", keep)
    video.restore_video(tmp_path / "default.mp4", tmp_path / "again.mp4", keep)
    converted, encoded = seen[2] - seen[0], seen[3] - seen[0]
    assert np.percentile(np.abs(converted), 99) <= 1 and np.abs(converted).max() <= 3
    assert np.abs(encoded).mean() <= 2
    for change in (converted, encoded):
        assert np.abs(change.mean(axis=(0, 1))).max() < 0.5  # darker, brighter or another hue


def test_rgb_becomes_yuv_that_says_how(tmp_path):
    pictures = [np.full((48, 64, 3), colour, np.uint8) for colour in [(200, 40, 90), (7, 240, 0)]]
    source = make_clip(
        tmp_path / "clip.mp4", [0, 40], pictures, encoder="libx264rgb", pixel_format="rgb24"
    )
    seen = []
    with warns("4:4:4 because so is its source"):
        video.restore_video(source, tmp_path / "out.mp4", lambda p: seen.append(p) or p)
    np.testing.assert_allclose(seen, pictures, atol=4)
    assert header(tmp_path / "out.mp4")["tags"][:2] == (6, 1)
    with av.open(str(tmp_path / "out.mp4")) as container:
        for frame, picture in zip(container.decode(video=0), seen, strict=True):
            yuv = [float(np.frombuffer(plane, np.uint8)[0]) for plane in frame.planes]
            np.testing.assert_allclose(to_rgb(yuv, 6, False), picture[0, 0], atol=3)


def test_an_untagged_small_clip_is_bt601_and_stays_untagged(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", [0], [yuv_frame(PATCHES[:2])])
    seen = []
    video.restore_video(source, tmp_path / "out.mp4", lambda p: seen.append(p) or p)
    np.testing.assert_allclose(seen[0][24, 54], to_rgb(PATCHES[1], 6, False), atol=0.51)
    assert header(tmp_path / "out.mp4")["tags"] == UNTAGGED


def test_hdr_is_refused_and_ten_bits_are_announced(tmp_path):
    hdr = make_clip(tmp_path / "hdr.mp4", [0], gray_frames(1), tags=(9, 1, 9, 16))
    with pytest.raises(UserError, match=r"hdr.mp4: is HDR \(PQ\)"):
        video.restore_video(hdr, tmp_path / "out.mp4", identity)
    deep = make_clip(tmp_path / "deep.mp4", pixel_format="yuv420p10le")
    with warns("deep.mp4: has 10 bits a channel"):
        video.restore_video(deep, tmp_path / "out.mp4", identity)
    assert header(tmp_path / "out.mp4")["format"] == "yuv420p"


# Shape


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turned_clip_is_restored_upright_and_stays_turned(tmp_path, ending, degrees):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[24:, 32:] = 200, 90
    upright = np.rot90(stored, degrees // 90)  # counterclockwise, as PyAV counts
    source = make_clip(tmp_path / "clip.mp4", [0, 40], [stored] * 2, rotation=degrees)
    seen = []

    def darken_the_top(pixels):
        seen.append(pixels)
        pixels = pixels.copy()
        pixels[:8] = 20
        return pixels

    summary = video.restore_video(source, tmp_path / f"out{ending}", darken_the_top)
    np.testing.assert_allclose(seen[0].astype(int), upright, atol=2)
    assert (summary.height, summary.width) == upright.shape[:2]
    after = header(tmp_path / f"out{ending}")
    assert after["size"] == (64, 48)
    assert after["rotation"] % 360 == degrees % 360
    with av.open(str(tmp_path / f"out{ending}")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    expected = upright.copy()
    expected[:8] = 20
    difference = np.abs(np.rot90(frame, degrees // 90) - expected)
    assert np.percentile(difference, 90) <= 6  # all but the edges
    [still] = video.frames_as_images(source, tmp_path, identity, frames="1", overwrite=True)
    np.testing.assert_allclose(np.asarray(Image.open(still)).astype(int), upright, atol=2)


def test_mirrored_clips_are_turned_by_their_matrix():
    """x' = a x + c y, y' = b x + d y, coordinates of a pixel relative to the centre."""
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for a, b, c, d in [(1, 0, 0, 1), (-1, 0, 0, 1), (0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0)]:
        swap = a == 0
        orientation = video_clip.Orientation(
            swap, flip_x=(c if swap else a) < 0, flip_y=(b if swap else d) < 0
        )
        upright = orientation.upright(pixels)
        np.testing.assert_array_equal(orientation.stored(upright), pixels)
        for y, x in itertools.product(range(2), range(3)):
            u, v = x - 1, y - 0.5
            row = b * u + d * v + (upright.shape[0] - 1) / 2
            column = a * u + c * v + (upright.shape[1] - 1) / 2
            np.testing.assert_array_equal(upright[int(row), int(column)], pixels[y, x])


def test_odd_sizes_are_kept(tmp_path):
    pictures = gray_frames(12, width=63, height=47)
    source = make_clip(tmp_path / "clip.webm", EVEN, pictures, encoder="libvpx-vp9")
    assert header(source)["size"] == (63, 47)
    with warns(r"out.mp4: is written as 4:4:4 because its size is odd"):
        video.restore_video(source, tmp_path / "out.mp4", lambda pixels: 255 - pixels)
    video.restore_video(source, tmp_path / "out.webm", lambda pixels: 255 - pixels)
    expected = [255 - level(number) for number in range(12)]
    for ending, pixel_format in ((".mp4", "yuv444p"), (".webm", "yuv420p")):
        after = header(tmp_path / f"out{ending}")
        assert (after["size"], after["format"]) == ((63, 47), pixel_format)
        assert gray_levels(tmp_path / f"out{ending}") == pytest.approx(expected, abs=2)


def test_the_pixel_aspect_is_kept_or_its_loss_announced(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", aspect=Fraction(4, 3))
    for ending in (".mp4", ".mkv"):
        video.restore_video(source, tmp_path / f"out{ending}", identity)
        assert header(tmp_path / f"out{ending}")["aspect"] == Fraction(4, 3)
    with warns("not square"):
        video.restore_video(source, tmp_path / "out.webm", identity)


def test_fine_colour_stays_fine(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", pixel_format="yuv444p")
    with warns("4:4:4 because so is its source"):
        video.restore_video(source, tmp_path / "out.mp4", identity)
    assert header(tmp_path / "out.mp4")["format"] == "yuv444p"


def test_interlaced_clips_are_announced(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", options={"x264-params": "interlaced=1"})
    with warns("clip.mp4: is interlaced"):
        video.restore_video(source, tmp_path / "out.mp4", identity)


# Some of the frames


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10-20", [range(10, 21)]),
        ("15", [range(15, 16)]),
        ("10-", [range(10, 30)]),
        ("-20", [range(0, 21)]),
        ("0", [range(0, 1)]),
        ("10-20,25", [range(10, 21), range(25, 26)]),
        ("25, 3-4 ,5-6", [range(3, 7), range(25, 26)]),
        ("3-9,4", [range(3, 10)]),
    ],
)
def test_frame_ranges(text, expected):
    assert list(video.parse_frames(text).within(30, "clip.mp4")) == expected


@pytest.mark.parametrize("text", ["", "a", "5-3", "-", "1-2-3", "1,,2", "1.5", "--3"])
def test_bad_frame_ranges(text):
    with pytest.raises(UserError, match="frames"):
        video.parse_frames(text)


@pytest.mark.parametrize("text", ["5-12", "12", "12-", "-12", "3,99"])
def test_frames_beyond_the_end_say_how_many_there_are(tmp_path, text):
    source = make_clip(tmp_path / "clip.mp4")
    for run in (
        lambda: video.restore_video(source, tmp_path / "out.mp4", identity, frames=text),
        lambda: video.frames_as_images(source, tmp_path / "out", identity, frames=text),
    ):
        with pytest.raises(UserError, match=r"clip.mp4 has 12 frames, numbered 0 to 11"):
            run()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_stretch_starts_at_zero_with_its_own_sound(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", UNEVEN, audio="aac", options={"bf": "3", "qp": "4"})
    calls = []
    summary = video.restore_video(
        source, tmp_path / "out.mp4", lambda p: calls.append(1) or p, frames="3-7"
    )
    assert (summary.frames, len(calls)) == (5, 5)
    assert numbers(tmp_path / "out.mp4") == [3, 4, 5, 6, 7]
    assert frame_times(tmp_path / "out.mp4") == pytest.approx(
        [(moment - 130) / 1000 for moment in UNEVEN[3:8]], abs=1e-6
    )
    # Frame 3 is shown at 0.130 s, frame 8 at 0.333 s.
    expected = [
        (start - 0.130, duration, content)
        for start, duration, content in packets(source)
        if start + duration > 0.130 and start < 0.333
    ]
    sound = packets(tmp_path / "out.mp4")
    assert [p[2] for p in sound] == [p[2] for p in expected]
    assert [p[0] for p in sound] == pytest.approx([p[0] for p in expected], abs=1e-4)


def test_subtitles_are_cut_to_the_stretch(tmp_path):
    source = add_subtitles(make_clip(tmp_path / "clip.mp4"), tmp_path / "clip.mkv")
    video.restore_video(source, tmp_path / "out.mkv", identity, frames="2-6")  # 0.08 to 0.28 s
    lines = packets(tmp_path / "out.mkv", "subtitle")
    np.testing.assert_allclose([p[:2] for p in lines], [(0, 0.04), (0.12, 0.08)], atol=1e-6)


def test_a_video_takes_one_stretch(tmp_path):
    source = make_clip(tmp_path / "clip.mp4")
    with pytest.raises(UserError, match="one stretch"):
        video.restore_video(source, tmp_path / "out.mp4", identity, frames="1-2,5")


def test_stills_are_named_by_frame_number(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", UNEVEN, options={"bf": "3", "qp": "4"})
    calls = []
    written = video.frames_as_images(
        source,
        tmp_path / "stills",
        lambda p: calls.append(1) or 255 - p,
        frames=video.parse_frames("2-3,10"),
    )
    names = ["clip_000002.png", "clip_000003.png", "clip_000010.png"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "stills").glob("*.png")) == names
    assert len(calls) == 3
    for path, number in zip(written, (2, 3, 10), strict=True):
        np.testing.assert_allclose(np.asarray(Image.open(path)), 255.0 - level(number), atol=2)


def test_stills_are_not_replaced_unasked(tmp_path):
    source = make_clip(tmp_path / "clip.mp4")
    stills = tmp_path / "stills"
    video.frames_as_images(source, stills, identity, frames="11", suffix=".jpg")
    calls = []
    with pytest.raises(UserError, match=r"clip_000011.jpg: exists"):
        video.frames_as_images(source, stills, calls.append, suffix=".jpg")
    assert not calls
    written = video.frames_as_images(source, stills, identity, suffix=".jpg", overwrite=True)
    assert len(written) == 12
    with pytest.raises(UserError, match="unknown ending"):
        video.frames_as_images(source, stills, identity, suffix=".gif")


# What goes wrong


def test_damaged_frames_are_left_out_and_counted(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", UNEVEN, options={"bf": "0", "qp": "4", "g": "1"})
    with av.open(str(source)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(source.read_bytes())
    for number in (4, 5, 9):
        position, size = places[number]
        data[position : position + size] = b"\xff" * size
    source.write_bytes(data)
    with warns(r"clip.mp4: frames that could not be decoded and are missing: 3"):
        summary = video.restore_video(source, tmp_path / "out.mp4", identity)
    left = [0, 1, 2, 3, 6, 7, 8, 10, 11]
    assert (summary.frames, summary.lost) == (9, 3)
    assert numbers(tmp_path / "out.mp4") == left
    assert frame_times(tmp_path / "out.mp4") == pytest.approx(
        [UNEVEN[number] / 1000 for number in left], abs=1e-6
    )
    with warns("frames that could not be decoded .*: 2"):
        written = video.frames_as_images(source, tmp_path / "stills", identity, frames="3-7")
    assert [int(path.stem[-6:]) for path in written] == [3, 6, 7]


def test_a_copy_that_broke_off_is_noticed_before_the_work(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    source = make_clip(
        tmp_path / "clip.mp4", EVEN, list(noise), container_options={"movflags": "faststart"}
    )
    data = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    calls = []
    with pytest.raises(UserError, match=r"cut.mp4: is cut short, only the first \d of its 12"):
        video.restore_video(tmp_path / "cut.mp4", tmp_path / "out.mp4", calls.append)
    assert not calls
    video.restore_video(tmp_path / "cut.mp4", tmp_path / "out.mp4", identity, frames="0-2")
    assert len(frame_times(tmp_path / "out.mp4")) == 3


def test_a_broken_off_matroska_file_is_announced(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    source = make_clip(tmp_path / "clip.mkv", EVEN, list(noise))
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 3])
    with warns(r"clip.mkv: ends 0.\d s before .* cut short"):
        summary = video.restore_video(source, tmp_path / "out.mkv", identity)
    assert 0 < summary.frames < 6


def broken_files(folder):
    (folder / "text.mp4").write_text("no video\n" * 100)
    (folder / "empty.mkv").touch()
    make_clip(folder / "whole.mp4")
    data = (folder / "whole.mp4").read_bytes()
    (folder / "beginning.mp4").write_bytes(data[: len(data) // 2])
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        for frame in tone("fltp", 9600):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (folder / "folder.mp4").mkdir()
    (folder / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nwhole.mp4\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.mp4", "no such file"),
        ("folder.mp4", "no such file"),
        ("text.mp4", "cannot be read as a video"),
        ("empty.mkv", "cannot be read as a video"),
        ("beginning.mp4", "cut short"),
        ("sound.mp4", "no video found"),
        ("list.mp4", "cannot be read as a video"),  # a playlist must not open other files
    ],
)
def test_what_is_no_video_is_one_line(tmp_path, name, words):
    broken_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    for run in (
        lambda: video.restore_video(tmp_path / name, tmp_path / "out.mp4", identity),
        lambda: video.frames_as_images(tmp_path / name, tmp_path / "out", identity),
        lambda: speed.fps_report(tmp_path / name, identity),
    ):
        with pytest.raises(UserError, match=words) as caught:
            run()
        assert name in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_bad_outputs_are_one_line(tmp_path):
    source = make_clip(tmp_path / "clip.mp4")
    with pytest.raises(UserError, match="out.mp4: cannot be written"):
        video.restore_video(source, tmp_path / "nowhere" / "out.mp4", identity)
    with pytest.raises(UserError, match=r"quality 60: expected 0 \(best\) to 51"):
        video.restore_video(source, tmp_path / "out.mp4", identity, quality=60)
    with pytest.raises(UserError, match=r"frame 0: restored to shape \(24, 64, 3\)"):
        video.restore_video(source, tmp_path / "out.mp4", lambda pixels: pixels[::2])
    with pytest.raises(UserError, match="float32"):
        video.restore_video(source, tmp_path / "out.mp4", lambda p: p.astype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    source = make_clip(tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'restore_tf\[video\]'"):
        video.restore_video(source, tmp_path / "out.mp4", identity)


class Interrupting:
    """A restore function that does something at its fifth frame."""

    def __init__(self, action):
        self.calls, self.action = 0, action

    def __call__(self, pixels):
        self.calls += 1
        if self.calls == 5:
            self.action()
        return pixels


def fail():
    raise ZeroDivisionError("the network broke")


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (fail, ZeroDivisionError),
        (lambda: signal.raise_signal(signal.SIGTERM), KeyboardInterrupt),
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
    ],
)
def test_an_interruption_leaves_everything_as_it_was(tmp_path, action, error):
    source = make_clip(tmp_path / "clip.mp4", audio="aac")
    (tmp_path / "out.mp4").write_text("an older result")
    handler = signal.getsignal(signal.SIGTERM)
    restore = Interrupting(action)
    with pytest.raises(error):
        video.restore_video(source, tmp_path / "out.mp4", restore)
    assert restore.calls == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "an older result"
    assert signal.getsignal(signal.SIGTERM) == handler


# How it runs


def test_few_frames_are_in_memory_at_a_time(tmp_path):
    count = 60
    times = range(0, 40 * count, 40)
    source = make_clip(tmp_path / "clip.mp4", times, gray_frames(1) * count)
    alive, most = 0, 0

    def forget():
        nonlocal alive
        alive -= 1

    def restore(pixels):
        nonlocal alive, most
        result = pixels.copy()
        for array in (pixels, result):
            weakref.finalize(array, forget)
            alive += 1
        most = max(most, alive)
        return result

    assert video.restore_video(source, tmp_path / "out.mp4", restore).frames == count
    assert most <= 2 * (2 * video.WAITING + 2)


def test_nothing_is_printed_where_nobody_watches(tmp_path, capfd):
    source = make_clip(tmp_path / "clip.mp4", audio="aac")
    video.restore_video(source, tmp_path / "out.mp4", identity)
    assert capfd.readouterr() == ("", "")


def test_report(tmp_path):
    source = make_clip(tmp_path / "clip.mp4", audio="aac")
    before = sorted(tmp_path.iterdir())
    report = speed.fps_report(source, identity, seconds=0.2)
    assert (report["width"], report["height"], report["clip_fps"]) == (64, 48, 25)
    for part in ("decode", "restore", "encode", "pipeline"):
        row = report[part]
        assert row["frames"] >= 3
        assert row["fps"] > 0 and row["p95_ms"] >= row["median_ms"] >= 0
    assert report["speed"] == pytest.approx(report["pipeline"]["fps"] / 25)
    assert "64x48" in speed.report_table(report)
    fast = report | {"speed": 2.0}
    assert "Real time: 2.00 times the clip's 25.00 frames/s" in speed.report_table(fast)
    slow = report | {"speed": 0.1}
    assert "10.0 times slower than the clip's 25.00 frames/s" in speed.report_table(slow)
    assert sorted(tmp_path.iterdir()) == before


def test_the_first_call_is_not_measured(tmp_path, monkeypatch):
    """It compiles the network, which may take minutes. On a clock of its own, in hundredths."""
    source = make_clip(tmp_path / "clip.mp4")
    clock, calls = itertools.count(), []

    def restore(pixels):
        for _ in range(50 if calls else 10_000):
            next(clock)
        calls.append(1)
        return pixels

    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock) / 100)
    row = speed.fps_report(source, restore, seconds=4)["restore"]
    assert row["median_ms"] == pytest.approx(510)  # a look at the clock takes 10
    assert row["p95_ms"] == pytest.approx(510)


def test_alpha_beside_opaque_frames_is_said(tmp_path):
    """VP9 has it in a second stream: the decoder's frames are opaque."""
    source = tmp_path / "clip.webm"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        for _ in range(3):
            frame = av.VideoFrame(64, 48, "yuva420p")
            for plane in frame.planes:
                plane.update(bytes([100]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with warns("clip.webm: its transparency is left out"):
        video.restore_video(source, tmp_path / "out.webm", identity)
    with av.open(str(tmp_path / "out.webm")) as container:
        assert "alpha_mode" not in container.streams.video[0].metadata
    video_clip.probe(tmp_path / "out.webm")  # claims nothing


def test_a_second_video_is_said_to_be_copied(tmp_path):
    source = tmp_path / "clip.mkv"
    with av.open(str(source), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in gray_frames(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    with warns(r"out.mkv: video stream 1 .h264. is copied as it is; only the first video is"):
        video.restore_video(source, tmp_path / "out.mkv", identity)


def test_what_is_true_of_every_frame_is_said_once(tmp_path, caplog):
    source = make_clip(tmp_path / "clip.mp4")

    def restore(pixels):
        log.logger.warning("tiles differ by %.3f", pixels.mean() + restore.calls)
        restore.calls += 1
        return pixels

    restore.calls = 0
    with warns("tiles differ") as records:
        video.restore_video(source, tmp_path / "out.mp4", restore)
    assert len(records) == 1
    with warns("tiles differ") as records:
        video.frames_as_images(source, tmp_path / "stills", restore)
    assert len(records) == 1
    assert restore.calls == 24


@pytest.mark.parametrize("ending", [".mts", ".3gp", ".qt", ".m2ts", ".ts", ".flv"])
def test_clips_of_other_endings(tmp_path, ending):
    source = make_clip(tmp_path / "clip.mp4")
    forms = {".3gp": "3gp", ".qt": "mov", ".flv": "flv"}
    packed = tmp_path / f"clip{ending}"
    with (
        av.open(str(source)) as given,
        av.open(str(packed), "w", format=forms.get(ending, "mpegts")) as container,
    ):
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    assert kinds.is_clip(packed)
    assert video.restore_video(packed, tmp_path / "out.mkv", identity).frames == 12


@pytest.mark.parametrize("rotation", [None, 90])
def test_a_network_that_enlarges(tmp_path, rotation):
    source = make_clip(tmp_path / "clip.mp4", UNEVEN, audio="aac", rotation=rotation)

    def restore(pixels):
        return pixels.repeat(2, 0).repeat(2, 1)

    summary = video.restore_video(source, tmp_path / "out.mp4", restore, scale=2)
    size = video_clip.probe(source).upright_size
    assert (summary.width, summary.height) == (2 * size[0], 2 * size[1])
    clip = video_clip.probe(tmp_path / "out.mp4")
    assert clip.upright_size == (summary.width, summary.height)
    assert frame_times(tmp_path / "out.mp4") == pytest.approx(frame_times(source), abs=1e-6)
    assert numbers(tmp_path / "out.mp4") == list(range(12))
    with pytest.raises(UserError, match=r"restored to shape .*; expected \(48, 64, 3\)|64, 48"):
        video.restore_video(source, tmp_path / "other.mp4", restore)
    (still,) = video.frames_as_images(source, tmp_path / "stills", restore, frames="3")
    with Image.open(still) as image:
        assert image.size == (summary.width, summary.height)
    report = speed.fps_report(source, restore, scale=2, seconds=0.1)
    assert report["pipeline"]["frames"] >= 3
