"""One supervisor for each data folder: a lock that the kernel releases when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO

from stack.errors import AlreadyRunning


class FolderLock:
    """Held from `acquire` until the process ends or `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def acquire(self) -> None:
        """Take it.

        Raises:
            AlreadyRunning: if another process holds it.
        """
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise AlreadyRunning(f"A stack runs already on the data folder {self._path.parent.parent}.") from None
        self._file = file

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_held(self) -> bool:
        """Whether any process holds it."""
        if not self._path.exists():
            return False
        try:
            self.acquire()
        except AlreadyRunning:
            return True
        self.release()
        return False
