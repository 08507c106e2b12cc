"""Which commands this process has sent, so that one that waits for its answer is told from one that nobody sent."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

SENT_KEPT = 10_000


class Sent:
    """The ids of the commands that this process has sent, the newest ones. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ids: OrderedDict[str, None] = OrderedDict()

    def note(self, command_id: str) -> None:
        """Remember an id."""
        with self._lock:
            self._ids[command_id] = None
            if len(self._ids) > SENT_KEPT:
                self._ids.popitem(last=False)

    def knows(self, command_id: str) -> bool:
        """Whether the id is remembered."""
        with self._lock:
            return command_id in self._ids
