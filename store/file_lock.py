"""A lock of a file that the kernel releases when its holder ends, however it ends; the file says who holds it."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO


class LockHeld(Exception):
    """Another process holds the lock; `holder` is what it wrote about itself, empty if nothing."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is held{f' by {holder}' if holder else ''}")
        self.holder = holder


class FileLock:
    """Held from `acquire` until the process ends or `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def acquire(self, holder: str = "") -> None:
        """Take it, and say in the file who holds it.

        Raises:
            LockHeld: if another process holds it.
        """
        file = self._path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            said = file.read().decode(errors="replace")
            file.close()
            raise LockHeld(self._path, said) from None
        file.truncate(0)
        file.write(holder.encode())
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def fileno(self) -> int:
        """Return the descriptor that holds it, for a process that shall inherit it.

        Raises:
            ValueError: if it is not held.
        """
        if self._file is None:
            raise ValueError(f"{self._path} is not held")
        return self._file.fileno()

    def holder(self) -> str | None:
        """Return what the process that holds it wrote about itself; None if none holds it."""
        if not self._path.exists():
            return None
        with self._path.open("rb") as file:
            try:
                # Shared: asking is never in the way of another who asks, and hardly of one who wants it.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().decode(errors="replace")
        return None
