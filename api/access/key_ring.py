"""The keys that are valid now: those of the key file, read again when it has changed."""

from __future__ import annotations

import hmac
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from api.access.key_file import KeyEntry, KeyFile, KeyFileError, digest, read_key_file

LOOK_S = 1.0
_KEY = re.compile(r"mr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = digest("")

log = logging.getLogger(__name__)


class KeyRing:
    """Says whose a key is. Safe to use from several threads.

    Args:
        path: the key file.
        changed: called with the old and the new content when the file has changed.

    Raises:
        KeyFileError: if the file cannot be used.
    """

    def __init__(self, path: Path, changed: Callable[[KeyFile, KeyFile], None] = lambda *_: None) -> None:
        self._path = path
        self._changed = changed
        self._seen = self._look()
        self._content = read_key_file(path)
        self._by_id = {key.id: key for key in self._content.keys}
        self._next_look = time.monotonic() + LOOK_S
        self._reading = threading.Lock()
        self.trouble: str | None = None
        self.since = _now()
        """Since when it is as it is: in order or not, epoch ms."""

    def owner(self, presented: str, now: int) -> KeyEntry | None:
        """Return the entry of a key that is valid at `now` (epoch ms), None if it is none.

        It takes as long for an id that is unknown as for a wrong secret.
        """
        parts = _KEY.fullmatch(presented)
        if parts is None:
            return None
        entry = self._by_id.get(parts[1])
        same = hmac.compare_digest(digest(parts[2]), entry.sha256 if entry else _NOBODY)
        return entry if entry is not None and same and entry.valid(now) else None

    def refresh(self) -> None:
        """Read the file again if it has changed; asked often, it looks once a second. What cannot be read changes nothing."""
        if time.monotonic() < self._next_look or not self._reading.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + LOOK_S
            self._refresh()
        finally:
            self._reading.release()

    def look(self) -> str | None:
        """Look at the file, and say what is wrong with it (None: nothing)."""
        self.refresh()
        return self.trouble

    def _refresh(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        try:
            content = read_key_file(self._path)
        except KeyFileError as error:
            self.since = self.since if self.trouble else _now()
            self.trouble = f"{error}; the keys that were read before are still valid, and no other"
            log.error("%s", self.trouble)  # noqa: TRY400 - the message says all; a trace would say nothing more
        else:
            self._take(content)
        self._seen = seen

    def _take(self, content: KeyFile) -> None:
        before, self._content = self._content, content
        self._by_id = {key.id: key for key in content.keys}
        self.since = _now() if self.trouble else self.since
        self.trouble = None
        log.warning("the key file %s was read again: %d keys", self._path, len(content.keys))
        self._changed(before, content)

    def _look(self) -> tuple[int, ...]:
        """Return what changes when the file does."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - the same as Path.stat, and cheaper
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_size, found.st_mode)


def _now() -> int:
    return time.time_ns() // 1_000_000


def difference(before: KeyFile, after: KeyFile) -> list[str]:
    """Say which keys came, went or changed, by name and public id."""
    old, new = ({key.id: key for key in content.keys} for content in (before, after))
    found = [f"+ {key.name} {key.id} ({', '.join(key.roles)})" for key in after.keys if key.id not in old]
    found += [f"- {key.name} {key.id}" for key in before.keys if key.id not in new]
    return found + [f"~ {key.name} {key.id}" for key in after.keys if key.id in old and key != old[key.id]]
