"""The parts that the HTTP interface and the page share."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from restore_tf.app.limits import Limits
from restore_tf.app.line import Line, Place
from restore_tf.app.models import Catalogue
from restore_tf.app.refusals import Cancelled, Stopping
from restore_tf.app.restoring import Restoring
from restore_tf.app.store import Store

_LOOK = 0.2  # seconds between checks that the client is still connected


@dataclasses.dataclass(frozen=True)
class Service:
    """The application's parts.

    Attributes:
      limits: see `Limits`.
      catalogue: the networks.
      line: the queue.
      store: the temporary folder.
      restoring: restores pictures within the limits.
    """

    limits: Limits
    catalogue: Catalogue
    line: Line
    store: Store
    restoring: Restoring

    def close(self) -> None:
        """Finishes running work, refuses waiting requests, and deletes the temporary folder."""
        self.line.close()
        self.store.close()


def make(catalogue: Catalogue, limits: Limits) -> Service:
    """Returns a service with a new temporary folder.

    Args:
      catalogue: the networks.
      limits: on requests.
    """
    return Service(
        limits,
        catalogue,
        Line(limits.queue, limits.concurrency),
        Store(limits.keep_seconds, limits.disk_bytes),
        Restoring(catalogue, limits),
    )


async def answer(request, place: Place, work: Callable[[Place], Any]) -> Any:
    """Returns the result of `work(place)`, which is cancelled if the client disconnects.

    Args:
      request: Starlette's, with its body read.
      place: the request's place in the queue.
      work: the computation.

    Raises:
      Cancelled: the client disconnected.
      Stopping: the server stopped before the work began.
    """
    future = asyncio.wrap_future(place.submit(work))
    try:
        while not (await asyncio.wait({future}, timeout=_LOOK))[0]:
            if await request.is_disconnected():
                place.cancel()
                raise Cancelled
        return future.result()
    except asyncio.CancelledError:
        if future.cancelled() and not asyncio.current_task().cancelling():
            raise Stopping("the server is stopping; ask again later.") from None
        raise
    finally:
        if not future.done():
            future.cancel()
