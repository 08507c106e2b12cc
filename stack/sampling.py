"""Samples memory and restarts of a running stack once a second, beside a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import psutil

PERIOD_S = 1.0
_MIB = 1024 * 1024


class StackProbe:
    """How to look at a stack: its process ids and its restarts so far, by whatever was restarted; both may change at any time."""

    def __init__(self, pids: Callable[[], Iterable[int]], restarts: Callable[[], dict[str, int]]) -> None:
        self.pids = pids
        self.restarts = restarts


class RestartCount:
    """Adds up restarts from counters that begin at zero again when what they count is itself replaced.

    >>> count = RestartCount({"a job": 2})
    >>> count.add({"a job": 3, "a later job": 1}); count.add({"a job": 1}); count.total
    3
    """

    def __init__(self, before: dict[str, int]) -> None:
        self._last = dict(before)
        self.total = 0

    def add(self, counters: dict[str, int]) -> None:
        """Take in the counters as they are now."""
        for name, value in counters.items():
            last = self._last.get(name, 0)
            self.total += value - last if value >= last else value
            self._last[name] = value


def resident_mib(pids: Iterable[int]) -> float:
    """Return the summed resident memory of the processes and all that descend from them; shared pages count in each."""
    processes: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            processes.update({p.pid: p for p in (process, *process.children(recursive=True))})
        except psutil.NoSuchProcess:
            continue
    total = 0
    for process in processes.values():
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / _MIB


class Sampler:
    """A context in which the stack is sampled; `peak_rss_mib` and `restarts` are None without a probe or a sample."""

    def __init__(self, probe: StackProbe | None) -> None:
        self._probe = probe
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._count = RestartCount(probe.restarts()) if probe else None
        self.peak_rss_mib: float | None = None

    @property
    def restarts(self) -> int | None:
        """Restarts seen since the context was made."""
        return self._count.total if self._count else None

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.sample()

    def sample(self) -> None:
        """Take one sample."""
        if self._probe and self._count:
            self.peak_rss_mib = round(max(self.peak_rss_mib or 0.0, resident_mib(self._probe.pids())), 1)
            self._count.add(self._probe.restarts())

    def __enter__(self) -> Self:
        if self._probe:
            self.sample()
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if kind is None:
            self.sample()
