"""The HTTP interface, asked in this process."""

import concurrent.futures
import io
import threading
import time

import numpy as np
import pytest
from deep_files import png16
from PIL import Image

pytest.importorskip("fastapi", reason="needs restore_tf[app]")
import tiny_app  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from tiny_app import decoded, pixels, png  # noqa: E402

from restore_tf.app import guards, routes  # noqa: E402
from restore_tf.pictures import files  # noqa: E402

PICTURE = pixels()


@pytest.fixture
def network():
    return tiny_app.Inverting()


@pytest.fixture
def service(network):
    made = tiny_app.make(network, tiny_app.Doubling())
    yield made
    network.go_on.set()
    made.close()


@pytest.fixture
def client(service):
    with TestClient(routes.create(service), raise_server_exceptions=False) as made:
        yield made


def left(service):
    return [path for path in service.store.folder.rglob("*") if path.is_file()]


def error_of(response, status):
    assert response.status_code == status
    (line,) = response.json().values()
    assert "\n" not in line and "/tmp" not in line
    return line


def test_a_body_and_a_form(client, service):
    file = png(PICTURE)
    for answer in (
        client.post("/restore", content=file),
        client.post("/restore", files={"picture": ("../../x.png", file, "image/png")}),
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/png"
        np.testing.assert_array_equal(decoded(answer.content), 255 - PICTURE)
    assert left(service) == []
    assert float(answer.headers["x-seconds"]) >= 0


@pytest.mark.parametrize(
    ("kind", "media"), [("JPEG", "jpeg"), ("WEBP", "webp"), ("TIFF", "tiff"), ("BMP", "bmp")]
)
def test_the_format_is_kept(client, kind, media):
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, kind)
    answer = client.post("/restore", content=buffer.getvalue())
    assert answer.headers["content-type"] == f"image/{media}"
    assert Image.open(io.BytesIO(answer.content)).format == kind


def test_options(client):
    file = png(PICTURE)

    def ask(**query):
        answer = client.post("/restore", content=file, params=query)
        assert answer.status_code == 200, answer.text
        return answer

    np.testing.assert_array_equal(decoded(ask(strength=0).content), PICTURE)
    double = decoded(ask(model="doubling").content)
    np.testing.assert_array_equal(double, PICTURE.repeat(2, 0).repeat(2, 1))
    assert ask(format="webp").headers["content-type"] == "image/webp"
    sizes = [len(ask(format="jpg", jpeg_quality=quality).content) for quality in (5, 100)]
    assert sizes[0] < sizes[1]
    np.testing.assert_array_equal(decoded(ask(ensemble=True).content), 255 - PICTURE)


def test_depth_alpha_metadata_and_profile_are_kept(client):
    deep = np.random.default_rng(0).integers(0, 2**16, (5, 7, 3)).astype(np.uint16)
    answer = client.post("/restore", content=png16(deep))
    np.testing.assert_array_equal(files.read_picture(answer.content).pixels, 65535 - deep)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    alpha = np.full((8, 12, 1), 200, np.uint8)
    given = png(np.dstack([PICTURE, alpha]), exif=exif.tobytes())
    with Image.open(io.BytesIO(client.post("/restore", content=given).content)) as image:
        assert image.getexif()[0x010F] == "a camera"
        np.testing.assert_array_equal(np.asarray(image)[..., 3:], alpha)
    answer = client.post("/restore", content=given, params={"format": "jpg"})
    assert "JPEG cannot hold alpha" in answer.headers["x-warnings"]


@pytest.mark.parametrize(
    ("query", "body", "status", "words"),
    [
        ({}, b"", 400, "empty"),
        ({}, b"not a picture", 422, "cannot be read as a picture"),
        ({}, png(PICTURE)[:200], 422, "cannot be read as a picture"),
        ({}, b"x" * (10**6 + 1), 413, "more than 0.954 MiB"),
        ({}, png(np.zeros((400, 400), np.uint8)), 413, "more than 0.1 million pixels"),
        ({"model": "nonsense"}, png(PICTURE), 404, "there are inverting, doubling"),
        ({"stages": 2}, png(PICTURE), 422, "has no stages"),
        ({"strength": 2}, png(PICTURE), 422, "strength: Input should be less than or equal to 1"),
        ({"format": "gif"}, png(PICTURE), 422, "format: Input should be 'png'"),
        ({"strenght": 0.5}, png(PICTURE), 422, "strenght: no such option; expected one of model"),
    ],
)
def test_bad_requests_are_answered_in_a_line(client, service, query, body, status, words):
    assert words in error_of(client.post("/restore", content=body, params=query), status)
    assert left(service) == [] and service.line.taken == 0


def test_bad_forms(client, service):
    def ask(count):
        return client.post("/restore", files=[("picture", ("a", b"x", "image/png"))] * count)

    assert "2 files; expected 1" in error_of(ask(2), 400)
    answer = client.post("/restore", data={"picture": "x"}, files=[])
    assert answer.status_code == 422  # no form of files: taken for a picture
    answer = client.post("/restore", data={"strength": "0.5"}, files={"picture": ("a", b"x")})
    assert "strength: options belong in the address, /restore?strength=" in error_of(answer, 400)
    headers = {"content-type": "multipart/form-data"}
    assert "cannot be read" in error_of(client.post("/restore", content=b"x", headers=headers), 400)
    large = {"picture": ("a.png", b"x" * (10**6 + 10**5), "image/png")}
    assert "more than" in error_of(client.post("/restore", files=large), 413)
    assert left(service) == []


def test_a_body_without_a_length(client):
    def pieces():
        for _ in range(20):
            yield b"x" * 10**5

    assert "more than" in error_of(client.post("/restore", content=pieces()), 413)


def test_a_full_queue_and_its_end(client, service, network):
    """One is computed and two wait; one more is refused, and nothing of it is kept."""
    black = np.zeros((4, 4, 3), np.uint8)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.post, "/restore", content=png(black)) for _ in range(3)]
        assert network.started.wait(30)
        while service.line.taken < 3:
            time.sleep(0.001)
        answer = client.post("/restore", content=png(PICTURE))
        assert "3 pictures are already in the queue" in error_of(answer, 429)
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/healthz").json() == {"status": "ok", "under_way": 3, "computing": 1}
        network.go_on.set()
        assert [one.result().status_code for one in asked] == [200] * 3
    assert network.most == 1  # at once
    assert client.post("/restore", content=png(PICTURE)).status_code == 200


def test_stopping_finishes_what_runs(client, service, network):
    black = np.zeros((4, 4, 3), np.uint8)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = pool.submit(client.post, "/restore", content=png(black))
        assert network.started.wait(30)
        waits = pool.submit(client.post, "/restore", content=png(PICTURE))
        while service.line.taken < 2:
            time.sleep(0.001)
        closing = threading.Thread(target=service.line.close)
        closing.start()
        assert "stopping" in error_of(waits.result(), 503)
        assert client.get("/healthz").status_code == 503
        assert "stopping" in error_of(client.post("/restore", content=png(PICTURE)), 503)
        network.go_on.set()
        assert runs.result().status_code == 200
        closing.join()


def test_an_unexpected_error_is_the_requests_own(client, network, monkeypatch):
    monkeypatch.setattr(network, "restore_padded", lambda *_: 1 / 0)
    assert "see the server's log" in error_of(client.post("/restore", content=png(PICTURE)), 500)
    monkeypatch.undo()
    assert client.post("/restore", content=png(PICTURE)).status_code == 200


def test_models_and_documentation(client):
    first, second = client.get("/models").json()
    assert first == {
        "name": "inverting", "kind": "run", "summary": "a toy", "terms": "", "default": True
    }  # fmt: skip
    assert (second["name"], second["default"]) == ("doubling", False)
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {"/restore", "/models", "/healthz"}
    page = client.get("/docs").text
    assert "jpeg_quality" in page and "the queue is full" in page
    assert "<script" not in page and "http" not in page.replace("the HTTP", "")


def test_other_addresses_and_methods_are_answered_in_a_line(client):
    assert "not found" in error_of(client.get("/nonsense"), 404)
    answer = client.get("/restore")
    assert "method not allowed" in error_of(answer, 405) and answer.headers["allow"] == "POST"


def guarded(service, **options):
    options = {"hosts": ["127.0.0.1", "testserver"]} | options
    return TestClient(guards.Guard(routes.create(service), **options))


def test_names_that_lead_here_and_other_sites_are_refused(service):
    client, file = guarded(service), png(PICTURE)
    assert client.post("/restore", content=file).status_code == 200
    answer = client.post("/restore", content=file, headers={"host": "evil.example"})
    assert "evil.example: not served here" in error_of(answer, 421)
    for origin in ("https://evil.example", "null"):
        answer = client.post("/restore", content=file, headers={"origin": origin})
        assert "another site" in error_of(answer, 403)
    answer = client.post("/restore", content=file, headers={"origin": "http://testserver:80"})
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_passwords(service, tmp_path):
    path = tmp_path / "passwords"
    path.write_text("# comment\nada:se:cret\n\n")
    path.chmod(0o600)
    client = guarded(service, passwords=guards.read_passwords(path))
    assert client.get("/healthz").status_code == 200
    for auth in (None, ("ada", "wrong"), ("bob", "se:cret"), ("ada", "")):
        answer = client.get("/models", auth=auth)
        assert answer.status_code == 401 and "Basic" in answer.headers["www-authenticate"]
    assert client.get("/models", headers={"authorization": "Basic %%%"}).status_code == 401
    assert client.get("/models", auth=("ada", "se:cret")).status_code == 200


def test_hosts_that_are_served():
    assert guards.hosts("0.0.0.0", []) is None
    assert "::1" in guards.hosts("127.0.0.1", [])
    assert guards.hosts("0.0.0.0", ["Photos.example"])[-1] == "photos.example"
