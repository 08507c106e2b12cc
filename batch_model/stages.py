"""The stages of a refresh, told as they come: which one it is, how far, and how long it took."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batch_model.outcome import Stage

_QUIET_S = 2.0
_LOOK_S = 0.5

Say = Callable[[str], None]


class Stages:
    """Tells the stages and remembers their times.

    Args:
        task: that is refreshed.
        say: is given each line.
        wait_at: a drill: the name of a stage that never goes on once it has begun, so that the process can be killed there.

    Attributes:
        done: the stages that ended, in order.
    """

    def __init__(self, task: str, say: Say, *, wait_at: str | None = None) -> None:
        self.done: list[Stage] = []
        self._task, self._say, self._wait_at = task, say, wait_at
        self._began = self._spoken = time.monotonic()
        self._name = self._doing = ""

    @property
    def seconds(self) -> float:
        """How long all has taken so far."""
        return time.monotonic() - self._began

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Begin a stage, and end it with the block."""
        began = time.monotonic()
        self._name, self._doing = name, ""
        self._tell(f"{name}: {what}")
        if name == self._wait_at:
            self._tell(f"{name}: drill, waiting to be killed: process {os.getpid()}")
            signal.pause()
        over = threading.Event()
        beat = threading.Thread(target=self._beat, args=(name, began, over), name="stage", daemon=True)
        beat.start()
        try:
            yield
        finally:
            over.set()
            beat.join()
        took = time.monotonic() - began
        self.done.append(Stage(name, took))
        self._tell(f"{name}: done in {took:.1f} s")

    def detail(self, text: str) -> None:
        """Say something of the stage, unless something was said a moment ago; then it is said when nothing newer comes."""
        self._doing = text
        if time.monotonic() - self._spoken >= _QUIET_S:
            self._tell(f"{self._name}: {text}")

    def _beat(self, name: str, began: float, over: threading.Event) -> None:
        """Say that the stage goes on, as long as it says nothing itself: building a model, or a learner that takes its time."""
        while not over.wait(_LOOK_S):
            if time.monotonic() - self._spoken >= _QUIET_S:
                self._tell(f"{name}: {self._doing or 'going on'}, {time.monotonic() - began:.0f} s so far")

    def _tell(self, text: str) -> None:
        self._spoken = time.monotonic()
        self._say(f"{self.seconds:6.1f} s  {self._task}  {text}")
