"""`restore-tf client`: restores pictures on TensorFlow Serving or on `restore-tf app`."""

from __future__ import annotations

import collections
import contextlib
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import flags

from restore_tf.commands import cli
from restore_tf.commands.flags import pictures as pictures_flags
from restore_tf.commands.restore_inputs import STREAM
from restore_tf.commands.restore_jobs import Job
from restore_tf.errors import UserError
from restore_tf.pictures import files, hidden
from restore_tf.pictures.pixels import from_float, to_float
from restore_tf.serving.client import PROTOCOLS, Client
from restore_tf.system import quiet
from restore_tf.system.log import logger

USAGE = """Restores pictures on TensorFlow Serving, restore-tf serve or restore-tf app.
  restore-tf client PICTURE_OR_FOLDER … --server grpc://localhost:8500 --output DIR
  restore-tf client photos --recursive --server http://localhost:8501 --suffix _sharp
  restore-tf client photos --server http://localhost:7860 --protocol app --output DIR"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_client, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()

    def text(name, default, meaning):
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def number(name, default, lowest, highest, meaning):
        flags.DEFINE_integer(name, default, meaning, lowest, highest, flag_values=values)

    text("server", None, "grpc://HOST:PORT, http://HOST:PORT; over TLS grpcs:// or https://")
    flags.DEFINE_enum(
        "protocol",
        "serving",
        PROTOCOLS,
        "serving: TensorFlow Serving's; app: that of restore-tf app, which may need "
        "http://USER:PASSWORD@HOST:PORT",
        flag_values=values,
    )
    text("ca_file", None, "grpcs, https: PEM file of the certificates to trust; the usual ones")
    text("model_name", "restore_tf", "the name that the server gives the model; the app's default")
    number("model_version", None, 0, None, "the server's latest by default")
    pictures_flags.define(values, "a folder; a file for a single picture")
    flags.DEFINE_float("timeout", 120.0, "seconds for one attempt", 0.001, flag_values=values)
    number("retries", 5, 0, 100, "further attempts while the server is busy or unreachable")
    number("concurrency", 2, 1, 64, "pictures sent at the same time")
    return values


def _client(positional, values):
    if not values.server:
        raise UserError("--server: missing; expected grpc://HOST:PORT or http://HOST:PORT.")
    if STREAM in (*positional, values.output):
        raise UserError("-: expected files; restore-tf client does not read standard input.")
    found = pictures_flags.entries(positional, values)
    return pictures_flags.restore_and_report(
        found, positional, values, lambda jobs: _restore_all(jobs, values)
    )


def _restore_all(jobs, values):
    """Yields each job, in order, with its error or None."""
    if values.protocol != "app" and values.server.startswith(("grpc://", "grpcs://")):
        with contextlib.suppress(ImportError):  # `Client` names what is missing
            quiet.import_tensorflow()  # before the stubs do, with messages on CPU features
    with _connect(values) as client:
        client.check()  # one error for a wrong address, not one for each picture
        yield from _run(jobs, client, values)


def _connect(values):
    default_of_app = values.protocol == "app" and not values["model_name"].present
    return Client(
        values.server,
        None if default_of_app else values.model_name,
        protocol=values.protocol,
        version=values.model_version,
        timeout=values.timeout,
        retries=values.retries,
        ca_file=values.ca_file,
    )


def _run(jobs, client, values) -> Iterator[tuple[Job, UserError | None]]:
    """As `_restore_all`, with up to `--concurrency` requests at the same time."""
    with ThreadPoolExecutor(values.concurrency) as pool:
        under_way = collections.deque()
        try:
            for job in jobs:
                under_way.append((job, pool.submit(_restore, job, client, values)))
                if len(under_way) > 2 * values.concurrency:
                    yield _outcome(*under_way.popleft())
            while under_way:
                yield _outcome(*under_way.popleft())
        except BaseException:  # Ctrl-C: the remaining requests are cancelled
            client.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _outcome(job, future):
    try:
        future.result()
        return job, None
    except UserError as error:
        return job, error


def _restore(job, client, values):
    picture = files.read_picture(job.picture, values.max_pixels, job.name)
    pixels = picture.pixels
    if pixels.dtype == np.uint16 and not client.sixteen_bits:
        logger.warning(
            "%s: has 16 bits a channel; sent and written with 8, use restore.py for 16.", job.name
        )
        pixels = from_float(to_float(pixels), np.uint8)

    def restore(visible):
        return client.restore(visible, job.name)

    with pictures_flags.naming_errors(job.name):  # the server's errors name the server
        restored = hidden.restore(restore, pixels, picture.alpha)
    pictures_flags.save(job, picture, restored, values)
