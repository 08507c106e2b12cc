"""Watches one part: asks it now and then in a thread, and knows since when it is ready, or is not any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from api.views import PartView
from store.connect import KafkaUnavailable, RedisUnavailable

ASK_AGAIN_S = 2.0
PATIENCE_S = 5.0
"""A part that has not answered for so long counts as away, while its answer is still waited for."""


class Watch:
    """Asks until it is closed. What it says is at most some seconds old, and saying it takes no time.

    Args:
        name: of the part, for people.
        ask: returns how the part is; raises `KafkaUnavailable` or `RedisUnavailable` if it is not ready.
        clock: the time, epoch s.
    """

    def __init__(self, name: str, ask: Callable[[], str], clock: Callable[[], float] = time.time) -> None:
        self._name, self._ask, self._clock = name, ask, clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._asked: float | None = None
        self._known = PartView(ready=None, detail="is being asked for the first time", since=None)
        self.last_ready: int | None = None
        """When it was last known to be ready, epoch ms."""
        self._thread = threading.Thread(target=self._run, name=f"watch-{name}", daemon=True)

    def start(self) -> None:
        """Begin to ask; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more; an answer that is waited for may come within a second."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1)

    @property
    def has_ended(self) -> bool:
        """Whether nothing is asked any more."""
        return not self._thread.is_alive()

    def part(self) -> PartView:
        """Return how the part is: ready since then, or not ready and seen ready until then (null: never)."""
        with self._lock:
            waited = 0.0 if self._asked is None else time.monotonic() - self._asked
            if waited > PATIENCE_S:
                detail = f"{self._name} has not answered for {waited:.0f} s"
                return PartView(ready=False, detail=detail, since=self.last_ready)
            return self._known

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            with self._lock:
                self._asked = time.monotonic()
            try:
                detail, ready = self._ask(), True
            except (KafkaUnavailable, RedisUnavailable) as error:
                detail, ready = str(error), False
            self._note(detail, ready=ready)
            wait_s = ASK_AGAIN_S

    def _note(self, detail: str, *, ready: bool) -> None:
        now = int(self._clock() * 1000)
        with self._lock:
            self._asked = None
            if ready:
                since = self._known.since if self._known.ready else now
                self.last_ready = now
            else:
                since = self.last_ready
            self._known = PartView(ready=ready, detail=detail, since=since)
