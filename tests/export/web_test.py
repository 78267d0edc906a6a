"""LiteRT.js for the page: where it comes from, and what is refused."""

import io
import os
import tarfile

import pytest

from restore_tf.commands import export
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export.web import litertjs
from srn_tf import recipes as srn

CORE, UTILS = "litertjs-core-2.5.3.tgz", "litertjs-wasm-utils-2.5.3.tgz"


def tarball(path, names=("dist/index.js",), content=b"no such library"):
    """A package as npm packs it; of the real library's files none is in this repository."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def program(folder, script):
    """A stand-in for npm, alone on the path."""
    path = folder / "npm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(folder)


def refused(folder=None):
    with pytest.raises(UserError) as caught:
        litertjs.files(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_npm_a_line_says_what_to_pass(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused()
    assert "npm is not installed" in message
    assert f"--litertjs DIR with {CORE} and {UTILS}" in message


def test_nothing_is_written_without_npm(tmp_path, monkeypatch, capsys):
    experiment.write(tmp_path / "run", srn.quick(), {})
    monkeypatch.setenv("PATH", "")
    flags = f"--workdir {tmp_path / 'run'} --output {tmp_path / 'out'} --format web"
    assert export.main(["export.py", *flags.split()]) == 2
    assert "npm is not installed" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["run"]


def test_npm_that_fails_is_quoted(tmp_path, monkeypatch):
    said = "echo 'npm error code ENOTFOUND' >&2; echo 'npm error more' >&2; exit 1"
    monkeypatch.setenv("PATH", program(tmp_path, said))
    message = refused()
    assert "(code ENOTFOUND)" in message and "--litertjs DIR" in message


def test_npm_is_asked_for_both_packages_and_what_it_brings_is_checked(tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    monkeypatch.setenv("PATH", program(tmp_path, f'echo "$@" > {asked}'))
    assert "npm pack: brought no @litertjs/core" in refused()
    words = asked.read_text().split()
    assert words[:2] == ["pack", "--ignore-scripts"]
    assert words[-2:] == ["@litertjs/core@2.5.3", "@litertjs/wasm-utils@2.5.3"]


@pytest.mark.parametrize("unpacked", [False, True])
def test_other_files_are_refused(tmp_path, unpacked):
    names = [
        "dist/index.js",
        *(
            f"wasm/litert_wasm_{variant}.{ending}"
            for variant in ("compat_internal", "internal", "threaded_internal")
            for ending in ("js", "wasm")
        ),
    ]
    if unpacked:
        for name in names:
            path = tmp_path / "@litertjs" / "core" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no such library")
    else:
        tarball(tmp_path / CORE, names)
    message = refused(str(tmp_path))
    assert "@litertjs/core's dist/index.js is not that of 2.5.3" in message


def test_damaged_and_missing_packages_are_named(tmp_path):
    assert f"{tmp_path}: brought no @litertjs/core" in refused(str(tmp_path))
    tarball(tmp_path / CORE)
    assert "cannot be read" in refused(str(tmp_path))  # files are missing
    (tmp_path / CORE).write_bytes((tmp_path / CORE).read_bytes()[:40])
    assert "cannot be read" in refused(str(tmp_path))
