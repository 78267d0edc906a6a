"""Folders that commands write: made in one place, and nothing that another owns is replaced.

Every command keeps to one rule. It first checks what it was given. Results are written aside, into
a `staged` folder, and swapped in when they are whole. What an earlier run wrote and recorded
(`Record`) is replaced; anything else in the way is a `UserError` that names it and stays as it is.
Links inside an output folder are never followed; the output folder itself may be one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path

MANIFEST = ".restore_tf.jsonl"
_STAGING = ".restore_tf_"  # prefix of the folders that results are written to first


def check_folder(folder: str | os.PathLike) -> None:
    """Raises a UserError where a folder could not be made or written to; makes nothing.

    For use before long work: `make_folder` comes after it.
    """
    path = Path(folder)
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    if not path.is_dir():
        problem = "is a file" if path.exists() else "is a link to nothing"
        raise UserError(
            f"{folder}: cannot be made (Not a directory: {path} {problem}); pass another output."
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(
            f"{folder}: cannot be written (no permission for {path}); pass another output."
        )


def make_folder(folder: str | os.PathLike) -> Path:
    """Makes a folder and those above it, where they are missing; returns its path.

    Raises:
      UserError: it cannot be made: a file is in the way, the disk is full or read-only.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made ({reason(error)}).") from None
    return path


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turns the `OSError`s of writing `path` into a UserError of one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({reason(error)}).") from None


def reason(error: BaseException) -> str:
    """Returns what an exception says, in one line: "No space left on device"."""
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class Record:
    """What this package wrote into a folder: a line of JSON for each file, with its SHA-256.

    Lines are only added while files are written, so that a run that is killed leaves a record of
    everything it wrote.

    Args:
      folder: where the files are; the record is `MANIFEST` in it. Neither needs to exist yet.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._digests: dict[str, set[str]] = {}
        path = self.folder / MANIFEST
        known = path.is_file() and not path.is_symlink()
        text = path.read_text(encoding="utf-8", errors="replace") if known else ""
        self._cut = bool(text) and not text.endswith("\n")  # by a kill
        for line in text.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if _inside(entry["path"]):
                    self._digests.setdefault(entry["path"], set()).add(entry["sha256"])

    def owns(self, path: str | os.PathLike) -> bool:
        """Returns whether `path` is a file that was written and recorded here, and is unchanged."""
        path = Path(path)
        digests = self._digests.get(self._key(path))
        if not digests or self._linked(path) or not path.is_file():
            return False
        return _sha256(path) in digests

    def check(self, path: str | os.PathLike) -> None:
        """Raises a UserError where a file below the folder is in the way and not ours.

        For commands that replace their earlier results without being asked to.
        """
        path = Path(path)
        self._refuse_links(path)
        if os.path.lexists(path) and not self.owns(path):
            raise UserError(self._foreign(path))

    def check_overwrite(self, path: str | os.PathLike, overwrite: bool) -> None:
        """Raises a UserError where a file below the folder may not be written under a flag.

        Args:
          path: the file.
          overwrite: the command's --overwrite: then what was recorded may be replaced, even if it
            was changed since; else nothing may be there.
        """
        path = Path(path)
        self._refuse_links(path)
        if not os.path.lexists(path):
            return
        if not overwrite:
            raise UserError(f"{path}: exists; pass --overwrite or another output.")
        if self._key(path) not in self._digests or not path.is_file():
            raise UserError(self._foreign(path))

    def check_name(self, name: str) -> None:
        """Raises a UserError where a file or folder called `name` holds what is not recorded.

        A folder may hold other files beside recorded ones; they stay. One that holds none is
        somebody else's.
        """
        path = self.folder / name
        if path.is_dir() and not path.is_symlink():
            self.check_folder(name)
            for file in self.below(name):
                self.check(file)
        else:
            self.check(path)

    def check_folder(self, name: str) -> None:
        """Raises a UserError where a folder called `name` is a link, a file or somebody else's."""
        path = self.folder / name
        self._refuse_links(path)
        if not path.is_dir():
            self.check(path)
        elif not self.below(name) and any(path.iterdir()):
            raise UserError(self._foreign(path))

    def below(self, name: str) -> list[Path]:
        """Returns the recorded paths of a file `name` or below a folder `name`."""
        keys = [k for k in self._digests if k == name or k.startswith(f"{name}/")]
        return [self.folder / key for key in sorted(keys)]

    def add(self, path: str | os.PathLike, digest: str | None = None) -> None:
        """Records a file below the folder, which must exist.

        Args:
          path: the file.
          digest: its SHA-256 in hexadecimal digits; read from the file by default.
        """
        path = Path(path)
        entry = {"path": self._key(path), "sha256": digest or _sha256(path)}
        manifest = self.folder / MANIFEST
        with writing(manifest), open(manifest, "a", opener=_without_links) as file:
            file.write("\n" * self._cut + json.dumps(entry) + "\n")
        self._cut = False
        self._digests.setdefault(entry["path"], set()).add(entry["sha256"])

    def tidy(self) -> None:
        """Drops the entries of files that are gone, and earlier ones of files that are there."""
        for key in list(self._digests):
            path = self.folder / key
            if not os.path.lexists(path):
                del self._digests[key]
            elif path.is_file():
                self._digests[key] = self._digests[key] & {_sha256(path)} or self._digests[key]
        lines = [
            json.dumps({"path": key, "sha256": digest}) + "\n"
            for key, digests in sorted(self._digests.items())
            for digest in sorted(digests)
        ]
        manifest = self.folder / MANIFEST
        with writing(manifest), atomic_path(manifest) as temporary:
            temporary.write_text("".join(lines))

    def _key(self, path):
        return Path(path).relative_to(self.folder).as_posix()

    def _linked(self, path):
        """The first link on the way from the folder to `path`, itself included; None for none."""
        at = self.folder
        for part in Path(path).relative_to(self.folder).parts:
            at = at / part
            if at.is_symlink():
                return at
        return None

    def _refuse_links(self, path):
        link = self._linked(path)
        if link is not None:
            raise UserError(f"{link}: is a link, which is not followed; move it away.")

    def _foreign(self, path):
        known = self._key(path) in self._digests
        why = "was changed since an earlier run wrote it" if known else "is in the way"
        no = "" if known else ", and no record says that an earlier run wrote it"
        return f"{path}: {why}{no}; move it away or pass another output."


@contextlib.contextmanager
def staged(
    folder: str | os.PathLike, names: Sequence[str] = (), cleared: Sequence[str] = ()
) -> Iterator[Path]:
    """Yields an empty folder; what is written there comes to `folder` when the block ends well.

    A folder that does not exist appears in one step. In one that exists, the recorded files of
    earlier runs are replaced one by one; what else is there stays. After an exception nothing has
    changed.

    Args:
      folder: the output folder.
      names: of the files and folders that the block will write, as far as known: checked before it
        begins.
      cleared: those of the names whose recorded files go even where none of that name comes.

    Raises:
      UserError: the folder cannot be made, or something in the way is not ours. What turns up in
        the way only at the end keeps nothing from being found: the message says where it is.
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
        path.relative_to(staging).as_posix(): _sha256(path)
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
    """Moves files, {path: SHA-256}, to their places, once it is sure that all of them can go."""
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
    """mkdtemp makes folders for the owner's eyes only; outputs follow the user's umask."""
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)


def _inside(path):
    """Whether a recorded path stays in its folder, whoever wrote the record."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts


def _without_links(path, flags):
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
