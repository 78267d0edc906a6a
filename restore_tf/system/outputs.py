"""Output folders of the commands: written in one step; only this package's files are replaced.

Every command follows one rule. It first checks its arguments. Results are written to a `staged`
folder and moved into place when they are complete. Files that an earlier run wrote and recorded
(`Record`) are replaced; anything else in the way is a `UserError` that names it, and stays.
Links inside an output folder are never followed; the output folder itself may be one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.system.disk import check_folder, make_folder, reason, writing
from restore_tf.system.record import MANIFEST, Record, sha256

__all__ = ["MANIFEST", "Record", "check_folder", "make_folder", "reason", "staged", "writing"]

_STAGING = ".restore_tf_"  # prefix of the folders that results are written to first


@contextlib.contextmanager
def staged(
    folder: str | os.PathLike, names: Sequence[str] = (), cleared: Sequence[str] = ()
) -> Iterator[Path]:
    """Yields an empty folder, whose files are moved to `folder` when the block ends normally.

    A folder that does not exist appears in one step. In one that exists, the recorded files of
    earlier runs are replaced one by one; other files stay. After an exception nothing has changed.

    Args:
      folder: the output folder.
      names: of the files and folders that the block will write, as far as known: checked before it
        begins.
      cleared: those of the names whose recorded files are removed even if the block writes none of
        that name.

    Raises:
      UserError: the folder cannot be made, or something in the way is not recorded. If it appears
        while the block runs, the results are kept and the message says where.
    """
    folder = Path(folder)
    check_folder(folder)
    for name in names:
        Record(folder).check_name(name)
    above, made = (folder, []) if folder.is_dir() else (folder.parent, _missing(folder.parent))
    make_folder(above)
    try:
        with writing(folder):
            staging = Path(tempfile.mkdtemp(dir=above, prefix=_STAGING))
        _follow_umask(staging)
        try:
            yield staging
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _swap(staging, folder, cleared)
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        raise


def _swap(staging, folder, cleared):
    digests = {
        path.relative_to(staging).as_posix(): sha256(path)
        for path in sorted(staging.rglob("*"))
        if path.is_file()
    }
    if not os.path.lexists(folder):
        fresh = Record(staging)
        for key, digest in digests.items():
            fresh.add(staging / key, digest)
        with writing(folder):
            os.rename(staging, folder)
        return
    try:
        _replace(staging, folder, digests, cleared)
    except UserError as error:
        raise UserError(f"{error} The results are in {staging}.") from None
    shutil.rmtree(staging, ignore_errors=True)


def _replace(staging, folder, digests, cleared):
    """Moves files, {path: SHA-256}, into place, after checking that all of them can be moved."""
    record = Record(folder)
    for above in sorted({path.as_posix() for key in digests for path in Path(key).parents[:-1]}):
        record.check_folder(above)
    for key in digests:
        record.check(folder / key)
    earlier = [path for name in cleared for path in record.below(name)]
    with writing(folder):
        for key, digest in digests.items():
            record.add(folder / key, digest)
        for key in digests:
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / key, folder / key)
        for path in earlier:
            if path.relative_to(folder).as_posix() not in digests and record.owns(path):
                path.unlink()
                _remove_empty(path.parent, folder)
    record.tidy()


def _missing(folder):
    """The folders to be made for `folder`, from the top."""
    paths = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    return paths[::-1]


def _remove_empty(folder, top):
    with contextlib.suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _follow_umask(folder):
    """mkdtemp makes folders that only the owner can read; outputs follow the user's umask."""
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)
