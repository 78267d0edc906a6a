"""Errors that end a request, each with its HTTP status."""

from __future__ import annotations

from restore_tf.errors import UserError


class Refusal(UserError):
    """A refused request.

    Attributes:
      status: the HTTP status of the answer.
      retry_after: seconds after which to try again; None if that would not help.
    """

    status = 400
    retry_after: int | None = None


class TooLarge(Refusal):
    """Too many bytes, pixels or frames."""

    status = 413


class TooSlow(Refusal):
    """The request's body did not arrive in time."""

    status = 408


class Busy(Refusal):
    """The queue is full."""

    status, retry_after = 429, 5


class Stopping(Refusal):
    """The server is stopping."""

    status, retry_after = 503, 10


class Full(Refusal):
    """The temporary folder has no room for another file."""

    status, retry_after = 507, 60


class NotFound(Refusal):
    """No such model or result."""

    status = 404


class BadPicture(Refusal):
    """A file that is not a picture, or that cannot be restored."""

    status = 422


class Cancelled(Exception):
    """The client disconnected, or the user cancelled the work."""
