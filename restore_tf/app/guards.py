"""Checks of every request: host, origin, password; and the headers of every answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from restore_tf.errors import UserError
from restore_tf.system.log import logger

_OPEN = ("/healthz",)  # open to monitoring, without a password
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_READING = ("GET", "HEAD", "OPTIONS")
# Gradio writes styles and scripts into its page, and compiles templates in it.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' "
    "'wasm-unsafe-eval' blob:; worker-src 'self' blob:; font-src 'self' data:; "
    "connect-src 'self' blob: data:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches an address.

    Args:
      host: address or name that a server listens on.
    """
    return host in _LOOPBACK


def read_passwords(path: str | os.PathLike) -> dict[str, str]:
    """Returns {user: password} from a file with `user:password` lines.

    Args:
      path: of the file; empty lines and lines with # are skipped.

    Raises:
      UserError: it cannot be read, a line has a wrong form, or there is no user.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        others = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise UserError(f"--auth_file {path}: cannot be read ({reason}).") from None
    if others:
        logger.warning("%s: others on this machine can read it; chmod 600 it.", path)
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        if not (user and colon and password):
            raise UserError(f"--auth_file {path}: line {number}: expected user:password.")
        found[user] = password
    if not found:
        raise UserError(f"--auth_file {path}: has no user; expected lines user:password.")
    return found


class Guard:
    """The outermost layer of the application.

    Another site's page can make a visitor's browser send requests to this server, by a name that
    resolves to this machine or by a form. Unexpected host names, and changes requested by other
    sites' pages, are therefore refused.
    """

    def __init__(
        self,
        app,
        hosts: Sequence[str] | None,
        passwords: Mapping[str, str] | None = None,
    ):
        """Wraps an ASGI application.

        Args:
          app: the application.
          hosts: host names that requests may use; None for any.
          passwords: {user: password}; None for no password.
        """
        self._app, self._hosts = app, hosts
        self._passwords = {
            user.encode(): password.encode() for user, password in (passwords or {}).items()
        }

    async def __call__(self, scope, receive, send):
        """Passes a request to the application, or refuses it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no websockets
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", POLICY)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope):
        headers = Headers(scope=scope)
        host = _name(f"//{headers.get('host', '')}")
        if self._hosts is not None and host not in self._hosts:
            return _answer(421, f"host {host or 'none'}: not served here; see --allowed_host.")
        origin = headers.get("origin")
        if origin and scope["method"] not in _READING:
            known = {host, *(self._hosts or ())}
            if _name(origin) not in known:
                return _answer(403, "refused: a page of another site sent this request.")
        if self._passwords and scope["path"] not in _OPEN and not self._known(headers):
            answer = _answer(401, "a user's name and password are needed.")
            answer.headers["WWW-Authenticate"] = 'Basic realm="restore_tf", charset="UTF-8"'
            return answer
        return None

    def _known(self, headers):
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(text, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        # Compared for unknown users as well: the time must not reveal which users exist.
        expected = self._passwords.get(user, os.urandom(16))
        return hmac.compare_digest(password, expected)


def hosts(host: str, allowed: Sequence[str]) -> list[str] | None:
    """Returns the host names that requests may use.

    Args:
      host: the address that the server listens on.
      allowed: further names, such as a proxy's.

    Returns:
      This machine's names, `host` and `allowed`; None for any name, if the server listens on
      other addresses and `allowed` is empty.
    """
    if not is_loopback(host) and not allowed:
        return None
    return [*_LOOPBACK, host, *(name.lower() for name in allowed)]


def _name(address):
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _answer(status, text):
    return JSONResponse({"error": text}, status)
