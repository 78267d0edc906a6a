"""Errors that end a request, each with its HTTP status."""

from __future__ import annotations

from restore_tf.errors import UserError


class Refusal(UserError):
    """A request that is not carried out.

    Attributes:
      status: the HTTP status of the answer.
      retry_after: seconds after which to try again; None where that does not help.
    """

    status = 400
    retry_after: int | None = None


class TooLarge(Refusal):
    """More bytes, pixels or frames than are taken."""

    status = 413


class TooSlow(Refusal):
    """The request's body did not arrive in time."""

    status = 408


class Busy(Refusal):
    """The queue is full."""

    status, retry_after = 429, 5


class Stopping(Refusal):
    """The server is about to end."""

    status, retry_after = 503, 10


class Full(Refusal):
    """No room for files."""

    status, retry_after = 507, 60


class NotFound(Refusal):
    """No such model or result."""

    status = 404


class BadPicture(Refusal):
    """A file that is no picture, or one that cannot be restored."""

    status = 422


class Cancelled(Exception):
    """The client no longer waits for the answer."""
