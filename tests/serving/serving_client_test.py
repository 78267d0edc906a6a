"""restore-tf client against the stand-in server, and against servers that misbehave."""

import concurrent.futures
import io
import subprocess
import sys
import threading

import misbehaving_servers
import numpy as np
import pytest
import skimage.data
import tiny_serving
from deep_files import png16
from PIL import Image

from restore_tf.commands import client as command
from restore_tf.errors import UserError
from restore_tf.pictures import files
from restore_tf.serving import client as clients
from restore_tf.serving.client import Client
from restore_tf.serving.stand_in.server import StandIn
from restore_tf.serving.transports import ServerError
from restore_tf.system.record import MANIFEST

CAT, ASTRONAUT = skimage.data.chelsea(), skimage.data.astronaut()
SCHEMES = ["grpc", "http"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_serving.save(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def servers(folder):
    with StandIn(folder, "tiny", queued=64) as server:
        yield {
            "grpc": f"grpc://127.0.0.1:{server.grpc_port}",
            "http": f"http://127.0.0.1:{server.rest_port}",
        }


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(clients, "FIRST_PAUSE", 0.02)


def run(server, *words, model="tiny"):
    return command.main(
        ["restore-tf client", "--server", server, "--model_name", model, *map(str, words)]
    )


def read(path):
    return np.asarray(Image.open(path))


def lines_of(capsys):
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out.splitlines(), [s for s in captured.err.splitlines() if "error: " in s]


@pytest.fixture
def photos(tmp_path):
    """Photos of different sizes, as PNG files; {path: pixels}."""
    found = {}
    for index in range(8):
        source = (CAT, ASTRONAUT)[index % 2]
        pixels = source[10 : 40 + 7 * index, 20 : 90 - 5 * index]
        path = tmp_path / "photos" / f"day{index % 3}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        found[path.relative_to(tmp_path / "photos")] = pixels
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_photos_of_different_sizes_with_garbage_among_them(
    servers, photos, tmp_path, capsys, scheme
):
    garbage = [b"", b"no picture", (tmp_path / "photos" / "day0" / "0.png").read_bytes()[:900]]
    for index, content in enumerate(garbage):
        (tmp_path / "photos" / f"bad{index}.png").write_bytes(content)
    out = tmp_path / "out"
    code = run(servers[scheme], tmp_path / "photos", "--recursive", "--output", out)
    assert code == 1
    said, errors = lines_of(capsys)
    assert said == [f"8 of 11 pictures restored into {out}"]
    assert len(errors) == 3
    assert all(f"bad{index}.png" in error for index, error in enumerate(errors))
    assert sorted(p.relative_to(out) for p in out.rglob("*.png")) == sorted(photos)
    others = [p.name for p in out.rglob("*") if p.is_file() and p.suffix != ".png"]
    assert others == [MANIFEST]
    for path, pixels in photos.items():
        np.testing.assert_array_equal(read(out / path), 255 - pixels)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_many_at_once_over_one_client(servers, scheme):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (n % 7 + 1, n % 5 + 1, 3), np.uint8) for n in range(60)]
    with (
        Client(servers[scheme], "tiny") as client,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        for pixels, restored in zip(pictures, pool.map(client.restore, pictures), strict=True):
            np.testing.assert_array_equal(restored, 255 - pixels)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_servers_errors_are_the_requests_own(servers, scheme):
    with Client(servers[scheme], "tiny", retries=0) as client:
        with pytest.raises(ServerError) as caught:
            client.restore_file(b"no picture")
        assert not caught.value.transient
        assert "\n" not in str(caught.value)
        restored = client.restore_file(tiny_serving.jpeg(CAT))
        assert tiny_serving.pixels(restored).shape == CAT.shape


@pytest.mark.parametrize("kind", ["jpg", "webp", "tif", "bmp"])
def test_every_format_of_restore_py(servers, tmp_path, kind):
    pixels = CAT[:40, :60]
    Image.fromarray(pixels).save(tmp_path / f"a.{kind}")
    sent = read(tmp_path / f"a.{kind}")
    assert run(servers["grpc"], tmp_path / f"a.{kind}", "--output", tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / f"a.{kind}") as image:
        assert image.format == {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper())
    out = tmp_path / "exact.png"
    assert run(servers["grpc"], tmp_path / f"a.{kind}", "--output", out) == 0
    np.testing.assert_array_equal(read(out), 255 - sent)


def test_what_stands_beside_the_pixels_is_kept(servers, tmp_path):
    pixels = np.random.default_rng(0).integers(1, 256, (6, 9, 4), np.uint8)
    exif = Image.Exif()
    exif[274], exif[305] = 6, "a camera's program"  # turned; software
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert run(servers["http"], tmp_path / "a.png", "--output", tmp_path / "b.png") == 0
    upright = np.rot90(pixels, -1)
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image)[..., :3], 255 - upright[..., :3])
        np.testing.assert_array_equal(np.asarray(image)[..., 3], upright[..., 3])
        assert image.getexif()[305] == "a camera's program"
        assert image.getexif()[274] == 1


def test_hidden_colours_are_not_sent(servers, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)
    pixels[..., 3], pixels[:, 5:, 3] = 255, 0
    sent, restore = [], Client.restore

    def spy(client, visible, name):
        sent.append(visible)
        return restore(client, visible, name)

    monkeypatch.setattr(Client, "restore", spy)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert run(servers["http"], tmp_path / "a.png", "--output", tmp_path / "b.png") == 0
    np.testing.assert_array_equal(sent[0][:, 5:], pixels[:, 4:5, :3].repeat(4, 1))
    restored = read(tmp_path / "b.png")
    np.testing.assert_array_equal(restored[:, :5, :3], 255 - pixels[:, :5, :3])
    np.testing.assert_array_equal(restored[:, 5:], pixels[:, 5:])


def test_clips_go_to_restore_py(servers, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(b"x")
    for source in (tmp_path / "clip.mp4", tmp_path):
        assert run(servers["http"], source, "--output", tmp_path / "out") == 2
        assert "clip" in lines_of(capsys)[1][0]


def test_gray_comes_back_gray(servers, tmp_path):
    pixels = CAT[:30, :40, 0]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert run(servers["grpc"], tmp_path / "a.png", "--output", tmp_path / "b.png") == 0
    np.testing.assert_array_equal(read(tmp_path / "b.png"), 255 - pixels)


def test_16_bits_are_rounded_to_8_and_that_is_said(servers, tmp_path, capsys):
    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), np.uint16)
    (tmp_path / "a.png").write_bytes(png16(deep))
    assert run(servers["grpc"], tmp_path / "a.png", "--output", tmp_path / "b.png") == 0
    np.testing.assert_array_equal(read(tmp_path / "b.png"), 255 - np.rint(deep / 257))
    assert "16 bits" in capsys.readouterr().err


def test_existing_outputs_suffixes_and_patterns(servers, photos, tmp_path, capsys):
    pattern = tmp_path / "photos" / "**" / "*.png"
    assert run(servers["http"], pattern, "--output", tmp_path / "out") == 0
    assert run(servers["http"], tmp_path / "photos" / "day0" / "0.png", "-o", tmp_path / "out") == 0
    (tmp_path / "out" / "day1" / "1.png").unlink()
    assert run(servers["http"], pattern, "--output", tmp_path / "out") == 1
    said, errors = lines_of(capsys)
    assert said[-1].startswith("1 of 8 ")
    assert len(errors) == 7
    assert all("--overwrite" in error for error in errors)
    assert run(servers["http"], pattern, "--output", tmp_path / "out", "--overwrite") == 0
    assert run(servers["http"], pattern, "--suffix", "_sharp") == 0
    assert len(list((tmp_path / "photos").rglob("*_sharp.png"))) == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "out"], "no pictures"),
        (["a.png"], "--output"),
        (["a.png", "--output", "-"], "-"),
        (["missing.png", "--output", "out"], "missing.png"),
        (["a.png", "--output", "out", "--server", "grpc://localhost"], "--server"),
        (["a.png", "--output", "out", "--server", "http://localhost:x"], "--server"),
        (["a.png", "--output", "out", "--server", ""], "--server"),
        (["a.png", "--output", "out", "--timeout", "0"], "--timeout"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    files.write_picture(tmp_path / "a.png", CAT[:3, :3])
    assert run("http://localhost:1", *words) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert said in error


@pytest.mark.parametrize("scheme", SCHEMES)
def test_models_that_the_server_does_not_have(servers, photos, tmp_path, capsys, scheme):
    words = [tmp_path / "photos", "--recursive", "--output", tmp_path / "out"]
    assert run(servers[scheme], *words, model="other") == 2
    _, errors = lines_of(capsys)
    assert len(errors) == 1
    assert "other" in errors[0]
    assert run(servers[scheme], *words, "--model_version", 7) == 2
    assert "version 7" in capsys.readouterr().err


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_is_not_there(photos, tmp_path, capsys, scheme):
    words = ["--recursive", "--output", tmp_path / "out", "--retries", 1]
    assert run(f"{scheme}://127.0.0.1:1", tmp_path / "photos", *words) == 2
    _, errors = lines_of(capsys)
    assert len(errors) == 1
    assert f"{scheme}://127.0.0.1:1" in errors[0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_busy_server_is_asked_again(folder, photos, tmp_path, scheme):
    with StandIn(folder, "tiny", concurrent=1, queued=0) as server:
        ports = {"grpc": server.grpc_port, "http": server.rest_port}
        words = [tmp_path / "photos", "--recursive", "--output", tmp_path / "out"]
        words += ["--concurrency", 8, "--retries", 30]
        assert run(f"{scheme}://127.0.0.1:{ports[scheme]}", *words) == 0
    for path, pixels in photos.items():
        np.testing.assert_array_equal(read(tmp_path / "out" / path), 255 - pixels)


KINDS = {"grpc": misbehaving_servers.grpc_server, "http": misbehaving_servers.rest_server}


@pytest.mark.parametrize(
    ("scheme", "codes"),
    [
        ("grpc", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]),
        ("http", [503, 429, 504]),
    ],
)
def test_passing_errors_are_tried_again(scheme, codes):
    with KINDS[scheme](codes) as (address, service):
        with Client(address, retries=3) as client:
            np.testing.assert_array_equal(client.restore(CAT[:9, :8]), CAT[:9, :8])
        assert service.asked == 4
    with KINDS[scheme](codes) as (address, service):
        with Client(address, retries=2) as client, pytest.raises(ServerError, match="so it is"):
            client.restore(CAT[:9, :8])
        assert service.asked == 3


@pytest.mark.parametrize(
    ("scheme", "code"),
    [("grpc", c) for c in ("INVALID_ARGUMENT", "INTERNAL")]
    + [("http", c) for c in (400, 500, 302, 502)],
)
def test_lasting_errors_are_not(scheme, code):
    with KINDS[scheme]([code] * 9) as (address, service):
        with Client(address, retries=5) as client, pytest.raises(ServerError, match=str(code)):
            client.restore(CAT[:9, :8])
        assert service.asked == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_time_outs(scheme):
    with KINDS[scheme]([None]) as (address, service):
        # Much for an answer at once, on a busy machine too.
        with Client(address, timeout=1.0, retries=1) as client:
            np.testing.assert_array_equal(client.restore(CAT[:9, :8]), CAT[:9, :8])
        assert service.asked == 2
    with KINDS[scheme]([None]) as (address, _), Client(address, timeout=0.1, retries=0) as client:
        with pytest.raises(ServerError) as caught:
            client.restore(CAT[:9, :8])
        assert caught.value.transient


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("answer", [b"no picture", tiny_serving.png(CAT[:4, :4])])
def test_answers_that_are_no_pictures_of_that_size(scheme, answer):
    with (
        KINDS[scheme]([], answer) as (address, _),
        Client(address) as client,
        pytest.raises(UserError, match="the picture"),
    ):
        client.restore(CAT[:9, :8])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pictures_larger_than_a_message(servers, scheme):
    with Client(servers[scheme], "tiny", max_message=1000) as client:
        assert client.restore(CAT[:3, :3]).shape == (3, 3, 3)
        with pytest.raises(UserError, match="at most"):
            client.restore(CAT)


def test_pictures_larger_than_the_server_takes(folder):
    with StandIn(folder, "tiny", max_bytes=10_000) as server:
        for address in (
            f"grpc://127.0.0.1:{server.grpc_port}",
            f"http://127.0.0.1:{server.rest_port}",
        ):
            with Client(address, "tiny", retries=50) as client:
                with pytest.raises(ServerError, match="larger"):
                    client.restore(CAT)
                assert client.restore(CAT[:3, :3]).shape == (3, 3, 3)


def test_closing_ends_the_pauses(monkeypatch):
    monkeypatch.setattr(clients, "FIRST_PAUSE", 20.0)  # and so all pauses: it is the longest
    errors = []
    with misbehaving_servers.rest_server([503] * 9) as (address, service):
        client = Client(address, retries=5)

        def ask():
            try:
                client.restore(CAT[:9, :8])
            except ServerError as error:
                errors.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        assert service.answered.wait(20)
        client.close()
        thread.join()
    assert "closed" in errors[0]
    assert service.asked == 1


def test_rest_needs_neither_tensorflow_nor_grpc(servers, tmp_path):
    Image.fromarray(CAT[:20, :30]).save(tmp_path / "a.png")
    program = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('tensorflow', 'tensorflow_serving', 'grpc', 'keras'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from restore_tf.commands.client import main\n"
        "sys.exit(main())\n"
    )
    words = [tmp_path / "a.png", "--output", tmp_path / "out", "--model_name", "tiny"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words), "--server", servers["http"]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.png"), 255 - CAT[:20, :30])
    words[2] = tmp_path / "other"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words), "--server", servers["grpc"]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "tensorflow" in done.stderr


def test_pixels_of_other_kinds(servers):
    with Client(servers["http"], "tiny") as client:
        for pixels in (np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8)):
            with pytest.raises(UserError, match="expected uint8"):
                client.restore(pixels)
        gray = Image.open(io.BytesIO(tiny_serving.png(CAT[:5, :6, 0])))
        np.testing.assert_array_equal(client.restore(np.asarray(gray)), 255 - CAT[:5, :6, 0])
