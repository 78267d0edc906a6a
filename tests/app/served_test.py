"""The application on a port: clients that come, dawdle and go, examples of the docs, SIGTERM."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs restore_tf[app]")
import requests  # noqa: E402
import tiny_app  # noqa: E402
from deep_files import png16  # noqa: E402
from tiny_app import decoded, pixels, png  # noqa: E402

from restore_tf.app import guards, routes, server  # noqa: E402
from restore_tf.commands import app as command  # noqa: E402
from restore_tf.commands import cli  # noqa: E402
from restore_tf.commands import client as client_command  # noqa: E402
from restore_tf.errors import UserError  # noqa: E402
from restore_tf.pictures import files  # noqa: E402
from restore_tf.serving.client import Client  # noqa: E402
from restore_tf.serving.transports import ServerError  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs" / "app.md"
PICTURE = pixels(40, 60)
PASSWORDS = {"ada": "p@ss"}
PROGRAM = """
import sys, threading
def hook(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost"):
        print("outside:", arguments, file=sys.stderr)
    if event == "socket.connect" and "127.0.0.1" not in str(arguments[1]):
        print("outside:", arguments, file=sys.stderr)
sys.addaudithook(hook)
sys.path.insert(0, "tests")
import tiny_app
from restore_tf.app import models
network = tiny_app.Inverting()
models.entries = lambda *_: tiny_app.catalogue(network).entries.values()
threading.Thread(target=lambda: (sys.stdin.read(), network.go_on.set()), daemon=True).start()
from restore_tf.commands import app
raise SystemExit(app.main(["restore-tf app", "--tflite", "x", "--port", "0"]))
"""


@pytest.fixture(scope="module")
def network():
    return tiny_app.Inverting()


@pytest.fixture(scope="module")
def service(network):
    return tiny_app.make(network, tiny_app.Doubling(), seconds_to_send=1.0, queue=8)


@pytest.fixture(scope="module")
def base(service):
    """The HTTP interface without its page, and with one user."""
    bound = server.listen("127.0.0.1", 0)
    with server.running(guards.Guard(routes.create(service), ["127.0.0.1"]), service, bound):
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="module")
def locked():
    service = tiny_app.make()
    bound = server.listen("127.0.0.1", 0)
    app = guards.Guard(routes.create(service), ["127.0.0.1"], PASSWORDS)
    with server.running(app, service, bound):
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def run(base, *words):
    words = ["--protocol", "app", "--retries", "0", *map(str, words)]
    return client_command.main(["restore-tf client", "--server", f"http://{base}", *words])


def test_the_client_speaks_to_it(base, tmp_path):
    deep = np.random.default_rng(0).integers(0, 2**16, (5, 7, 3)).astype(np.uint16)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(PICTURE))
    (tmp_path / "in" / "deep.png").write_bytes(png16(deep))
    assert run(base, tmp_path / "in", "--output", tmp_path / "out") == 0
    np.testing.assert_array_equal(decoded((tmp_path / "out" / "a.png").read_bytes()), 255 - PICTURE)
    np.testing.assert_array_equal(
        files.read_picture(tmp_path / "out" / "deep.png").pixels, 65535 - deep
    )
    given = (tmp_path / "in" / "a.png", "--output", tmp_path / "b.png", "--model_name", "doubling")
    assert run(base, *given) == 0
    assert files.read_picture(tmp_path / "b.png").pixels.shape == (80, 120, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model_name", "x"], "has no model x; there are inverting, doubling"),
        (["--model_version", "2"], "has no versions"),
        (["--server", "grpc://127.0.0.1:1"], "restore-tf app speaks http://"),
    ],
)
def test_the_clients_errors(base, tmp_path, words, message, capsys):
    (tmp_path / "a.png").write_bytes(png(PICTURE))
    assert run(base, tmp_path / "a.png", "--output", tmp_path / "o", *words) == cli.USER_ERROR
    assert message in capsys.readouterr().err


def test_a_password_in_the_address_stays_out_of_messages(locked):
    with Client(f"http://ada:p%40ss@{locked}", None, protocol="app") as client:
        client.check()
        np.testing.assert_array_equal(client.restore(PICTURE), 255 - PICTURE)
        assert "p%40ss" not in client.server
    with (
        Client(f"http://ada:wrong@{locked}", None, protocol="app", retries=0) as client,
        pytest.raises(ServerError, match="401: a user's name and password") as raised,
    ):
        client.check()
    assert "wrong" not in str(raised.value)


def send(base, head, body=b""):
    host, port = base.split(":")
    connection = socket.create_connection((host, int(port)), 30)
    connection.sendall(f"POST /restore HTTP/1.1\r\nHost: {base}\r\n{head}\r\n\r\n".encode() + body)
    return connection


def test_a_body_that_does_not_come(base, service):
    with send(base, "Content-Length: 1000", b"x" * 10) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
    while service.line.taken:
        time.sleep(0.001)


def test_an_announced_body_that_is_too_large_is_refused_before_it_comes(base):
    with send(base, "Expect: 100-continue\r\nContent-Length: 10000000000") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("when", ["sending", "waiting"])
def test_clients_that_go_away_free_their_places(base, service, network, when):
    network.started.clear()
    network.go_on.clear()
    black = png(np.zeros((4, 4, 3), np.uint8))
    connection = send(base, f"Content-Length: {len(black)}", black)
    assert network.started.wait(30)
    body = png(PICTURE)
    other = send(base, f"Content-Length: {len(body)}", body[:9] if when == "sending" else body)
    while service.line.taken < 2:
        time.sleep(0.001)
    other.close()
    while service.line.taken > 1:
        time.sleep(0.001)
    connection.close()
    network.go_on.set()
    while service.line.taken or list(service.store.folder.iterdir()):
        time.sleep(0.001)


def test_many_at_once_are_all_answered(base, service, network):
    statuses, lock = [], threading.Lock()

    def ask(number):
        bodies = [png(PICTURE), b"broken", b"x" * (10**6 + 1), png(pixels(400, 400))]
        answer = requests.post(f"http://{base}/restore", data=bodies[number % 4], timeout=60)
        with lock:
            statuses.append((number % 4, answer.status_code))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {0: {200, 429}, 1: {422, 429}, 2: {413, 429}, 3: {413, 429}}
    assert len(statuses) == 40
    assert all(status in expected[kind] for kind, status in statuses)
    assert service.line.taken == 0 and network.most == 1
    assert not [p for p in service.store.folder.rglob("*") if p.is_file()]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_of_the_docs(base, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "photo.jpg").write_bytes(files.encode(files.Picture(PICTURE), ".jpg", 100))
    (shell,), (python,) = blocks("sh"), blocks("python")
    for words in (["sh", "-ec", shell], [sys.executable, "-c", python]):
        words[-1] = words[-1].replace("127.0.0.1:7860", base)
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert files.read_picture(tmp_path / "restored.jpg").kind == "JPEG"
    half = files.read_picture(tmp_path / "half.png")
    assert half.kind == "PNG" and abs(half.pixels.astype(int) - 127).max() <= 1
    assert (tmp_path / "half.jpg").read_bytes()[:2] == b"\xff\xd8"


def lines_until(process, beginning):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(beginning):
            break
    return "".join(lines)


@pytest.mark.slow
def test_the_command_asks_nobody_and_sigterm_finishes_what_runs():
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], **pipes, text=True)
    address = re.search(r"page: (\S+)", lines_until(process, "ready"))[1]
    assert address.startswith("http://127.0.0.1:")
    assert requests.get(address, timeout=30).status_code == 200
    found, body = [], png(np.zeros((4, 4, 3), np.uint8))

    def ask():
        found.append(requests.post(f"{address}restore", data=body, timeout=60))

    asking = threading.Thread(target=ask)
    asking.start()
    while not requests.get(f"{address}healthz", timeout=30).json()["computing"]:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert "stopping after the running" in lines_until(process, "stopping")
    process.stdin.close()  # only now the network goes on
    asking.join()
    assert found[0].status_code == 200
    np.testing.assert_array_equal(decoded(found[0].content), 255)
    assert process.wait(60) == 0
    assert "outside:" not in process.stderr.read()  # the server itself asks nobody either


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"], "expected no arguments"),
        (["--root_path", "x/"], "expected a path such as /restore"),
        (["--web", "."], "has no index.html"),
        (["--auth_file", "missing"], "cannot be read"),
        (["--memory", "much"], "expected a size"),
        (["--port", "70000"], "port"),
        (["--host", "192.0.2.1"], "cannot be listened on"),
        (["--write_files", "file"], "is a file"),
    ],
)
def test_bad_flags(tmp_path, monkeypatch, words, message, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    assert command.main(["restore-tf app", *words]) == cli.USER_ERROR
    captured = capsys.readouterr().err
    assert message in captured and captured.count("\n") == 1


def test_a_port_that_is_taken(base):
    with pytest.raises(UserError, match="cannot be listened on"):
        server.listen("127.0.0.1", int(base.split(":")[1]))


def test_the_files_of_a_deployment(tmp_path, capsys):
    yaml = pytest.importorskip("yaml")
    folder = tmp_path / "deployed"
    for _ in range(2):
        assert command.main(["restore-tf app", "--write_files", str(folder)]) == 0
    written = capsys.readouterr().out.split()
    assert str(folder / "Dockerfile") in written
    assert all(Path(name).is_file() for name in written)
    head = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert (head["sdk"], head["app_file"]) == ("gradio", "app.py")
    code = "import app; from restore_tf.commands import app as c; v = c.define_flags()"
    code += "; v(['x', *app.FLAGS]); print(v.host, v.port)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0.0.0.0 7860\n"
