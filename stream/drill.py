"""A fire drill: an operator fails once, on demand, so that its recovery can be tried on a running system."""

from __future__ import annotations

from pathlib import Path

_LOOK_EVERY = 64


class DrillError(Exception):
    """Raised on demand; nothing is wrong."""


class Drill:
    """Fails once for each file named `<job>` that appears in the drill folder; does nothing without a folder."""

    def __init__(self, folder: str, job: str, *, look_every: int = _LOOK_EVERY) -> None:
        self._file = Path(folder) / job if folder else None
        self._look_every = look_every
        self._count = 0

    def step(self) -> None:
        """Look for the file every `look_every` calls.

        Raises:
            DrillError: if it is there (it is removed, so that the restarted operator goes on).
        """
        if self._file is None:
            return
        self._count += 1
        if self._count % self._look_every == 0 and self._file.exists():
            self._file.unlink()
            raise DrillError(f"drill: {self._file} asked for a failure")
