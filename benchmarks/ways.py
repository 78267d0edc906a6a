"""The four ways in which app_and_browser.py restores a picture.

- `Native`: `restore-tf restore`, of a network or with --tflite, in a process that stays.
- `App`: the page of `restore-tf app`, in Chromium.
- `Browser`: the page of `export.py --format web`, in Chromium.

Each is told a picture's file and says how long it took. A page's time is from the press of its
button, or the choice of the file where that is what starts it, until before and after are decoded
and drawn. Memory is Linux' high-water mark of the process that computes, reset before each picture.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import forward
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
_SECONDS = 300  # for a page to load, to take a file and to give one
_SECONDS_TO_END = 20  # on a busy machine TensorFlow takes minutes, and nothing depends on it
_APP_OLD = ".rtf-viewer, .rtf-error, .rtf-status.error"
# Starts the clock at an event, and looks often: what the looks are late by is the page's pause.
_WATCH = """([event, failed]) => {
  const shown = SHOWN;
  window.restored = new Promise((resolve, reject) => addEventListener(event, async () => {
    const began = performance.now(), told = new Set();
    let last = began, pause = 0;
    while (!shown()) {
      await new Promise(resume => setTimeout(resume, 10));
      pause = Math.max(pause, performance.now() - last);
      last = performance.now();
      told.add(document.querySelector("#status").textContent);
      const error = document.querySelector(failed)?.textContent.trim();
      if (error) return reject(new Error(error));
    }
    await Promise.all([...document.querySelectorAll("img")].map(image => image.decode()));
    await new Promise(resume => requestAnimationFrame(() => requestAnimationFrame(resume)));
    resolve({seconds: (performance.now() - began) / 1000, told: told.size, pause: pause / 1000});
  }, {capture: true, once: true}));
  window.restored.catch(() => {});  // it is asked for later
}"""
_APP_SHOWN = """() => {
  const images = [...document.querySelectorAll(".rtf-viewer:not([data-old]) img")];
  return images.length > 1 && images.every(image => image.complete && image.naturalWidth);
}"""
_BROWSER_SHOWN = """() => !document.getElementById("viewer").hidden &&
  document.getElementById("status").textContent.startsWith("Restored")"""


class Failed(Exception):
    """A way that did not restore a picture; its text is the reason."""


class Native:
    """What `restore-tf restore` computes, in a process of its own that keeps its network."""

    def __init__(self, flags: list[str], name: str, folder: Path):
        """Starts the process and waits for its network.

        Args:
          flags: of `restore-tf restore`.
          name: of the way.
          folder: for results.
        """
        self.name, self._folder = name, folder
        self._log = folder / f"{name.replace('/', '_')}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, json.dumps([flags, str(folder)])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._answer()

    def restore(self, picture: Path) -> dict:
        """Restores a picture.

        Args:
          picture: its file.

        Returns:
          seconds; of them read, compute and write; peak_mb; file and pixels, paths of the restored
          picture's file and of its pixels.

        Raises:
          Failed: with the last line of the process's log.
        """
        _reset_peak(self._process.pid)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{picture}\n")
            self._process.stdin.flush()
        return {**self._answer(), "peak_mb": forward._memory("VmHWM", self._process.pid)}

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        raise Failed((lines or ["no message"])[-1][:200])

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        end(self._process)


class _Page:
    """A page in Chromium, as wide as a phone's."""

    def __init__(self, chromium, address, ready, folder):
        self._context = chromium.new_context(**PHONE)
        self._folder = folder
        self.page = self._context.new_page()
        self.page.set_default_timeout(1000 * _SECONDS)
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector(ready)

    def _timed(self, event, shown, failed, start):
        """What the page says of a picture that `start` begins."""
        from playwright.sync_api import Error

        self.page.bring_to_front()
        try:
            self.page.evaluate(_WATCH.replace("SHOWN", shown), [event, failed])
            start()
            return self.page.evaluate("() => window.restored")
        except Error as error:
            raise Failed(str(error).splitlines()[0][:200]) from None

    def _download(self, selector):
        with self.page.expect_download() as download:
            self.page.locator(selector).first.click()
        name = f"{time.monotonic_ns()}_{download.value.suggested_filename}"
        download.value.save_as(self._folder / name)
        return str(self._folder / name)

    def screenshot(self, path: Path) -> None:
        """Saves the page with what it shows, from top to bottom.

        Args:
          path: where to, a PNG file.
        """
        self.page.screenshot(path=path, full_page=True)

    def close(self) -> None:
        """Closes the page."""
        self._context.close()


class App(_Page):
    """The page of `restore-tf app`."""

    def __init__(self, chromium, address: str, server: int, name: str, folder: Path):
        """Opens the page.

        Args:
          chromium: Playwright's browser.
          address: of the application.
          server: the number of its process.
          name: of the way.
          folder: for results.
        """
        super().__init__(chromium, f"{address}/", "#photos .rtf-area", folder)
        self.name, self._server = name, server

    def restore(self, picture: Path) -> dict:
        """Restores a picture; see `Native.restore`.

        Args:
          picture: its file.

        Returns:
          seconds; told, how many lines of progress were seen; pause, seconds that the page stood
          still at most; peak_mb of the server; file.

        Raises:
          Failed: with what the page shows.
        """
        while self.page.locator("[data-remove]").count():
            self.page.locator("[data-remove]").first.dispatch_event("click")
        self.page.set_input_files("#photos input[type=file]", picture)
        self.page.wait_for_selector("#photos .rtf-files li")
        mark = "old => document.querySelectorAll(old).forEach(e => { e.dataset.old = 1; })"
        self.page.evaluate(mark, _APP_OLD)
        _reset_peak(self._server)
        failed = ", ".join(f"{part}:not([data-old])" for part in _APP_OLD.split(", ")[1:])
        button = self.page.locator("button.primary:visible")
        found = self._timed("click", _APP_SHOWN, failed, button.click)
        peak = forward._memory("VmHWM", self._server)
        return {**found, "peak_mb": peak, "file": self._download("#results a.rtf-download")}


class Browser(_Page):
    """The page of `export.py --format web`, with one of its models."""

    def __init__(self, chromium, address: str, index: int, name: str, folder: Path):
        """Opens the page.

        Args:
          chromium: Playwright's browser.
          address: of the folder's server.
          index: of the model in the manifest.
          name: of the way.
          folder: for results.
        """
        super().__init__(chromium, f"{address}/index.html", "body[data-ready]", folder)
        self.name, self._picture = name, None
        # Of one model the list is not shown.
        choose = "index => { document.getElementById('model').value = index; }"
        self.page.evaluate(choose, str(index))

    def restore(self, picture: Path) -> dict:
        """Restores a picture, which is chosen, or pressed again if it is the one before.

        Args:
          picture: its file.

        Returns:
          As `App.restore`; peak_mb of the largest of Chromium's renderers, wasm_mb of WebAssembly.

        Raises:
          Failed: with what the page shows.
        """
        again, self._picture = picture == self._picture, picture
        self.page.evaluate("document.getElementById('status').textContent = ''")
        for renderer in _renderers():
            _reset_peak(renderer)
        if again:
            start = self.page.locator("#again").click
        else:
            start = lambda: self.page.set_input_files("#file", picture)  # noqa: E731
        event = "click" if again else "change"
        found = self._timed(event, _BROWSER_SHOWN, "#error", start)
        peaks = [forward._memory("VmHWM", renderer) for renderer in _renderers()]
        return {
            **found,
            "peak_mb": max(filter(None, peaks), default=None),
            "wasm_mb": float(self.page.get_attribute("body", "data-memory")) / 1e6,
            "status": self.page.inner_text("#status"),
            "file": self._download("#png"),
        }


def end(process: subprocess.Popen) -> None:
    """Waits for a process that was told to end, and kills it where that takes long.

    Args:
      process: it.
    """
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reset_peak(process):
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def _renderers():
    """The processes that this process's Chromium draws and computes pages in."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                found.append(process.pid)
    return found


def tiles(entry: dict, height: int, width: int) -> int:
    """Returns how many tiles a picture takes.

    Args:
      entry: a model of a page's manifest.
      height: of the picture.
      width: of the picture.
    """
    from restore_tf.inference.blended_tiles import spread

    count = 1
    for axis, side in enumerate((height, width)):
        tile = entry["size"][axis]
        padded = max(side + -side % entry["size_multiple"], tile)
        count *= len(spread(padded, tile, entry["overlap"][axis], entry["tile_step"]))
    return count


def levels(found: np.ndarray, expected: np.ndarray) -> int:
    """Returns the largest difference of two pictures, in levels of 255.

    Args:
      found: uint8; a page gives gray as three channels and adds alpha.
      expected: uint8 or uint16, of the same height and width.
    """
    from restore_tf.pictures.pixels import from_float, to_float

    both = [
        image if image.dtype == np.uint8 else from_float(to_float(image), np.uint8)
        for image in (found, expected)
    ]
    found, expected = (image[..., None] if image.ndim == 2 else image for image in both)
    channels = max(min(found.shape[-1], 3), min(expected.shape[-1], 3))
    shapes = [(*image.shape[:2], channels) for image in (found, expected)]
    found, expected = (
        np.broadcast_to(image[..., :3], shape).astype(int)
        for image, shape in zip((found, expected), shapes, strict=True)
    )
    return int(np.abs(found - expected).max())


def _serve(flags, folder):
    """A native process: says that it is ready, then takes a file's name and says how it went."""
    from restore_tf.commands import restore
    from restore_tf.pictures import files, hidden

    values = restore.define_flags()
    values(["restore.py", *flags])
    run = restore.make_restorer(values)
    print("{}", flush=True)
    for line in sys.stdin:
        times = [time.perf_counter()]
        picture = files.read_picture(line.strip())
        times.append(time.perf_counter())
        pixels = hidden.restore(run, picture.pixels, picture.alpha)
        times.append(time.perf_counter())
        data, ending = files.encode_restored(picture, pixels)
        path = Path(folder) / f"{time.monotonic_ns()}_native{ending}"
        path.write_bytes(data)
        times.append(time.perf_counter())
        np.save(path.with_suffix(".npy"), pixels)
        parts = dict(zip(("read", "compute", "write"), np.diff(times).tolist(), strict=True))
        found = {"seconds": times[-1] - times[0], **parts, "file": str(path)}
        print(json.dumps({**found, "pixels": str(path.with_suffix(".npy"))}), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _serve(*json.loads(sys.argv[1]))
