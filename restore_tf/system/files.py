"""Writes files atomically: an interruption never leaves a partial file."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from restore_tf.errors import UserError

_PREFIX = ".unfinished_"  # hidden, so that no folder's listing takes it for a result
_LONGEST_ENDING = 32  # bytes; writers look for shorter ones
_CANNOT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, suffix: str | None = None) -> Iterator[Path]:
    """Yields a temporary path in the same folder; the file written there becomes `path`.

    The rename happens when the block ends without an exception; otherwise the temporary file is
    removed and `path` stays as it was. A link at `path` is replaced, not followed.

    Args:
      path: the file to write. Its folder must exist.
      suffix: ending of the temporary name, for writers that choose a format by it; `path`'s by
        default.

    Raises:
      UserError: the file cannot be made, written or renamed: no such folder, no permission, no
        space.
    """
    path = Path(path)
    ending = path.suffix if suffix is None else suffix
    if len(os.fsencode(ending)) > _LONGEST_ENDING:
        ending = ""
    temporary = None
    try:
        # Not the file's own name with something added: that could be longer than names can be.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX, suffix=ending)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files that only the owner can read; outputs follow the user's umask.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        ours = temporary is None or str(error.filename) == str(temporary)
        if not ours and error.errno not in _CANNOT:
            raise
        raise UserError(f"{path}: cannot be written ({error.strerror}).") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
