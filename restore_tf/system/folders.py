"""Walks folders: links are followed, nothing is listed twice, everything left out is named."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.system.log import logger


def walk(
    folder: str | os.PathLike, recursive: bool, skip: Collection[str | os.PathLike] = ()
) -> Iterator[tuple[Path, list[Path]]]:
    """Lists a folder's files, folder by folder, both sorted by name.

    Links to folders are followed. Each real folder is listed once, so loops end: under its own
    path where that lies below `folder`, otherwise under the first link's. Hidden files and folders
    are left out: they are other programs' notes, or unfinished outputs. Warnings name broken links,
    folders met again and folders that cannot be listed.

    Args:
      folder: where to begin.
      recursive: whether to list the folders below, too.
      skip: folders to leave out, such as an output within the input.

    Yields:
      (path of a folder, relative to `folder`; paths of its files, which begin with `folder`).

    Raises:
      UserError: `folder` itself cannot be listed.
    """
    top = Path(folder)
    seen = {os.path.realpath(path): Path(path) for path in skip}
    skipped = set(seen)
    listed: dict[Path, list[Path]] = {}
    # Real folders come before links, so that a folder is known by its own name.
    pending: list[Path] = [top]
    links: list[Path] = []
    while pending or links:
        place = pending.pop(0) if pending else links.pop(0)
        real = os.path.realpath(place)
        if real in seen:
            if real not in skipped:
                logger.warning("%s: is the folder %s again; taken once.", place, seen[real])
            continue
        seen[real] = place
        entries = _entries(place, top)
        listed[place.relative_to(top)] = [path for path in entries if path.is_file()]
        if recursive:
            folders = [path for path in entries if path.is_dir()]
            pending += [path for path in folders if not path.is_symlink()]
            links = sorted(links + [path for path in folders if path.is_symlink()])
    yield from sorted(listed.items())


def _entries(place, top):
    try:
        entries = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if place == top:
            raise UserError(f"{top}: cannot be listed ({error.strerror}).") from None
        logger.warning("%s: cannot be listed (%s); left out.", place, error.strerror)
        return []
    for path in entries:
        if path.is_symlink() and not path.exists():
            logger.warning("%s: is a broken link; left out.", path)
    return entries
