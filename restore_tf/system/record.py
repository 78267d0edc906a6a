"""Records the files that this package wrote into a folder, so that nothing else is replaced."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path, PurePosixPath

from restore_tf.errors import UserError
from restore_tf.system.disk import writing
from restore_tf.system.files import atomic_path

MANIFEST = ".restore_tf.jsonl"


class Record:
    """The files that this package wrote into a folder: a JSON line for each, with its SHA-256.

    While files are written, lines are only added, so that a killed run leaves a record of
    everything it wrote.

    Args:
      folder: the files' folder; the record is `MANIFEST` in it. Neither needs to exist yet.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._digests: dict[str, set[str]] = {}
        path = self.folder / MANIFEST
        known = path.is_file() and not path.is_symlink()
        text = path.read_text(encoding="utf-8", errors="replace") if known else ""
        self._cut = bool(text) and not text.endswith("\n")  # by a kill
        for line in text.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                if _inside(entry["path"]):
                    self._digests.setdefault(entry["path"], set()).add(entry["sha256"])

    def owns(self, path: str | os.PathLike) -> bool:
        """Returns whether a file was written and recorded here, and is unchanged.

        Args:
          path: below the folder.
        """
        path = Path(path)
        digests = self._digests.get(self._key(path))
        if not digests or self._linked(path) or not path.is_file():
            return False
        return sha256(path) in digests

    def check(self, path: str | os.PathLike) -> None:
        """Checks that a file may be replaced, for commands that do so without a flag.

        Args:
          path: the file; it need not exist.

        Raises:
          UserError: it exists and is not recorded, was changed, or is reached by a link.
        """
        path = Path(path)
        self._refuse_links(path)
        if os.path.lexists(path) and not self.owns(path):
            raise UserError(self._foreign(path))

    def check_overwrite(self, path: str | os.PathLike, overwrite: bool) -> None:
        """Checks that a file below the folder may be written.

        Args:
          path: the file.
          overwrite: the command's --overwrite: a recorded file may be replaced, even if it was
            changed since. Without it, nothing may be there.

        Raises:
          UserError: it may not be written.
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
        """Checks that a file or folder may be replaced.

        A folder may hold other files beside recorded ones; they stay. One without recorded files
        belongs to another program.

        Args:
          name: within the folder; it need not exist.

        Raises:
          UserError: it holds files that are not recorded.
        """
        path = self.folder / name
        if path.is_dir() and not path.is_symlink():
            self.check_folder(name)
            for file in self.below(name):
                self.check(file)
        else:
            self.check(path)

    def check_folder(self, name: str) -> None:
        """Checks that files may be written into a folder below this one.

        Args:
          name: within the folder; it need not exist.

        Raises:
          UserError: it is a link, a file that is not recorded, or a folder without recorded files.
        """
        path = self.folder / name
        self._refuse_links(path)
        if not path.is_dir():
            self.check(path)
        elif not self.below(name) and any(path.iterdir()):
            raise UserError(self._foreign(path))

    def below(self, name: str) -> list[Path]:
        """Returns the recorded paths of a file, or of the files below a folder.

        Args:
          name: of the file or folder, within this folder.
        """
        keys = [k for k in self._digests if k == name or k.startswith(f"{name}/")]
        return [self.folder / key for key in sorted(keys)]

    def add(self, path: str | os.PathLike, digest: str | None = None) -> None:
        """Records a file below the folder, which must exist.

        Args:
          path: the file.
          digest: its SHA-256 in hexadecimal digits; read from the file by default.

        Raises:
          UserError: the record cannot be written, as on a full disk. The file itself stays: it may
            have taken hours.
        """
        path = Path(path)
        entry = {"path": self._key(path), "sha256": digest or sha256(path)}
        manifest = self.folder / MANIFEST
        try:
            with writing(manifest), open(manifest, "a", opener=_without_links) as file:
                file.write("\n" * self._cut + json.dumps(entry) + "\n")
        except UserError as error:
            self._cut = True  # there may be half a line
            written = os.path.lexists(path) and entry["path"] not in self._digests
            still = f" {path} is written, but no --overwrite will replace it." if written else ""
            raise UserError(f"{error}{still}") from None
        self._cut = False
        self._digests.setdefault(entry["path"], set()).add(entry["sha256"])

    def tidy(self) -> None:
        """Drops the entries of files that are gone, and earlier ones of files that are there."""
        for key in list(self._digests):
            path = self.folder / key
            if not os.path.lexists(path):
                del self._digests[key]
            elif path.is_file():
                self._digests[key] = self._digests[key] & {sha256(path)} or self._digests[key]
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


def _inside(path):
    """Whether a recorded path stays in its folder, even in a manipulated record."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and "\0" not in path
        and not PurePosixPath(path).is_absolute()
        and ".." not in parts
    )


def _without_links(path, flags):
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def sha256(path: str | os.PathLike) -> str:
    """Returns a file's SHA-256 in hexadecimal digits.

    Args:
      path: the file.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
