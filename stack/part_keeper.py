"""Keeps one part alive: starts it when what it needs is there, watches it, starts it again when it died."""

from __future__ import annotations

from collections.abc import Callable

from stack.backoff import Backoff
from stack.process import Part
from stack.state import Condition, PartState

START_TIMEOUT_S = 120.0
_LOOK_STARTING_S = 0.2
_LOOK_HEALTHY_S = 5.0
_SILENT_S = 5.0


class PartKeeper:
    """One part, its state and the policy for it. `tick` is called a few times a second and does not block for long.

    Args:
        part: the part, not started.
        ready: whether what it needs is there.
        now: epoch seconds.
    """

    def __init__(self, part: Part, *, ready: Callable[[], bool], now: float) -> None:
        self.part = part
        self.state = PartState(name=part.name, state=Condition.WAITING, since=now, port=part.port or None, url=part.url)
        self._ready = ready
        self._backoff = Backoff()
        self._next = now
        self._born = now
        self._heard = now
        self._starts = 0

    @property
    def healthy(self) -> bool:
        """Whether it runs and answers."""
        return self.state.state is Condition.HEALTHY

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.part.process is None:
            if now >= self._next and self._ready():
                self._start(now)
        elif self.part.pid is None:
            self._bury(now)
        elif now >= self._next:
            self._look(now)

    def _start(self, now: float) -> None:
        self.part.start()
        self._born = now
        self._starts += 1
        self.state.restarts = self._starts - 1
        self.state.pid, self.state.process_started = self.part.pid, self.part.process_started
        self._become(Condition.FAILED if self._backoff.reported else Condition.STARTING, now)
        self._next = now + _LOOK_STARTING_S

    def _bury(self, now: float) -> None:
        code = self.part.process.returncode if self.part.process is not None else None
        self.state.error = f"ended (exit code {code}): {self.part.trouble()}"
        self.state.pid = self.state.process_started = None
        self.part.process = None
        self._next = now + self._backoff.died(lived_s=now - self._born)
        self._become(Condition.FAILED if self._backoff.reported else Condition.RESTARTING, now)

    def _look(self, now: float) -> None:
        if self.part.healthy():
            self._heard = now
            self._next = now + _LOOK_HEALTHY_S
            self._become(Condition.HEALTHY, now)
            return
        self._next = now + _LOOK_STARTING_S
        if self.state.state in (Condition.HEALTHY, Condition.UNHEALTHY):
            if now - self._heard > _SILENT_S + _LOOK_HEALTHY_S:
                self.state.error = "runs, but does not answer"
                self._become(Condition.UNHEALTHY, now)
        elif now - self._born > START_TIMEOUT_S and self.part.process is not None:
            self.part.process.kill()

    def _become(self, condition: Condition, now: float) -> None:
        if condition is not self.state.state:
            self.state.state = condition
            self.state.since = now
