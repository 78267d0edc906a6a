"""Writing files so that an interruption never leaves half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".unfinished_"  # hidden, so that no folder's listing takes it for a result


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, suffix: str | None = None) -> Iterator[Path]:
    """Yields a temporary path in the same folder; what is written there becomes `path`.

    The rename happens when the block ends without an exception; otherwise the temporary file is
    removed and `path` stays as it was.

    Args:
      path: the file to write. Its folder must exist.
      suffix: ending of the temporary name, for writers that look at it; `path`'s by default.
    """
    path = Path(path)
    ending = path.suffix if suffix is None else suffix
    # Not the file's own name with something added: that could be longer than names can be.
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=_PREFIX, suffix=ending if len(os.fsencode(ending)) < 32 else ""
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files for the owner's eyes only; outputs follow the user's umask.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
