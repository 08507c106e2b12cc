"""One supervisor for each data folder: a lock that the kernel releases when its holder ends, however it ends."""

from __future__ import annotations

from pathlib import Path

from stack.errors import AlreadyRunning
from store.file_lock import FileLock, LockHeld


class FolderLock:
    """Held from `acquire` until the process ends or `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path)

    def acquire(self) -> None:
        """Take it.

        Raises:
            AlreadyRunning: if another process holds it.
        """
        try:
            self._lock.acquire()
        except LockHeld:
            raise AlreadyRunning(f"A stack runs already on the data folder {self._path.parent.parent}.") from None

    def release(self) -> None:
        """Give it back."""
        self._lock.release()

    def is_held(self) -> bool:
        """Whether any process holds it."""
        return self._lock.holder() is not None
