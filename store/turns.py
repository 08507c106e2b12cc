"""A lock that is handed on in turn, so that neither of two busy threads can keep the other waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class NotYourTurn(Exception):
    """Another thread holds it for longer than one wanted to wait."""


class Turns:
    """Held by one thread at a time. Whoever waits is next: a thread that lets go of it and wants it again at once comes after that one.

    Python's own lock is taken again by the thread that has just let go of it, long before a waiting one has woken up: a thread that
    learns a backlog entry by entry would keep all others out.
    """

    def __init__(self) -> None:
        self._next = Lock()
        self._held = Lock()

    @contextmanager
    def taken(self, wait_s: float = -1) -> Iterator[None]:
        """Hold it during the block.

        Args:
            wait_s: how long to wait for it; -1: as long as it takes.

        Raises:
            NotYourTurn: if it was not to be had in that time.
        """
        if not self._next.acquire(timeout=wait_s):
            raise NotYourTurn
        try:
            if not self._held.acquire(timeout=wait_s):
                raise NotYourTurn
        finally:
            self._next.release()
        try:
            yield
        finally:
            self._held.release()
