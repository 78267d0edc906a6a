"""The application's limits: size of requests, length of the queue, lifetime of files."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on requests. A request beyond one is refused with a one-line message.

    Attributes:
      bytes: of a picture's file; more is answered with 413.
      pixels: of a picture; more is answered with 413.
      clip_bytes: of a clip's file.
      clip_frames: of a clip.
      pictures: of one upload on the page.
      queue: requests that may wait; a further one is answered with 429.
      concurrency: computations at the same time. One already uses every core.
      seconds_to_send: for a request's body; a slower one is answered with 408.
      keep_seconds: age at which uploads and results are deleted.
      disk_bytes: of all uploads and results; an upload beyond is answered with 507.
      memory: limit of the process in bytes; None for four fifths of the free memory.
    """

    bytes: int = 64 * 2**20
    pixels: int = 40_000_000
    clip_bytes: int = 256 * 2**20
    clip_frames: int = 900
    pictures: int = 20
    queue: int = 16
    concurrency: int = 1
    seconds_to_send: float = 60.0
    keep_seconds: float = 3600.0
    disk_bytes: int = 8 * 2**30
    memory: int | None = None
