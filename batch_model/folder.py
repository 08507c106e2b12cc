"""The folder of the refreshes: one refresh of a task at a time, unfinished work that the next one takes up, and the reports."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from batch_model.flags import user
from schemas.refresh_settings import RefreshSettings
from schemas.settings import Settings
from store.file_lock import FileLock, LockHeld

_FORGOTTEN_S = 24 * 3600


class AlreadyRefreshing(Exception):
    """Another refresh of the task runs; the message says whose."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh has set out to do, so that the next one can take it up where it was killed.

    Attributes:
        cut_seq: the training cut.
        champion: the line that served.
        fingerprint: of the training data.
        settings: digest of those of the refresh, and of whatever else would make another model.
        command_id: of the command that it would send.
        created_at_s: when it began, seconds since 1970.
    """

    cut_seq: int
    champion: str
    fingerprint: str
    settings: str
    command_id: str
    created_at_s: float


def refresh_root(settings: Settings, refresh: RefreshSettings) -> Path:
    """Return the folder of the refreshes: as it is set, else `refresh` beside the artifact folder."""
    return Path(refresh.folder).absolute() if refresh.folder else Path(settings.artifacts).absolute().parent / "refresh"


def lock_path(settings: Settings, task: str) -> Path:
    """Return the file that the refresh of a task locks: of its artifacts there is one, wherever each refresh keeps its folder."""
    return refresh_root(settings, RefreshSettings()) / f"{task}.lock"


class RefreshFolder:
    """What the refreshes of one task keep.

    Attributes:
        root: of all tasks.
        work: unfinished work; nothing else needs it.
        training: checkpoints of the training, in it.
        reports: pages of finished refreshes.

    Args:
        lock: the file that is locked; one in `root` if none is named.
    """

    def __init__(self, root: Path, task: str, *, lock: Path | None = None) -> None:
        self.root = root
        self.task = task
        self.work = root / "unfinished" / task
        self.training = self.work / "training"
        self.reports = root / "reports" / task
        self._plan = self.work / "plan.json"
        self._lock_path = root / f"{task}.lock" if lock is None else lock
        self._lock = FileLock(self._lock_path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other refreshes of the task out; a killed one lets go by itself.

        Raises:
            AlreadyRefreshing: if one runs.
        """
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(parents=True, exist_ok=True)
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        try:
            self._lock.acquire(f"process {os.getpid()} of {user()}, since {since}")
        except LockHeld as error:
            raise AlreadyRefreshing(f"task {self.task} is being refreshed already, by {error.holder or 'another process'}") from None
        try:
            self.training.mkdir(parents=True, exist_ok=True)
            self.reports.mkdir(parents=True, exist_ok=True)
            yield
        finally:
            self._lock.release()

    def unfinished(self) -> Plan | None:
        """Return what a refresh was about that was killed; None if there is none, or it is more than a day old."""
        try:
            plan = msgspec.json.decode(self._plan.read_bytes(), type=Plan)
        except (OSError, ValueError):
            return None
        return plan if time.time() - plan.created_at_s < _FORGOTTEN_S else None

    def begin(self, plan: Plan) -> None:
        """Note what is set out to do; what was there for something else is removed."""
        shutil.rmtree(self.work)
        self.training.mkdir(parents=True)
        temporary = self._plan.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(plan))
        temporary.replace(self._plan)

    def finish(self) -> None:
        """Remove the work: it is done, or not worth going on with."""
        shutil.rmtree(self.work, ignore_errors=True)
