"""The application's parts, and the page's own routes, asked in this process."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs restore_tf[app]")
import tiny_app  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from tiny_app import pixels, png  # noqa: E402

from restore_tf.app import assembly, guards, models, refusals, shown, store  # noqa: E402
from restore_tf.app.line import Line  # noqa: E402
from restore_tf.errors import UserError  # noqa: E402
from restore_tf.pictures.decoding import Picture  # noqa: E402


@pytest.fixture(scope="module")
def service():
    made = tiny_app.make(disk_bytes=20 * 10**6)
    yield made
    made.close()


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    (folder / "index.html").write_text("in the browser")
    return folder


@pytest.fixture(scope="module")
def client(service, web):
    with TestClient(assembly.assemble(service, ["testserver"], web=web)) as made:
        yield made


def test_the_page_and_what_it_loads_are_ours(client):
    page = client.get("/")
    assert page.status_code == 200 and "gradio" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/page/page.js").headers["content-type"].startswith("text/javascript")


def test_our_own_addresses_are_not_gradios(client):
    """Gradio takes whatever nothing else does."""
    answer = client.get("/restore")
    assert answer.status_code == 405 and answer.json() == {"error": "method not allowed."}
    for path in ("/docs/", "/models/x", "/page/x.js", "/web/x.js"):
        answer = client.get(path)
        assert answer.status_code == 404 and answer.json() == {"error": "not found."}


def test_what_gradio_offers_besides_is_not_there(client):
    for path in (
        "/gradio_api/upload",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/proxy=http://a",
    ):
        assert client.get(path).status_code == 404
        assert client.post(path).json() == {"error": "not found."}
    for path in ("/monitoring", "/docs/../gradio_api/api/x", "/gradio_api/call/restore"):
        assert client.post(path).status_code == 404


@pytest.mark.parametrize(
    "call",
    [
        '{"data": [{"path": "http://evil.example/x", "meta": {"_type": "gradio.FileData"}}]}',
        '{"data": [[{"u\\u0072l": "http://evil.example/x"}]]}',
        "no json",
        '{"data": "' + "x" * 70_000 + '"}',
    ],
)
def test_calls_that_name_files_are_refused(client, call):
    assert client.post("/gradio_api/queue/join", content=call).status_code == 400


def test_uploads_have_names_of_ours_and_come_back(client, service):
    file = png(pixels())
    answer = client.post("/page/upload", params={"ending": "/../x.png"}, content=file)
    name = answer.json()["id"]
    assert len(name) == 32 and int(name, 16)
    assert service.store.find(name).read_bytes() == file
    clip = client.post("/page/upload", params={"kind": "clip", "ending": ".mp4"}, content=b"x")
    assert clip.json()["id"].endswith(".mp4")
    assert client.get(f"/page/results/{name}").content == file
    for wrong in ("..%2Fx", "0" * 32, "gradio", "%00"):
        assert client.get(f"/page/results/{wrong}").status_code in (400, 404)


def test_uploads_are_bounded(client, service):
    assert client.post("/page/upload", content=b"x" * (10**6 + 1)).status_code == 413
    large = service.store.new()
    large.write_bytes(b"x" * (20 * 10**6))
    answer = client.post("/page/upload", content=b"x")
    large.unlink()
    assert answer.status_code == 507 and "too many files" in answer.json()["error"]


def test_the_browsers_own_page_may_use_threads(client):
    assert "Restore inside your browser" in client.get("/config").text
    answer = client.get("/web/")
    assert answer.text == "in the browser"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
    assert client.get("/web").text == "in the browser"  # without the slash, too
    answer = client.get("/web", follow_redirects=False)
    assert answer.headers["location"] == "web/"  # right behind a proxy's path, too


def test_a_path_that_a_proxy_strips(service):
    """uvicorn puts it in front of the path again; so does this."""
    inner = assembly.assemble(service, ["testserver"], root_path="/photos")
    client = TestClient(inner, root_path="/photos")
    assert client.get("/photos/models").status_code == 200
    page = client.get("/photos/").text
    assert "/photos/page/page.js" in page
    assert "testserver/photos" in client.get("/photos/config").json()["root"]


def test_the_store_is_emptied_by_age_and_at_the_end():
    made = store.Store(keep_seconds=100, most=10)
    old, new, kept = (made.new() for _ in range(3))
    below = made.folder / "gradio" / "a" / "b.png"
    below.parent.mkdir(parents=True)
    for path in (old, new, kept, below):
        path.write_bytes(b"x")
    made.keep(kept)
    for path in (old, kept, below):
        os.utime(path, (time.time() - 101,) * 2)
    made.sweep()
    assert not old.exists() and not below.exists() and new.exists() and kept.exists()
    assert made.folder.stat().st_mode & 0o077 == 0
    made.close()
    assert not made.folder.exists()


def test_what_a_killed_process_left_is_removed():
    code = "from restore_tf.app.store import Store; import os; s = Store(1, 1); print(s.folder)"
    code += "; s.new().write_bytes(b'x'); import sys; sys.stdout.flush(); os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    folder = done.stdout.strip()
    assert os.path.isdir(folder)
    made = store.Store(1, 1)
    assert not os.path.exists(folder)
    made.close()


def test_a_line_lets_in_so_many_and_computes_one_after_the_other():
    line, order, go_on = Line(queue=2, concurrency=1), [], threading.Event()

    def work(number):
        def run(place):
            assert go_on.wait(30)
            order.append(number)
            return number

        return run

    places = [line.enter() for _ in range(3)]
    futures = [place.submit(work(number)) for number, place in enumerate(places)]
    with pytest.raises(refusals.Busy):
        line.enter()
    assert [place.ahead for place in places] == [0, 1, 2]
    places[1].leave()  # nobody waits for it: the next one may come
    line.enter().leave()
    go_on.set()
    assert (futures[0].result(), futures[2].result()) == (0, 2)
    assert futures[1].cancelled() and order == [0, 2]
    line.close()
    with pytest.raises(refusals.Stopping):
        line.enter()


def test_a_cancelled_computation_ends_at_its_next_step():
    line, started, go_on = Line(queue=0, concurrency=1), threading.Event(), threading.Event()

    def run(place):
        place.progress(1, 4)
        started.set()
        assert go_on.wait(30)
        place.progress(2, 4)
        raise AssertionError("cancelled before")

    with line.enter() as place:
        future = place.submit(run)
        assert started.wait(30)
        assert place.seconds_left is not None
    with pytest.raises(refusals.Busy):  # it still computes
        line.enter()
    go_on.set()
    assert isinstance(future.exception(), refusals.Cancelled)
    while line.taken:
        time.sleep(0.001)
    line.enter().leave()
    line.close()


def test_networks_by_name():
    catalogue = tiny_app.catalogue()
    assert catalogue.default == "inverting"
    assert catalogue.load(None) is catalogue.load("inverting")
    with pytest.raises(refusals.NotFound, match="there are inverting, doubling"):
        catalogue.find("x" * 1000)
    with pytest.raises(UserError, match="two networks have this name"):
        tiny_app.catalogue(tiny_app.Inverting(), tiny_app.Inverting())
    with pytest.raises(UserError, match="no networks"):
        models.Catalogue([])


def test_few_networks_stay_in_memory():
    loads = []

    def entry(name):
        return models.Entry(name, "run", "", lambda stages: loads.append(name))

    catalogue = models.Catalogue(map(entry, "abcdef"))
    for name in "abcde":
        catalogue.load(name)
    catalogue.load("e")
    catalogue.load("a")
    assert loads == ["a", "b", "c", "d", "e", "a"]


def test_names_of_downloads():
    names = [
        "../../etc/passwd.png",
        "C:\\x\\a.JPG",
        "a.tif",
        "\u00e4 b.png",
        ".png",
        "a\n\u202eb.png",
        "1000012345",  # as phones name what comes from other programs
    ]
    endings = [".png", ".jpg", ".jpg", ".png", ".png", ".png", ".jpg"]
    found = shown.names_for_downloads(names, endings)
    assert found == [
        "passwd_restored.png", "a_restored.jpg", "a_restored_2.jpg", "\u00e4 b_restored.png",
        "picture_restored.png", "ab_restored.png",
        "1000012345_restored.jpg",
    ]  # fmt: skip


def test_scores_are_those_of_evaluation():
    from skimage.metrics import peak_signal_noise_ratio

    sharp, degraded = pixels(32, 32), pixels(32, 32, seed=1)
    (score,) = shown.scores(Picture(sharp), {"degraded": degraded, "larger": pixels(64, 64)})
    assert score.psnr == pytest.approx(peak_signal_noise_ratio(sharp, degraded), abs=1e-6)
    with pytest.raises(refusals.Refusal, match="the sharp picture has 32x32 pixels"):
        shown.scores(Picture(sharp), {"larger": pixels(64, 64)})


def test_what_is_shown_of_16_bits_is_rounded(service):
    deep = np.arange(0, 2**16, 64, dtype=np.uint16).reshape(32, 32)
    name = shown.save_shown(deep, None, service.store)
    found = tiny_app.decoded(service.store.find(name).read_bytes())
    np.testing.assert_array_equal(found, np.rint(deep / 257).astype(np.uint8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no user"),
        ("ada", "line 1: expected user:password"),
        (":x", "line 1"),
        (None, "can"),
    ],
)
def test_bad_files_of_passwords(tmp_path, text, words):
    path = tmp_path / "passwords"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        guards.read_passwords(path)
