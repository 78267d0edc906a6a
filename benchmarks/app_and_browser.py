#!/usr/bin/env python3
"""Pictures restored by the application's page and inside the browser, beside the native ways.

- restore-tf restore: the default weights, in a process that stays.
- restore-tf app: the same weights, on its page in Chromium, from the press of Restore.
- restore.py --tflite: each file of the pages of --web, in LiteRT, in a process that stays.
- in the browser: the same file in its page in Chromium, by LiteRT.js with threads.

All restore the same file, in turns. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import forward
import numpy as np
import ways
from PIL import Image

sys.path.insert(0, str(ways.ROOT / "tests"))
import browser  # noqa: E402

MODULES = {"ai_edge_litert": "ai-edge-litert", "gradio": "gradio", "requests": "requests"}
LITERTJS = "RESTORE_TF_LITERTJS"
WARM = (256, 256)  # of the picture that networks are loaded with; files take one of their size
NAMES = {  # how the names of a pair of ways begin
    "app": ("restore-tf restore", "restore-tf app"),
    "browser": ("restore.py --tflite", "in the browser"),
}


def _missing(args):
    """Names what this machine lacks; empty where nothing is."""
    found = [browser.missing()]
    found += [
        f"{package} is not installed"
        for module, package in MODULES.items()
        if importlib.util.find_spec(module) is None
    ]
    no_page = "browser" in args.ways and not args.web
    if no_page and not args.litertjs and not shutil.which("npm"):
        found.append(f"no LiteRT.js: pass --web or --litertjs, set {LITERTJS}, or install npm")
    return "; ".join(filter(None, found))


def _exported(args, folder):
    """The page of the default weights, where no other is named."""
    print("exporting the default weights as a page", file=sys.stderr)
    words = [sys.executable, "-m", "restore_tf", "export", "--format=web", "--kinds=float16"]
    words += [f"--output={folder}"] + ([f"--litertjs={args.litertjs}"] if args.litertjs else [])
    done = subprocess.run(words, cwd=ways.ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the page could not be exported: {done.stderr.strip().splitlines()[-1]}")
    return folder / "web"


class Pair:
    """A native way and its page, which restore the same.

    Attributes:
      label: for file names.
      native: a `ways.Native`.
      page: a `ways.App` or a `ways.Browser`.
      entry: the model's of the page's manifest; None of the application.
      ready: by way, seconds of its start and of its first picture.
      a_tile: seconds that a tile takes in the page; None of the application.
    """

    def __init__(self, label, native, page, entry, seconds):
        """Keeps them; `seconds`: what the start of either took."""
        self.label, self.native, self.page, self.entry = label, native, page, entry
        self.ready, self.a_tile, self._seconds = {}, None, seconds

    @property
    def both(self):
        """The two ways."""
        return self.native, self.page

    def warm(self, picture: Path, folder: Path) -> None:
        """Loads the network in both ways.

        Args:
          picture: a crop of it is restored.
          folder: for the crop.
        """
        height, width = self.entry["size"] if self.entry else WARM
        crop = folder / f"warm_{height}x{width}.png"
        with Image.open(picture) as image:
            image.convert("RGB").crop((0, 0, width, height)).save(crop)
        for way, seconds in zip(self.both, self._seconds, strict=True):
            print(f"loading {way.name}", file=sys.stderr)
            began = time.monotonic()
            way.restore(crop)
            self.ready[way.name] = seconds + time.monotonic() - began
            found = way.restore(crop)
        self.a_tile = found["seconds"] if self.entry else None

    def too_long(self, size: tuple[int, int], longest: float) -> str:
        """Returns why a picture is left out; empty where it is not.

        Args:
          size: (height, width) of the picture.
          longest: seconds that it may take in the page.
        """
        if not self.entry:
            return ""
        count = ways.tiles(self.entry, *size)
        if count * self.a_tile <= longest:
            return ""
        return f"left out: {count} tiles, {count * self.a_tile:.0f} s in the page"

    def difference(self, native: dict, page: dict) -> int:
        """Returns the largest difference in levels.

        Args:
          native: what `Native.restore` returned.
          page: what the page's did. The application gives the file itself, of the picture's format.
        """
        with Image.open(page["file"]) as image:
            found = np.asarray(image)
        if self.entry:
            return ways.levels(found, np.load(native["pixels"]))
        with Image.open(native["file"]) as image:
            return ways.levels(found, np.asarray(image))


@contextlib.contextmanager
def _network_pair(chromium, folder):
    import app_load

    native_name, page_name = (f"{way}, default weights" for way in NAMES["app"])
    times = [time.monotonic()]
    native = ways.Native([], native_name, folder)
    times.append(time.monotonic())
    with (folder / "app.log").open("w") as log:
        process, address = app_load.start([], folder, limits={}, errors=log)
    try:
        page = ways.App(chromium, address, process.pid, page_name, folder)
        times.append(time.monotonic())
        yield Pair("app", native, page, None, np.diff(times).tolist())
        page.close()
    finally:
        process.send_signal(signal.SIGTERM)
        ways.end(process)
        native.close()


@contextlib.contextmanager
def _file_pair(chromium, web, index, entry, folder):
    path = web / entry["file"]
    native_name, page_name = (f"{way}, {path.stem}" for way in NAMES["browser"])
    times = [time.monotonic()]
    native = ways.Native([f"--tflite={path}"], native_name, folder)
    times.append(time.monotonic())
    try:
        with browser.served(web) as address:
            page = ways.Browser(chromium, address, index, page_name, folder)
            times.append(time.monotonic())
            yield Pair(f"browser_{path.stem}", native, page, entry, np.diff(times).tolist())
            page.close()
    finally:
        native.close()


def _measure(pair, picture, size, args):
    """Restores a picture by both ways, in turns; returns an entry for each way."""
    height, width = size
    head = {"picture": picture.name, "size": f"{width}x{height}"}
    reason = pair.too_long(size, args.longest)
    if reason:
        return [{**head, "way": way.name, "reason": reason} for way in pair.both]
    busy, began, rounds = forward._busy_share(), time.monotonic(), []
    while len(rounds) < args.turns and (not rounds or time.monotonic() - began < args.seconds):
        found = []
        for way in pair.both:
            print(f"{picture.name}: {way.name}", file=sys.stderr)
            try:
                found.append(way.restore(picture))
            except ways.Failed as error:
                return [{**head, "way": way.name, "reason": f"failed: {error}"}]
        found[1]["levels"] = pair.difference(*found)
        rounds.append(found)
    if args.screenshots:
        pair.page.screenshot(args.screenshots / f"{picture.name}_{pair.label}.png")
    entries = []
    for way, turns in zip(pair.both, zip(*rounds, strict=True), strict=True):
        # The fastest: other programs and a throttled processor only ever add to it.
        entry = {**head, "way": way.name, "fastest": min(turn["seconds"] for turn in turns)}
        for key in ("peak_mb", "wasm_mb", "pause", "levels"):
            known = [turn[key] for turn in turns if turn.get(key) is not None]
            entry[key] = max(known, default=None)
        entry["told"] = turns[0].get("told")
        entries.append({**entry, "busy": busy, "turns": turns})
    entries[1]["times"] = entries[1]["fastest"] / entries[0]["fastest"]
    return entries


def tables(entries: list[dict], ready: dict[str, float]) -> str:
    """Two Markdown tables: each way's picture, and how long each way takes to be ready.

    Args:
      entries: of every picture and way.
      ready: by way, seconds.
    """
    columns = {
        "s": ("fastest", "{:.2f}"),
        "times native": ("times", "{:.2f}"),
        "largest difference, levels": ("levels", "{}"),
        "peak MB": ("peak_mb", "{:.0f}"),
        "of it WebAssembly": ("wasm_mb", "{:.0f}"),
        "lines of progress": ("told", "{}"),
        "longest pause, s": ("pause", "{:.2f}"),
    }
    rows = [["picture", "size", "way", *columns, "remark"]]
    for entry in entries:
        cells = [entry["picture"], entry["size"], entry["way"]]
        cells += [forward._cell(entry, key, form) for key, form in columns.values()]
        rows.append([*cells, entry.get("reason", "")])
    loading = [["way", "s of its start and its first tile"]]
    loading += [[name, f"{seconds:.1f}"] for name, seconds in ready.items()]
    return f"{forward._markdown(rows)}\n\n{forward._markdown(loading)}"


def _shown_size(picture):
    """(height, width) of a picture, upright."""
    from restore_tf.pictures import files

    return files.read_picture(picture).pixels.shape[:2]


def _run(args, machine, folder):
    """Measures everything; returns the entries, the seconds of loading, and the pages' errors."""
    pages = list(args.web or ([_exported(args, folder)] if "browser" in args.ways else []))
    sizes = {picture: _shown_size(picture) for picture in args.pictures}
    with contextlib.ExitStack() as stack:
        chromium = stack.enter_context(browser.opened())
        machine["versions"]["Chromium"] = chromium.version
        pairs = []
        if "app" in args.ways:
            pairs.append(stack.enter_context(_network_pair(chromium, folder)))
        for web in pages if "browser" in args.ways else ():
            manifest = json.loads((web / "manifest.json").read_text(encoding="utf-8"))
            machine["versions"][manifest["runtime"]["name"]] = manifest["runtime"]["version"]
            for index, entry in enumerate(manifest["models"]):
                pair = _file_pair(chromium, web, index, entry, folder)
                pairs.append(stack.enter_context(pair))
        for pair in pairs:
            pair.warm(args.pictures[0], folder)
        entries, ready = [], {way: s for pair in pairs for way, s in pair.ready.items()}
        results = {"environment": machine, "ready": ready, "measurements": entries}
        for picture, size in sizes.items():
            for pair in pairs:
                entries += _measure(pair, picture, size, args)
                forward._save(args.output, results)
        return entries, ready, [error for pair in pairs for error in pair.page.errors]


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="files")
    parser.add_argument("--ways", nargs="+", choices=NAMES, default=list(NAMES))
    page = "folders that export.py --format web wrote; without it the default weights' is made"
    parser.add_argument("--web", type=Path, nargs="+", help=page)
    package = f"LiteRT.js for that, as npm pack writes it; by default what {LITERTJS} names"
    parser.add_argument("--litertjs", default=os.environ.get(LITERTJS), help=package)
    parser.add_argument("--turns", type=int, default=3, help="of each picture, at most")
    parser.add_argument(
        "--seconds", type=float, default=120, help="no turn of a picture starts after so many"
    )
    parser.add_argument(
        "--longest", type=float, default=900,
        help="seconds in the browser, by its tiles, from which on a picture is left out",
    )  # fmt: skip
    parser.add_argument("--screenshots", type=Path, help="a folder for the pages' pictures")
    parser.add_argument("--output", type=Path, help="JSON file for every single measurement")
    args = parser.parse_args(argv)
    for picture in args.pictures:
        if not picture.is_file():
            parser.error(f"--pictures {picture}: no such file.")
    for web in args.web or ():
        if not (web / "manifest.json").is_file():
            parser.error(f"--web {web}: has no manifest.json; expected DIR/web of export.py.")
    if args.turns < 1:
        parser.error(f"--turns {args.turns}: expected at least 1.")
    if args.output and not args.output.resolve().parent.is_dir():
        parser.error(f"--output {args.output}: its folder does not exist; make it first.")
    if missing := _missing(args):
        parser.error(missing)
    args.pictures = [picture.resolve() for picture in dict.fromkeys(args.pictures)]
    args.web = args.web and [web.resolve() for web in dict.fromkeys(args.web)]
    return args


def _environment():
    machine = forward.environment()
    for package in ("ai-edge-litert", "gradio", "playwright"):
        machine["versions"][package] = importlib.metadata.version(package)
    return machine


def main(argv: list[str] | None = None) -> int:
    """Measures what the flags ask for and prints the tables.

    Args:
      argv: the arguments; the process's own by default.

    Returns:
      The exit code; 1 where a way failed or a page reported an error.
    """
    argv = sys.argv[1:] if argv is None else argv
    args = _parse(argv)
    sys.path.insert(0, str(ways.ROOT))
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)
    machine = _environment()
    with tempfile.TemporaryDirectory(prefix="app_and_browser_") as folder:
        entries, ready, errors = _run(args, machine, Path(folder))
    print(f"Command: {shlex.join(['python', 'benchmarks/app_and_browser.py', *argv])}")
    forward._print_environment(machine, [])
    print(f"\n{tables(entries, ready)}")
    for error in errors:
        print(f"\nA page reported: {error}")
    busy = max((entry.get("busy", 0) for entry in entries), default=0)
    if busy > forward.BUSY:
        print(
            f"\nOther processes used up to {busy:.0%} of the CPU: DO NOT USE THESE NUMBERS. "
            "Measure on a quiet machine."
        )
    failed = any(entry.get("reason", "").startswith("failed") for entry in entries)
    return 1 if failed or errors else 0


if __name__ == "__main__":
    sys.exit(main())
