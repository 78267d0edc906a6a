"""The temporary folder of uploads and results: random names, deleted by age and on exit."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path

import psutil

from restore_tf.app.refusals import Full, NotFound

_PREFIX = "restore_tf_app_"
_ID = re.compile(r"[0-9a-f]{32}(\.[a-z0-9]{1,5})?")
_LEAST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds between searches for old files


class Store:
    """Files under random names.

    Attributes:
      folder: the temporary folder; only its owner can read it.
    """

    def __init__(self, keep_seconds: float, most: int):
        """Makes the folder, and removes folders that killed processes left behind.

        Args:
          keep_seconds: age at which a file is deleted.
          most: limit of all uploads and results, in bytes.
        """
        _remove_orphans()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}_"))
        self._keep, self._most = keep_seconds, most
        self._kept: set[Path] = set()
        self._closed = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_again, daemon=True)
        self._sweeper.start()

    def new(self, ending: str = "") -> Path:
        """Returns the path of a new file, without creating it.

        Args:
          ending: with its dot; never taken from a request.
        """
        return self.folder / f"{secrets.token_hex(16)}{ending}"

    def find(self, name: str) -> Path:
        """Returns the path of a file.

        Args:
          name: of the file, as `new` gave it.

        Raises:
          NotFound: no such file, a deleted one, or a name that `new` cannot return.
        """
        path = self.folder / name
        if not _ID.fullmatch(name) or not path.is_file():
            raise NotFound("no such file; uploads and results are kept for a while only.")
        return path

    def keep(self, path: Path) -> None:
        """Exempts a file from deletion by age.

        Args:
          path: of the file.
        """
        self._kept.add(path)

    def check_room(self, size: int) -> None:
        """Checks that there is room for another file.

        Args:
          size: of the file in bytes.

        Raises:
          Full: there is no room until older files are deleted.
        """
        taken = 0
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                taken += path.stat().st_size
        if taken + size > self._most:
            raise Full("the server keeps too many files already; try later.")

    def sweep(self) -> None:
        """Deletes old files, also in sub-folders."""
        oldest = time.time() - self._keep
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and path not in self._kept and path.stat().st_mtime < oldest:
                    path.unlink()

    def _sweep_again(self):
        pause = min(_LONGEST_PAUSE, max(_LEAST_PAUSE, self._keep / 4))
        while not self._closed.wait(pause):
            self.sweep()

    def close(self) -> None:
        """Deletes the folder."""
        self._closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_orphans():
    """Removes the folders of killed processes, whose numbers are in the folders' names."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*_*"):
        number = path.name.removeprefix(_PREFIX).split("_")[0]
        with contextlib.suppress(OSError):
            ours = path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid()
            if ours and number.isdigit() and not psutil.pid_exists(int(number)):
                shutil.rmtree(path, ignore_errors=True)
