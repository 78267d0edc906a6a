"""The web application under load: 200 requests at once, of which many are bad.

    python benchmarks/app_load.py [--requests 200] [--flags "--tflite FILE"]

Starts `restore-tf app` in a process of its own and sends good, broken, huge, slow and cancelled
requests from as many threads as there are requests. Prints how each kind was answered, the largest
memory of the server, and what it left on disk. Who is answered 429 comes again, as clients do.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import requests
import skimage.data
from PIL import Image

KINDS = ("good", "good", "good", "broken", "huge file", "huge picture", "slow", "cancelled")
LIMITS = {"--max_bytes": 2**20, "--max_pixels": 10**6, "--queue": 16, "--keep_minutes": 1}
_TRIES, _PAUSE = 400, 1.0


def main() -> None:
    """Runs the test and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--side", type=int, default=64, help="of good pictures, in pixels")
    parser.add_argument("--flags", default="", help="further flags of restore-tf app")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _run(options, Path(folder))


def _run(options, folder):
    process, address = start(options.flags.split(), folder)
    peak = _Peak(process.pid)
    good = _png(skimage.data.chelsea()[: options.side, : options.side])
    requests.post(f"{address}/restore", data=good, timeout=600)  # loads and traces the network
    before = peak.now()
    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(options.requests) as pool:
        kinds = [KINDS[number % len(KINDS)] for number in range(options.requests)]
        asked = [(kind, pool.submit(_ask, kind, address, good)) for kind in kinds]
        found = [(kind, future.result()) for kind, future in asked]
    seconds = time.perf_counter() - started
    health = requests.get(f"{address}/healthz", timeout=10).json()
    left = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]
    process.send_signal(signal.SIGTERM)
    code = process.wait(120)
    print(f"{options.requests} requests in {seconds:.1f} s")
    for (kind, answer), count in sorted(collections.Counter(found).items()):
        print(f"  {kind:12} {answer:24} {count}")
    print(f"under way after: {health['under_way']}; files beside the examples: {len(left)}")
    print(f"server's memory: {before / 1e6:.0f} MB before, {peak.stop() / 1e6:.0f} MB at most")
    names = ", ".join(path.name for path in folder.iterdir()) or "nothing"
    print(f"exit code {code}; left in the temporary folder: {names}")


def start(flags, folder, limits=LIMITS, errors=None):
    """Starts `restore-tf app`; returns its process and its address.

    Args:
      flags: of the command.
      folder: for its temporary files.
      limits: {flag: value}.
      errors: an open file for what it logs; None for this process's own.
    """
    program = "import sys; from restore_tf.commands.app import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "--port", "0", *flags]
    words += [f"{name}={value}" for name, value in limits.items()]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    address = None
    for line in process.stdout:
        found = re.match(r"page: (http\S+)/$", line)
        address = found[1] if found else address
        if line.startswith("ready"):
            return process, address
    raise SystemExit("the server did not start.")


def _ask(kind, address, good):
    """Sends one request; returns how it was answered."""
    try:
        return {
            "good": lambda: _again(address, good),
            "broken": lambda: _again(address, good[: len(good) // 2]),
            "huge file": lambda: _again(address, os.urandom(2 * 2**20)),
            "huge picture": lambda: _again(address, _png(np.zeros((2000, 2000), np.uint8))),
            "slow": lambda: _slow(address, good),
            "cancelled": lambda: _cancelled(address, good),
        }[kind]()
    except (requests.RequestException, OSError) as error:
        return f"NOT ANSWERED: {type(error).__name__}"


def _again(address, body):
    """Asks until the queue has a place, as clients do."""
    for attempt in range(_TRIES):
        answer = requests.post(f"{address}/restore", data=body, timeout=600)
        if answer.status_code != 429:
            return f"{answer.status_code}{', after 429' if attempt else ''}"
        time.sleep(_PAUSE)
    return "429"


def _slow(address, body):
    """A body that comes in pieces, for three seconds."""

    def pieces():
        for start in range(0, len(body), max(1, len(body) // 6)):
            time.sleep(0.5)
            yield body[start : start + max(1, len(body) // 6)]

    answer = requests.post(f"{address}/restore", data=pieces(), timeout=600)
    return str(answer.status_code)


def _cancelled(address, body):
    """A client that goes away when it has sent its picture."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), 60) as connection:
        head = (
            f"POST /restore HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        time.sleep(0.3)
    return "went away"


def _png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class _Peak:
    """The largest memory of a process."""

    def __init__(self, pid):
        self._process, self._most = psutil.Process(pid), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self):
        return self._process.memory_info().rss

    def _watch(self):
        while not self._stop.wait(0.05):
            try:
                self._most = max(self._most, self.now())
            except psutil.NoSuchProcess:
                return

    def stop(self):
        self._stop.set()
        return self._most


if __name__ == "__main__":
    main()
