"""`restore-tf client`: restores pictures on a server that runs an exported SavedModel."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import flags
from tqdm import tqdm

from restore_tf import images, quiet
from restore_tf.commands import cli, restore_jobs
from restore_tf.errors import UserError
from restore_tf.serving.client import Client

USAGE = """Restores pictures on TensorFlow Serving or restore-tf serve: files, folders, patterns.
  restore-tf client PICTURE_OR_FOLDER … --server grpc://localhost:8500 --output DIR
  restore-tf client photos --recursive --server http://localhost:8501 --suffix _sharp"""

SOME_FAILED = 1
FORMATS = ("png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(_client, _flags(), sys.argv if argv is None else argv, USAGE)


def _flags():
    values = flags.FlagValues()

    def text(name, default, meaning, **options):
        flags.DEFINE_string(name, default, meaning, flag_values=values, **options)

    def number(name, default, lowest, highest, meaning):
        flags.DEFINE_integer(name, default, meaning, lowest, highest, flag_values=values)

    text("server", None, "grpc://HOST:PORT, http://HOST:PORT or https://HOST:PORT")
    text("model_name", "restore_tf", "the name that the server gives the model")
    number("model_version", None, 0, None, "the server's latest by default")
    text("output", None, "a folder; a file for a single picture", short_name="o")
    text("suffix", "", "put into names: NAME_sharp.png; beside the input without --output")
    flags.DEFINE_enum("format", None, FORMATS, "write another format", flag_values=values)
    number("jpeg_quality", images.JPEG_QUALITY, 1, 100, "of JPEG and WebP files")
    number("max_pixels", images.MAX_PIXELS, 1, None, "refuse larger pictures")
    flags.DEFINE_float("timeout", 120.0, "seconds for one attempt", 0.001, flag_values=values)
    number("retries", 5, 0, 100, "further attempts while the server is busy or away")
    number("concurrency", 2, 1, 64, "pictures on their way at the same time")
    for name, meaning in (
        ("recursive", "also the sub-folders of folders, kept below --output"),
        ("overwrite", "replace existing outputs"),
    ):
        flags.DEFINE_boolean(name, False, meaning, flag_values=values)
    return values


def _client(positional, values):
    if not values.server:
        raise UserError("--server: missing; expected grpc://HOST:PORT or http://HOST:PORT.")
    if restore_jobs.STREAM in (*positional, values.output):
        raise UserError("-: expected files; restore-tf client does not do standard streams.")
    naming = restore_jobs.Naming(values.output, values.suffix, values.format)
    jobs = restore_jobs.plan(positional, naming, values.recursive)
    failed = [] if values.overwrite else [(job, _exists(job)) for job in jobs if job.existing]
    left = [job for job in jobs if job not in dict(failed)]
    if not left:
        raise failed[0][1]
    if values.server.startswith("grpc://"):
        with contextlib.suppress(ImportError):  # `Client` says what is missing
            quiet.import_tensorflow()  # the stubs do, with lines about CPU features
    with _connect(values) as client:
        client.check()  # one error for a wrong address, not one for each picture
        silent = None if len(left) > 1 else True  # None: only on a terminal
        outcomes = _run(left, client, values)
        for job, error in tqdm(outcomes, total=len(left), unit="picture", disable=silent):
            if error is not None:
                failed.append((job, error))
    return _report(jobs, failed, values.output)


def _connect(values):
    return Client(
        values.server,
        values.model_name,
        version=values.model_version,
        timeout=values.timeout,
        retries=values.retries,
    )


def _exists(job):
    return UserError(f"{job.existing}: exists; pass --overwrite or another --output.")


def _run(jobs, client, values) -> Iterator[tuple[restore_jobs.Job, UserError | None]]:
    """Yields each job, in order, with its error or None; `--concurrency` are under way at once."""
    with ThreadPoolExecutor(values.concurrency) as pool:
        under_way = collections.deque()
        try:
            for job in jobs:
                under_way.append((job, pool.submit(_restore, job, client, values)))
                if len(under_way) > 2 * values.concurrency:
                    yield _outcome(*under_way.popleft())
            while under_way:
                yield _outcome(*under_way.popleft())
        except BaseException:  # Ctrl-C: nobody waits for the others
            client.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _outcome(job, future):
    try:
        future.result()
        return job, None
    except UserError as error:
        # The server's errors name the server, not the picture.
        text = str(error)
        return job, error if text.startswith(job.name) else UserError(f"{job.name}: {text}")


def _restore(job, client, values):
    picture = images.read_picture(job.picture, values.max_pixels, job.name)
    pixels = picture.pixels
    if pixels.dtype == np.uint16:
        warnings.warn(
            f"{job.name}: has 16 bits a channel; sent and written with 8, use restore.py for 16.",
            stacklevel=2,
        )
        pixels = images.from_float(images.to_float(pixels), np.uint8)
    restored = client.restore(pixels, job.name)
    if job.existing is not None and not values.overwrite:  # it came up meanwhile
        raise _exists(job)
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{job.output.parent}: cannot be made ({error.strerror}).") from None
    result = dataclasses.replace(picture, pixels=restored)
    images.write_picture(job.output, result, values.jpeg_quality)


def _report(jobs, failed, output):
    """Prints what was done and what failed; returns the exit code."""
    where = "beside the inputs" if output is None else f"into {output}"
    print(f"{len(jobs) - len(failed)} of {len(jobs)} pictures restored {where}")
    if failed and len(jobs) > 1:
        print(f"{len(failed)} of {len(jobs)} pictures failed:", file=sys.stderr)
    for _, error in failed:
        print(f"error: {error}", file=sys.stderr)
    if failed and len(jobs) == 1:
        return cli.USER_ERROR
    return SOME_FAILED if failed else 0
