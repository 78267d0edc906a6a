"""`restore-tf app`: a web page and an HTTP interface that restore pictures."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli
from restore_tf.commands.flags import pixels as pixels_flags
from restore_tf.errors import UserError
from restore_tf.system import quiet
from restore_tf.system.signals import stop_signals

USAGE = """Serves a web page that restores pictures and clips, and an HTTP interface.
  restore-tf app                                 all installed weights, for this machine only
  restore-tf app --workdir RUN --tflite FILE.tflite
  restore-tf app --host 0.0.0.0 --auth_file PASSWORDS
  restore-tf app --write_files DIR               a Dockerfile and the files of a hosted Space"""

_WAIT = 0.1  # seconds between checks for a stop signal


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_app, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    _define_networks(values)
    _define_server(values)
    _define_limits(values)
    return values


def _define_networks(values):
    def several(name, meaning):
        flags.DEFINE_multi_string(name, [], meaning, flag_values=values)

    several("workdir", "a run directory; may be given several times")
    several("weights", "published weights by name; without any network, all installed ones")
    several("tflite", "a TFLite file of export.py; may be given several times")
    flags.DEFINE_enum(
        "precision", "float32", ["float32", "bfloat16"], "of runs and weights", flag_values=values
    )


def _define_server(values):
    def text(name, default, meaning):
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    text("host", "127.0.0.1", "the address to listen on; 0.0.0.0 for all")
    port = "the port to listen on; 0 takes a free one"
    flags.DEFINE_integer("port", 7860, port, 0, 65535, flag_values=values)
    text("auth_file", None, "ask visitors for a password; a file of lines user:password")
    text("root_path", "", "the path at which a proxy serves the app, such as /restore")
    meaning = "a host name that requests may use, such as a proxy's; may be given several times"
    flags.DEFINE_multi_string("allowed_host", [], meaning, flag_values=values)
    text("web", None, "also serve a folder of export.py --format web, at /web")
    text("write_files", None, "write the files of a deployment into this folder, and exit")


def _define_limits(values):
    def number(name, default, lowest, meaning):
        flags.DEFINE_integer(name, default, meaning, lowest, flag_values=values)

    number("max_bytes", 64 * 2**20, 1, "the largest picture file, in bytes")
    number("max_pixels", 40_000_000, 1, "the largest picture, in pixels, height x width")
    number("max_clip_bytes", 256 * 2**20, 1, "the largest video file, in bytes")
    number("max_clip_frames", 900, 1, "the longest video, in frames")
    number("max_pictures", 20, 1, "the most pictures of one upload on the page")
    number("queue", 16, 0, "pictures that may wait; further ones are refused (429)")
    number("concurrency", 1, 1, "computations at the same time; each uses every core")
    number("keep_minutes", 60, 1, "minutes after which uploads and results are deleted")
    flags.DEFINE_string(
        "memory",
        None,
        "memory limit of the process: 4GB; by default four fifths of the free memory",
        flag_values=values,
    )


def _app(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: expected no arguments besides flags.")
    if values.write_files is not None:
        return _write_files(values)
    _check(values)
    try:
        from restore_tf.app import assembly, guards, server
    except ImportError as error:
        raise UserError(f"the app needs {error.name}: pip install 'restore_tf[app]'.") from None
    from restore_tf.app import models, service

    passwords = None if values.auth_file is None else guards.read_passwords(values.auth_file)
    bound = server.listen(values.host, values.port)
    if values.workdir or values.weights or not values.tflite:  # files do without
        quiet.import_tensorflow()
    catalogue = models.Catalogue(
        models.entries(values.weights, values.workdir, values.tflite, values.precision)
    )
    parts = service.make(catalogue, limits(values))
    tempfile.tempdir = str(parts.store.folder)  # removed at the end, with TensorFlow's files
    hosts = guards.hosts(values.host, values.allowed_host)
    app = assembly.assemble(parts, hosts, passwords, values.root_path, values.web)
    _say(values, bound, catalogue, passwords)
    with stop_signals() as stop, server.running(app, parts, bound, values.root_path):
        print("ready; Ctrl-C stops", flush=True)
        while not stop.requested:
            time.sleep(_WAIT)
        print("stopping after the running computations", flush=True)
    tempfile.tempdir = None
    return 0


def limits(values: flags.FlagValues):
    """Returns the app's `Limits` from the flags.

    Args:
      values: the command's flags.

    Raises:
      UserError: --memory is not a size.
    """
    from restore_tf.app.limits import Limits

    return Limits(
        bytes=values.max_bytes,
        pixels=values.max_pixels,
        clip_bytes=values.max_clip_bytes,
        clip_frames=values.max_clip_frames,
        pictures=values.max_pictures,
        queue=values.queue,
        concurrency=values.concurrency,
        keep_seconds=60.0 * values.keep_minutes,
        memory=None if values.memory is None else pixels_flags.size_in_bytes(values.memory),
    )


def _check(values):
    pixels_flags.check(values)
    path = values.root_path
    if path and (not path.startswith("/") or path.endswith("/")):
        raise UserError(f"--root_path {path}: expected a path such as /restore.")
    if values.web is not None and not (Path(values.web) / "index.html").is_file():
        raise UserError(f"--web {values.web}: has no index.html; expected export.py --format web.")


def _say(values, bound, catalogue, passwords):
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"networks: {', '.join(catalogue.entries)}")
    print(f"page: http://{shown}:{port}{values.root_path}/")
    print(f"HTTP interface: http://{shown}:{port}{values.root_path}/docs")
    if values.web is not None:
        print(f"in the browser: http://{shown}:{port}{values.root_path}/web/")
    if passwords is None and values.host not in ("127.0.0.1", "localhost", "::1"):
        print("anyone who can reach this address can use it; --auth_file asks for a password")


def _write_files(values):
    from restore_tf.app import deployment

    for path in deployment.write(values.write_files):
        print(path)
    return 0
