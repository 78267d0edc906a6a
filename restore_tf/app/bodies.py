"""Reading the bodies of requests into the temporary folder, within the limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from restore_tf.app.refusals import Cancelled, Refusal, TooLarge, TooSlow
from restore_tf.app.store import Store

_AROUND = 64 * 1024  # bytes of a form beside its file
_CHUNK = 2**20
_DRAINED_SECONDS = 5.0


async def read_picture(
    request: Request, store: Store, most: int, seconds: float, ending: str = ""
) -> Path:
    """Stores the picture of a request in a new file: its body, or the first file of a form.

    Args:
      request: with an unread body.
      store: where to.
      most: the largest picture, in bytes.
      seconds: for the whole body.
      ending: of the file's name; see `Store.new`.

    Raises:
      Refusal: too large, too slow, or no file in the form.
      Cancelled: the client disconnected.
    """
    if is_form(request):
        (upload,) = await read_form(request, most, seconds, most_files=1)
        try:
            return await save(upload, store, ending)
        finally:
            await upload.close()
    path = store.new(ending)
    with _deleting_unless_done(path):
        async with _within(seconds):
            with path.open("wb") as file:
                async for chunk in _limited(request, most):
                    file.write(chunk)
        if not path.stat().st_size:
            raise Refusal("the request's body is empty; expected a picture.")
    return path


def is_form(request: Request) -> bool:
    """Returns whether a request's body is a form with files.

    Args:
      request: any.
    """
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_form(
    request: Request, most: int, seconds: float, most_files: int
) -> list[UploadFile]:
    """Returns the files of a form, as unnamed temporary files that are deleted when closed.

    Args:
      request: with an unread body.
      most: bytes of all files together.
      seconds: for the whole body.
      most_files: the largest number of files; at least one is expected.

    Raises:
      Refusal: too large, too slow, not a form, a wrong number of files, or other fields.
      Cancelled: the client disconnected.
    """
    parser = MultiPartParser(request.headers, _limited(request, most + _AROUND), max_files=100)
    try:
        async with _within(seconds):
            form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        words = getattr(error, "message", "no boundary")
        raise Refusal(f"the form cannot be read ({words}).") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    fields = [name for name, value in form.multi_items() if not isinstance(value, UploadFile)]
    if 1 <= len(files) <= most_files and not fields:
        return files
    await form.close()
    if files and fields:  # probably an option, which must not be ignored silently
        name = fields[0][:60]
        raise Refusal(f"{name}: options belong in the address, /restore?{name}=…, not in the form.")
    raise Refusal(f"the form has {len(files)} files; expected 1 to {most_files}.")


async def save(upload: UploadFile, store: Store, ending: str = "") -> Path:
    """Copies an upload into a new file of the store.

    Args:
      upload: the file of a form.
      store: where to.
      ending: of the file's name; see `Store.new`.
    """
    path = store.new(ending)
    with _deleting_unless_done(path), path.open("wb") as file:
        while chunk := await upload.read(_CHUNK):
            file.write(chunk)
    return path


async def drain(request: Request, most: int) -> None:
    """Reads the rest of a refused request, so that the client can read the answer.

    Closing the connection of a client that still sends would lose the answer.

    Args:
      request: the refused one.
      most: bytes to read at most.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # the client waits for permission to send
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(_DRAINED_SECONDS):
            count = 0
            async for chunk in request.stream():
                count += len(chunk)
                if count > most:
                    return


async def _limited(request, most) -> AsyncIterator[bytes]:
    """Yields the chunks of a body; raises TooLarge once there are too many bytes."""
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > most:
        raise _too_large(most)
    count = 0
    try:
        async for chunk in request.stream():
            count += len(chunk)
            if count > most:
                raise _too_large(most)
            yield chunk
    except ClientDisconnect:
        raise Cancelled from None


def _too_large(most):
    return TooLarge(f"more than {most / 2**20:.3g} MiB, the limit of this server.")


@contextlib.asynccontextmanager
async def _within(seconds):
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TooSlow(f"the body did not arrive within {seconds:g} s.") from None


@contextlib.contextmanager
def _deleting_unless_done(path):
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
