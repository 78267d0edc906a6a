"""Runs the application on a port, and stops it without losing answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from restore_tf.app.service import Service
from restore_tf.errors import UserError

_ANSWERS_SECONDS = 10  # for sending answers at the end; pages keep connections open
_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Returns a listening socket.

    Args:
      host: an address or a name.
      port: 0 takes a free one.

    Raises:
      UserError: the address is not available.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)  # requests wait while networks are loaded
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on ({error.strerror})."
        ) from None
    return bound


@contextlib.contextmanager
def running(app, service: Service, bound: socket.socket, root_path: str = "") -> Iterator[None]:
    """Serves an application while the context lasts.

    At its end new requests are refused, running ones are finished and answered, and waiting ones
    are answered with 503.

    Args:
      app: an ASGI application.
      service: its parts; closed at the end.
      bound: the socket to listen on.
      root_path: the path that a proxy in front strips.

    Raises:
      UserError: the server could not start.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        root_path=root_path,
        backlog=_BACKLOG,
        server_header=False,
        timeout_graceful_shutdown=_ANSWERS_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="server")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        if not thread.is_alive():
            raise UserError("the server could not start; its log says why.")
        yield
    finally:
        service.line.close()
        server.should_exit = True
        thread.join()
        service.close()
        bound.close()
