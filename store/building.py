"""Builds something from the model log in a thread, beside whoever goes on serving, and hands it over when it has caught up."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from schemas.log import AnyLogEntry

log = logging.getLogger(__name__)

STEP_S = 0.003
"""Whoever serves gives so much of its time to what has been built, each time it looks."""

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
_JOIN_S = 5.0

T = TypeVar("T")


class Building(Generic[T]):
    """Builds a thing that learns the entries of the log, in a daemon thread, while its owner goes on.

    The owner calls `add` with each entry that comes meanwhile, after its own model knows it, and `take` now and then. The thread
    applies what has been added until nothing is left, and ends; what comes after that, `take` applies in short steps. So the owner's
    thread never waits for the build, and nothing that was built is ever used by two threads at a time.

    Args:
        name: what is built, for the log and the thread.
        build: returns the thing; it knows all entries that came before the call, and may know later ones.
        learn: applies an entry to the thing; one that it knows must do nothing.
        retry: errors after which it is tried again, after growing waits; any other one is for the owner.
        first_wait_s: how long the first of these waits is; each is twice as long as the one before, up to a minute.
        closed: is set when nobody wants it any more, for a build that takes long to look at.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], T],
        learn: Callable[[T, AnyLogEntry], object],
        *,
        retry: tuple[type[Exception], ...],
        first_wait_s: float = FIRST_WAIT_S,
        closed: threading.Event | None = None,
    ) -> None:
        self._name = name
        self._build = build
        self._learn = learn
        self._retry = retry
        self._first_wait_s = first_wait_s
        self._queue: deque[AnyLogEntry] = deque()
        self._built: list[T] = []
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._closed = threading.Event() if closed is None else closed
        self._thread = threading.Thread(target=self._run, name=f"build {name}", daemon=True)
        self._thread.start()

    def add(self, entry: AnyLogEntry) -> None:
        """Take an entry that came after the build began."""
        self._queue.append(entry)

    def take(self, within_s: float = STEP_S) -> T | None:
        """Return the thing, once, when it knows every entry that was added; None as long as it does not.

        Raises:
            Exception: what the build failed with, if that is no error after which it is tried again.
        """
        if not self._ended.is_set():
            return None
        if self._error is not None:
            raise self._error
        return self._built.pop() if self._drain(self._built[0], time.perf_counter() + within_s) else None

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let it end, without waiting for that."""
        self._closed.set()

    def close(self) -> None:
        """End it. A build in the middle of a read may take a while to see that; its thread, a daemon, is not waited for longer."""
        self.stop()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            log.info("%s: given up, its thread ends with what it reads", self._name)

    def _run(self) -> None:
        try:
            self._try()
        except Exception as error:  # noqa: BLE001 - the owner raises it where it can act
            self._error = error
        self._ended.set()

    def _try(self) -> None:
        wait_s = self._first_wait_s
        while not self._closed.is_set():
            # An entry that is dropped here has come before, so that the build knows it: the queue stays short while nothing can be built.
            self._queue.clear()
            try:
                built = self._build()
                self._drain(built)
            except self._retry as error:
                log.warning("%s: not built, tried again in %.0f s: %s", self._name, wait_s, error)
                self._closed.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                continue
            self._built.append(built)
            return

    def _drain(self, built: T, deadline: float | None = None) -> bool:
        """Apply what was added, until the time comes; False if something is left."""
        while self._queue and not self._closed.is_set():
            self._learn(built, self._queue.popleft())
            if deadline is not None and time.perf_counter() > deadline:
                break
        return not self._queue
