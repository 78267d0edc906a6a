"""Streaming: every frame is accounted for, in order, in fixed memory; and what ends it.

A network that needs no TFLite file stands in: it inverts pixels, and waits where it is told to.
Commands run in processes of their own, with pipes.
"""

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from restore_tf.errors import UserError
from restore_tf.video import stream, stream_threads
from restore_tf.video.raw_frames import FrameFormat, FrameRestorer

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 8, 16
FRAME = HEIGHT * WIDTH * 3

STAND_IN = """
import os, sys, types
import numpy as np

class LiteModel:
    name, channels, size, size_multiple, padding = "stand-in", 3, {size}, 4, "edge"
    takes_bytes = {kind!r} == "uint8"
    runs = 0

    def __init__(self, path, threads=None):
        pass

    def restore_padded(self, images, seed=0, origins=None):
        assert images.dtype == np.float32 and images.shape == (1, *self.size, 3)
        self.wait()
        return 1 - images

    def run_raw(self, images):
        assert images.dtype == np.uint8 and images.shape == (1, *self.size, 3)
        self.wait()
        return 255 - images

    def wait(self):
        LiteModel.runs += 1
        if {gate} and self.runs > 1:  # the first one warms up
            begun, go = {gate}
            os.write(begun, b"x")
            os.read(go, 1)
        if {memory} and self.runs % 100 == 0:
            lines = open("/proc/self/status").read().splitlines()
            peak = [line.split()[1] for line in lines if line.startswith("VmHWM")]
            print("memory", *peak, file=sys.stderr)

sys.modules["restore_tf.inference.tflite_model"] = types.SimpleNamespace(LiteModel=LiteModel)
from restore_tf.commands import stream
code = stream.main(["restore-tf stream", "--tflite=any.tflite", *sys.argv[1:]])
assert not {{"tensorflow", "keras"}} & set(sys.modules)
sys.exit(code)
"""


class Gate:
    """Holds the network at its first frame until it is opened."""

    def __init__(self):
        self.begun, begun = os.pipe()
        go, self.go = os.pipe()
        self.theirs = begun, go

    def wait(self):
        """Waits until a frame is at work."""
        assert os.read(self.begun, 1) == b"x"

    def open(self):
        """Lets everything through from now on: what is closed need not be read."""
        os.close(self.go)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    os.close(gate.begun)


def start(*flags, size=(HEIGHT, WIDTH), kind="uint8", gate=None, memory=False):
    ends = gate.theirs if gate else ()
    program = STAND_IN.format(size=size, kind=kind, gate=ends, memory=memory)
    process = subprocess.Popen(
        [sys.executable, "-c", program, f"--size={size[0]}x{size[1]}", *flags],
        pass_fds=ends,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("TF_")},
    )
    for end in ends:
        os.close(end)
    return process


def finish(process, data=None):
    """Feeds a process, closes its input; returns its exit code, output and last words."""
    output, said = process.communicate(data, timeout=60)
    return process.returncode, output, said.decode()


def numbered(count, first=0):
    """Frames of one value each: their numbers."""
    return b"".join(bytes([number]) * FRAME for number in range(first, first + count))


def numbers(output):
    """Which frames came out of the inverting network; each must be whole."""
    frames = np.frombuffer(output, np.uint8).reshape(-1, FRAME)
    assert (frames == frames[:, :1]).all()
    return (255 - frames[:, 0]).tolist()


def counts(said):
    """Frames in, out and dropped, as reported."""
    found = re.search(r"(\d+) frames in, (\d+) out, (\d+) dropped", said)
    return tuple(int(count) for count in found.groups())


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_a_file_loses_nothing(tmp_path, kind):
    source, sharp = tmp_path / "in.rgb", tmp_path / "out.rgb"
    source.write_bytes(numbered(30))
    flags = (f"--input={source}", f"--output={sharp}")
    code, _, said = finish(start(*flags, kind=kind))
    assert (code, counts(said)) == (0, (30, 30, 0)), said
    assert numbers(sharp.read_bytes()) == list(range(30))
    assert len(said.splitlines()) == 1  # nothing else is said without a terminal
    code, _, said = finish(start(*flags))
    assert code == 2 and "exists" in said


def feed_while_held(process, gate, count):
    """Writes frames while the first one is at work; returns what came out, and what was said."""
    fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, 4096)  # holds 10 frames that are not read
    received = []
    reading = threading.Thread(target=lambda: received.append(process.stdout.read()))
    reading.start()
    for number in range(count):
        process.stdin.write(numbered(1, number))
        process.stdin.flush()
        if not number:
            gate.wait()
    process.stdin.close()
    gate.open()
    reading.join()
    said = process.stderr.read().decode()
    assert process.wait() == 0, said
    return numbers(received[0]), said


def test_a_pipe_drops_what_it_cannot_keep_up_with_and_takes_the_newest(gate):
    out, said = feed_while_held(start(gate=gate), gate, 200)
    frames, written, dropped = counts(said)
    assert frames == 200 == written + dropped and written == len(out)
    assert out[0] == 0 and len(out) < 20  # those that were not read yet at the most
    assert out == sorted(out)
    assert out[-1] == 199  # what waits at the end is the newest
    assert re.search(r"p99 [\d.]+ ms", said), said


def test_a_queue_keeps_the_newest(gate):
    """While the first of 100 frames is at work the others come; the last five wait."""
    out, said = feed_while_held(start("--queue=5", gate=gate), gate, 100)
    assert out[-5:] == [95, 96, 97, 98, 99] and len(out) < 25
    assert counts(said) == (100, len(out), 100 - len(out))


def test_a_pipe_that_may_not_drop_waits(gate):
    process = start("--nodrop", gate=gate)
    process.stdin.write(numbered(20))
    process.stdin.flush()
    gate.wait()
    gate.open()
    code, output, said = finish(process, numbered(20, 20))
    assert (code, counts(said)) == (0, (40, 40, 0))
    assert numbers(output) == list(range(40))


def test_fps_paces_a_file_like_a_camera(tmp_path):
    source = tmp_path / "in.rgb"
    source.write_bytes(numbered(40))
    flags = (f"--input={source}", "--fps=1000")
    code, output, said = finish(start(*flags))
    frames, written, dropped = counts(said)
    out = numbers(output)
    assert code == 0 and frames == 40 == written + dropped and written == len(out)
    assert out == sorted(out) and out[-1] == 39
    code, output, said = finish(start(*flags, "--nodrop"))
    assert numbers(output) == list(range(40))
    process = start(f"--input={source}", "--fps=0.001")  # the second comes after 1,000 seconds
    assert numbers(process.stdout.read(FRAME)) == [0]
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=60)
    assert (process.returncode, rest, counts(said.decode())) == (130, b"", (1, 1, 0))


def test_strength_mixes_and_rounds():
    """0.3 x 55 + 0.7 x 200 = 156.5 would be a tie; 0.25 x 54 + 0.75 x 201 = 164.25."""
    for kind in ("uint8", "float32"):
        code, output, _ = finish(start("--strength=0.25", kind=kind), bytes([201]) * FRAME)
        assert code == 0 and set(output) == {164}


@pytest.mark.parametrize("pixels", ["rgb24", "nv12"])
def test_memory_does_not_grow(pixels):
    """600 frames of 98 or 196 kB go through; a copy kept of each would be 59 or 118 MB."""
    if pixels == "nv12":
        pytest.importorskip("av")
    flags = ("--nodrop", f"--pixels={pixels}")
    data = bytes(600 * FrameFormat(256, 256, pixels).bytes)
    code, output, said = finish(start(*flags, size=(256, 256), kind="float32", memory=True), data)
    assert code == 0 and len(output) == len(data)
    marks = [int(line.split()[1]) for line in said.splitlines() if line.startswith("memory")]
    assert len(marks) == 6
    assert marks[-1] - marks[0] < 3000  # kB


def test_a_truncated_last_frame():
    code, output, said = finish(start("--nodrop"), numbered(3) + b"x" * 100)
    assert code == 2 and counts(said) == (3, 3, 0)
    assert numbers(output) == [0, 1, 2]
    assert "error: the input: ends within frame 4, after 100 of its 384 bytes" in said
    assert len(said.splitlines()) == 2
    code, output, said = finish(start("--nodrop"), b"")
    assert (code, output) == (2, b"") and "without a frame" in said


def test_a_file_of_another_frame_size_is_refused_at_once(tmp_path):
    source = tmp_path / "in.rgb"
    source.write_bytes(numbered(3) + b"x")
    code, output, said = finish(start(f"--input={source}"))
    assert (code, output) == (2, b"")
    assert said == (
        f"error: {source}: is 1153 bytes long, 3 frames of 8x16 rgb24 (384 bytes) and 1 bytes; "
        "expected whole frames. Check --size and --pixels, or cut off the rest.\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_a_whole_frame(number):
    process = start()
    process.stdin.write(numbered(1))
    process.stdin.flush()
    first = process.stdout.read(FRAME)  # it is at work
    process.stdin.write(numbered(1, 7) + b"half a frame")
    process.stdin.flush()
    process.send_signal(number)
    rest, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    out = numbers(first + rest)
    frames, written, dropped = counts(said.decode())
    assert out in ([0], [0, 7]) and frames == written + dropped and written == len(out)
    assert len(said.decode().splitlines()) == 1


def test_a_signal_is_heard_while_nobody_reads_the_output():
    """A megabyte does not fit into a pipe: the writer waits for a reader that sleeps."""
    process = start("--nodrop", size=(512, 512))
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(bytes(512 * 512 * 3))
        process.stdin.flush()
    assert process.stdout in select.select([process.stdout], [], [], 60)[0]  # it is writing
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert counts(process.stderr.read().decode()) == (1, 0, 1)
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def test_a_signal_is_heard_while_no_frame_comes():
    process = start()
    process.stdin.write(numbered(1))
    process.stdin.flush()
    assert numbers(process.stdout.read(FRAME)) == [0]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    process.communicate()


def test_a_reader_that_goes_away():
    process = start("--nodrop")
    process.stdin.write(numbered(2))
    process.stdin.flush()
    process.stdout.read(2 * FRAME)
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(numbered(20))
        process.stdin.close()
    said = process.stderr.read().decode()
    assert process.wait(timeout=20) == 141
    assert said == "error: the output: closed by its reader after 2 frames.\n"


def test_named_pipes(tmp_path):
    for name in ("in", "out"):
        os.mkfifo(tmp_path / name)
    process = start(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", "--nodrop")
    with open(tmp_path / "in", "wb") as source, open(tmp_path / "out", "rb") as sharp:
        source.write(numbered(5))
        source.close()
        assert numbers(sharp.read()) == list(range(5))
    assert finish(process)[0] == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--size=8"], "--size 8: expected HEIGHTxWIDTH"),
        (["--size=0x16"], "--size 0x16: expected sides of at least 1"),
        (["--size=99999x99999"], "expected at most 2 GiB"),
        (["--pixels=yuv"], "pixels"),
        (["--size=7x16", "--pixels=nv12"], "--size 7x16: NV12 has even sides"),
        (["--fps=30"], "--fps 30: is for files"),
        (["--strength=2"], "strength"),
        (["--queue=0"], "queue"),
        (["--input=missing.rgb"], "missing.rgb: cannot be read (No such file or directory)"),
        (["--input=tests"], "tests: is a folder"),
        (["--output=tests"], "tests: is a folder"),
        (["--output=missing/out.rgb"], "missing/out.rgb: cannot be written"),
        (["extra"], "extra: not expected"),
    ],
)
def test_mistakes_are_said_in_one_line(flags, expected):
    code, output, said = finish(start(*flags), b"")
    assert (code, output) == (2, b"")
    assert expected in said and len(said.splitlines()) == 1, said


class Recorder:
    """A network of any size that returns what it gets, and remembers it."""

    name, channels, size, size_multiple, padding = "recorder", 3, None, 2, "edge"
    takes_bytes, bytes_per_pixel = False, 100.0

    def restore_padded(self, images, seed=0, origins=None):
        self.seen = images.copy()
        return images


def nv12(luma, chroma):
    """Bytes of a frame: (h, w) brightness, (h / 2, w / 2, 2) colour."""
    return np.concatenate([luma.ravel(), chroma.ravel()]).astype(np.uint8)


def smooth(height, width, low, high):
    rows, columns = np.mgrid[0:height, 0:width]
    return low + (high - low) * (rows + columns) / (height + width)


@pytest.mark.parametrize(("matrix", "full_range"), [("bt601", False), ("bt709", True)])
def test_nv12_comes_back_within_rounding(matrix, full_range):
    pytest.importorskip("av")
    height, width = 46, 70  # rows that swscale pads
    form = FrameFormat(height, width, "nv12", matrix, full_range)
    chroma = np.stack([smooth(23, 35, 115, 140), smooth(23, 35, 145, 120)], axis=-1)
    frame = nv12(smooth(height, width, 60, 200), chroma)  # all of it within RGB's range
    restored = np.zeros_like(frame)
    FrameRestorer(Recorder(), form, strength=0.0)(frame, restored)
    difference = np.abs(restored.astype(int) - frame)
    assert difference.max() <= 2 and difference.mean() < 0.6


def test_nv12_colours_are_those_of_opencv():
    pytest.importorskip("av")
    cv2 = pytest.importorskip("cv2")
    height, width = 32, 48
    model, form = Recorder(), FrameFormat(height, width, "nv12", "bt601")
    chroma = np.stack([smooth(16, 24, 100, 150), smooth(16, 24, 160, 110)], axis=-1)
    frame = nv12(smooth(height, width, 60, 180), chroma)
    FrameRestorer(model, form)(frame, np.zeros_like(frame))
    expected = cv2.cvtColor(frame.reshape(height * 3 // 2, width), cv2.COLOR_YUV2RGB_NV12)
    difference = 255 * model.seen[0] - expected
    inside = difference[2:-2, 2:-2]  # OpenCV repeats colour samples, swscale interpolates
    assert np.abs(inside).max() < 4 and abs(inside.mean()) < 0.6


@pytest.mark.parametrize(
    ("size", "red"),
    [((4, 6), 255), ((720, 1280), 255)],
)
def test_nv12_without_a_matrix_is_taken_as_players_do(size, red):
    """Pure red by hand: BT.601 has Y 81, Cb 90, Cr 240; BT.709 has Y 63, Cb 102, Cr 240."""
    pytest.importorskip("av")
    luma, blue = (81, 90) if size == (4, 6) else (63, 102)
    height, width = size
    model = Recorder()
    chroma = np.full((height // 2, width // 2, 2), [blue, 240])
    frame = nv12(np.full(size, luma), chroma)
    FrameRestorer(model, FrameFormat(height, width, "nv12"))(frame, np.zeros_like(frame))
    found = 255 * model.seen[0].reshape(-1, 3)
    assert np.abs(found - [red, 0, 0]).max() < 2.5


@pytest.mark.slow
def test_a_real_file(tmp_path):
    """What comes out is what `LiteModel` and `restore` give for the same pictures."""
    pytest.importorskip("ai_edge_litert")
    import restore_tf
    from restore_tf.export import prepared
    from restore_tf.export.tflite import convert
    from restore_tf.inference.tflite_model import LiteModel
    from srn_tf.model import SRN

    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (5, 32, 48, 3), np.uint8)
    model = SRN(width=4, scales=1, res_blocks=1, global_skip=True)
    model.build()
    prepared.write_saved_model(model, (32, 48), tmp_path / "saved_model_eight_bit", True)
    np.savez(tmp_path / "crops.npz", degraded=frames, reference=frames / 255)
    convert.convert(str(tmp_path), "uint8", str(tmp_path / "srn.tflite"))
    lite = LiteModel(tmp_path / "srn.tflite")
    program = "import sys; from restore_tf.commands import stream; sys.exit(stream.main(sys.argv))"
    for size in ((32, 48), (40, 64)):
        frames = random.integers(0, 256, (5, *size, 3), np.uint8)
        (tmp_path / "in.rgb").write_bytes(frames.tobytes())
        flags = [f"--tflite={tmp_path / 'srn.tflite'}", f"--size={size[0]}x{size[1]}"]
        flags += [f"--input={tmp_path / 'in.rgb'}", "--output=-"]
        done = subprocess.run(
            [sys.executable, "-c", program, *flags], capture_output=True, cwd=ROOT, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
        restored = np.frombuffer(done.stdout, np.uint8).reshape(frames.shape)
        if size == (32, 48):
            expected = lite.run_raw(frames)
        else:
            expected = [restore_tf.restore(lite, frame) for frame in frames]
        assert np.array_equal(restored, expected)


def test_latencies_are_within_a_percent():
    seconds = np.random.default_rng(0).lognormal(-3, 1, 5000)
    latencies = stream_threads.Latencies()
    assert latencies.percentile(50) == 0
    for value in seconds:
        latencies.add(value)
    for percent in (50, 90, 99):
        expected = np.percentile(seconds, percent)
        assert latencies.percentile(percent) == pytest.approx(expected, rel=0.01)


def test_python_interface_and_what_it_refuses():
    source, sink = os.pipe(), os.pipe()
    os.write(source[1], bytes(range(48)) * 2)
    os.close(source[1])
    form = FrameFormat(4, 4)
    summary = stream.restore_stream(Recorder(), source[0], sink[1], form, live=False)
    assert (summary.frames, summary.written, summary.dropped) == (2, 2, 0)
    assert os.read(sink[0], 200) == bytes(range(48)) * 2
    with pytest.raises(UserError, match="strength 2"):
        stream.restore_stream(Recorder(), source[0], sink[1], form, live=False, strength=2)
    only_written = os.open(os.devnull, os.O_WRONLY)
    with pytest.raises(UserError, match="the input: cannot be read"):
        stream.restore_stream(Recorder(), only_written, sink[1], form, live=False)
    for file in (source[0], only_written, *sink):
        os.close(file)


def test_a_network_that_enlarges_is_refused():
    model = Recorder()
    model.output_scale = 2
    with pytest.raises(UserError, match="recorder: enlarges 2 times; frames of a stream keep"):
        FrameRestorer(model, FrameFormat(4, 6))
