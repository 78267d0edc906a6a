"""The way of a picture to `restore-tf app` and back: its own HTTP interface."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, unquote

from restore_tf.errors import UserError
from restore_tf.serving.transports import Rest, ServerError


class App(Rest):
    """POST /restore with the file as it is. A user and password in the address are sent."""

    sixteen_bits = True

    def __init__(
        self,
        parts: SplitResult,
        model_name: str | None,
        version: int | None,
        signature: str,
        timeout: float,
        ca_file: Path | None = None,
    ):
        """Keeps what requests need; see `client.Client`.

        Raises:
          UserError: a version, which this interface does not have.
        """
        if version is not None:
            raise UserError(f"--model_version {version}: restore-tf app has no versions; leave it.")
        host = parts.netloc.rpartition("@")[2]  # no password in messages
        super().__init__(parts._replace(netloc=host), "", None, signature, timeout, ca_file)
        self._name = model_name
        self._login = None
        if parts.username is not None:
            self._login = unquote(parts.username), unquote(parts.password or "")

    def message_size(self, file_size: int) -> int:
        """Returns the approximate size of a request, in bytes.

        Args:
          file_size: of the file that it carries, in bytes.
        """
        return file_size

    def check(self) -> None:
        """Asks for the networks.

        Raises:
          ServerError: no answer, or the named network is not there.
        """
        content = self._content(self._send("GET", f"{self._address}/models", auth=self._login))
        try:
            names = [entry["name"] for entry in content]
        except (KeyError, TypeError):
            raise ServerError(f"{self._address}: is not restore-tf app.") from None
        if self._name is not None and self._name not in names:
            raise ServerError(
                f"{self._address}: has no model {self._name}; there are {', '.join(names)}."
            )

    def predict(self, file: bytes) -> bytes:
        """Returns the restored file's bytes.

        Args:
          file: a picture file's bytes.

        Raises:
          ServerError: the server's error, or no answer.
        """
        response = self._send(
            "POST",
            f"{self._address}/restore",
            data=file,
            auth=self._login,
            params={} if self._name is None else {"model": self._name},
            headers={"Content-Type": "application/octet-stream"},
        )
        if response.status_code == 200:
            return response.content
        try:
            content = response.json()
        except ValueError:
            content = None
        self._refuse(response, content)
