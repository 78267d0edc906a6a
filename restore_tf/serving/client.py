"""A client of TensorFlow Serving for the SavedModels of export.py, and of `restore-tf app`.

    with Client("grpc://localhost:8500", "restore_tf") as client:
        restored = client.restore(pixels)      # (height, width, 3) or (height, width) uint8

Pictures are sent and received as PNG files, through the signature `serving_bytes`. Requests to a
busy or unreachable server are repeated, with growing pauses. `http://` needs `requests` alone;
`grpc://` needs tensorflow-serving-api, whose stubs import TensorFlow (some seconds, some 500 MB).
"""

from __future__ import annotations

import io
import os
import random
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.pictures import files
from restore_tf.pictures.pixels import from_float, scale_of, to_float
from restore_tf.serving import transports
from restore_tf.serving.app_transport import App
from restore_tf.serving.transports import ServerError

SIGNATURE = "serving_bytes"
MAX_MESSAGE = 2**31 - 2**16  # bytes: what protocol buffers hold, less what stands around a picture
FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0  # seconds between two attempts
PROTOCOLS = ("serving", "app")
_GRPC, _REST = ("grpc", "grpcs"), ("http", "https")
_OVER_TLS = ("grpcs", "https")
_QUICK = 1  # zlib's level: PNG is for the way only


class Client:
    """Restores pictures on a server. One client may be used by many threads at the same time.

    Attributes:
      server: its address, as given, without a password.
      sixteen_bits: whether it takes uint16 pixels.
    """

    def __init__(
        self,
        server: str,
        model_name: str | None = "restore_tf",
        *,
        protocol: str = "serving",
        version: int | None = None,
        signature: str = SIGNATURE,
        timeout: float = 120.0,
        retries: int = 5,
        max_message: int = MAX_MESSAGE,
        ca_file: str | os.PathLike | None = None,
    ):
        """Connects when first used.

        Args:
          server: grpc://HOST:PORT, http://HOST:PORT, or over TLS grpcs:// or https://; http maybe
            with a path.
          model_name: the name that the server gives the model; None for the app's default.
          protocol: "serving" for TensorFlow Serving, "app" for restore-tf app, over http or https;
            http://USER:PASSWORD@HOST:PORT where it asks for a password.
          version: of the model; the server's latest by default.
          signature: of the SavedModel, `image_bytes` to `restored_bytes`.
          timeout: seconds for one attempt; over REST, seconds without a byte received.
          retries: further attempts when the server is unavailable, busy or too slow.
          max_message: the largest request, in bytes.
          ca_file: PEM file of the certificates to trust over TLS; by default those shipped with
            gRPC or requests.

        Raises:
          UserError: another form of address, a missing package, or a `ca_file` that is no PEM file
            or needs TLS.
        """
        parts = _address(server)
        kind = transports.Grpc if parts.scheme in _GRPC else transports.Rest
        self.server = server
        if protocol == "app":
            kind = App
            self.server = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            if parts.scheme in _GRPC:
                raise UserError(f"--server {server}: restore-tf app speaks http:// and https://.")
        self._transport = kind(
            parts, model_name, version, signature, timeout, _certificates(ca_file, parts.scheme)
        )
        self.sixteen_bits = kind.sixteen_bits
        self._retries, self._max_message = retries, max_message
        self._closed = threading.Event()

    def check(self) -> None:
        """Asks the server for the model.

        Raises:
          ServerError: the server cannot be reached or does not have it.
        """
        self._repeated(self._transport.check)

    def restore(self, pixels: np.ndarray, name: str = "the picture") -> np.ndarray:
        """Restores one picture.

        Args:
          pixels: (height, width, 3) or (height, width), uint8, sRGB; uint16 too where the client
            has `sixteen_bits`. Gray goes through a colour
            network as three equal channels, whose mean is returned, as with `restore_tf.restore`.
          name: what to call the picture in messages.

        Returns:
          The restored pixels, of the same type and shape, or where the model enlarges, a multiple.

        Raises:
          UserError: pixels of another shape or type, or too large a picture.
          ServerError: the server's error, after the retries.
        """
        types = (np.uint8, np.uint16) if self.sixteen_bits else (np.uint8,)
        if pixels.dtype not in types or pixels.shape[2:] not in ((), (3,)):
            raise UserError(
                f"{name}: {pixels.dtype} pixels of shape {pixels.shape}; expected uint8, (height, "
                "width, 3) or (height, width)."
            )
        answer = self.restore_file(_png(pixels), name)
        restored = files.read_picture(answer, name=f"{name}, as {self.server} restored it").pixels
        if pixels.ndim == 2 and restored.ndim == 3:
            restored = from_float(to_float(restored).mean(axis=-1), pixels.dtype)
        if restored.ndim != pixels.ndim or not scale_of(restored, pixels):
            raise ServerError(
                f"{name}: the server restored {pixels.shape} to {restored.shape}; expected the "
                "same size or a multiple: is it a model of export.py?"
            )
        return restored

    def restore_file(self, file: bytes, name: str = "the picture") -> bytes:
        """Sends a JPEG or PNG file; returns the restored PNG file.

        Args:
          file: the file's bytes.
          name: what to call the picture in messages.

        Raises:
          UserError: too large a file.
          ServerError: the server's error, after the retries.
        """
        size = self._transport.message_size(len(file))
        if size > self._max_message:
            raise UserError(
                f"{name}: takes a message of {size} bytes; {self._max_message} can be sent at "
                "most. Restore it with restore.py, or in parts."
            )
        return self._repeated(lambda: self._transport.predict(file))

    def _repeated(self, attempt):
        """Makes the attempt again, after 0.5, 1, 2, … seconds, while the error is a passing one."""
        for pause in range(self._retries + 1):
            try:
                return attempt()
            except ServerError as error:
                if not error.transient or pause == self._retries:
                    raise
            seconds = min(_LONGEST_PAUSE, FIRST_PAUSE * 2**pause)
            # At random times: clients that were refused together would otherwise retry together.
            if self._closed.wait(seconds * random.uniform(0.5, 1)):
                raise ServerError(f"{self.server}: given up, the client was closed.")
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Closes connections; pauses between attempts end at once."""
        self._closed.set()
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _png(pixels):
    if pixels.dtype == np.uint16:
        return files.encode(files.Picture(pixels), ".png")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=_QUICK)
    return buffer.getvalue()


def _address(server):
    try:
        parts = urlsplit(server)
        good = parts.scheme in (*_GRPC, *_REST) and parts.hostname and parts.port != 0
        good = good and not (parts.scheme in _GRPC and (parts.port is None or parts.path))
    except ValueError:  # a port that is no number
        good = False
    if not good:
        raise UserError(
            f"--server {server}: expected grpc://HOST:PORT, grpcs://HOST:PORT, http://HOST:PORT or "
            "https://HOST:PORT."
        )
    return parts


def _certificates(path, scheme) -> Path | None:
    """The path of the certificates, once they have been read without error."""
    if path is None:
        return None
    if scheme not in _OVER_TLS:
        raise UserError(f"--ca_file {path}: {scheme}:// has no TLS; expected grpcs:// or https://.")
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # a missing file, or one with no certificate (ssl.SSLError)
        raise UserError(
            f"--ca_file {path}: cannot be read ({error.strerror or error}); expected a PEM file of "
            "certificates."
        ) from None
    return Path(path)
