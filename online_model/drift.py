"""Drift: a detector of River's watches whether the served predictions come to be wrong more often.

A detector object is neither stored nor copied. What is stored is what it was fed with: the outcomes since it was made, at most
`2 * MEMORY`. A detector that has seen so many is replaced by one that is fed with the last `MEMORY`, and after an alarm an
empty one begins; one that has seen errors become rarer goes on with what came after. So at any time it is a function of the stored
outcomes alone, whichever detector it is.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import msgspec
import river

from schemas.drift import Drift
from schemas.settings import DriftDetector

MEMORY = 4000
"""Outcomes on which a detector always looks back, if there are so many."""

RECENT = 100
"""Outcomes in `Drift.errors_after`, where the detector does not say since when the errors are more."""

DETECTORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "adwin": ("adwin", "ADWIN", {"delta": 0.005, "clock": 8}),
    "ddm": ("binary.ddm", "DDM", {"warm_start": 200, "drift_threshold": 4.0}),
    "hddm_a": ("binary.hddm_a", "HDDM_A", {"drift_confidence": 1e-4}),
    "page_hinkley": ("page_hinkley", "PageHinkley", {"mode": "up", "delta": 0.05, "threshold": 20.0}),
}
"""Module in `river.drift`, class, and parameters of each (`python -m benchmarks drift`)."""


class Detector(Protocol):
    """What is used of `river.base.DriftDetector`."""

    drift_detected: bool

    def update(self, x: int) -> object:
        """Take an outcome, 1 for an error."""


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stored monitor: which detector, the outcomes it has seen ("1" for an error), the number of alarms and the last of them."""

    detector: str
    outcomes: str
    alarms: int
    last: Drift | None


class DriftMonitor:
    """Raises an alarm when errors become more frequent; when they become rarer, it forgets in silence how many they were.

    A function of the outcomes in their order: one that went through `stored` and `from_stored` goes on exactly as one that did not.
    An alarm changes no model.

    >>> monitor = DriftMonitor()
    >>> raised = [monitor.add(error=n >= 500 or n % 50 == 0, seq=n) for n in range(600)]
    >>> [describe(alarm) for alarm in raised if alarm]
    ['adwin: errors have risen from 2 % of 288 labels to 7 % of the last 224']
    >>> monitor.alarms, DriftMonitor.from_stored(monitor.stored()) == monitor
    (1, True)
    """

    def __init__(self, detector: DriftDetector = "adwin") -> None:
        self.detector: str = detector
        self.alarms = 0
        self.last: Drift | None = None
        self._outcomes = bytearray()
        self._live: Detector | None = None

    def add(self, *, error: bool, seq: int) -> Drift | None:
        """Take the outcome of the prediction that log entry `seq` has scored; return an alarm if it raises one."""
        if self.detector == "none":
            return None
        live = self._live = self._live or self._rebuilt()
        live.update(int(error))
        self._outcomes.append(error)
        if live.drift_detected:
            self._live = None
            return self._judged(seq, live)
        if len(self._outcomes) == 2 * MEMORY:
            del self._outcomes[:MEMORY]
            self._live = None
        return None

    def prepare(self) -> None:
        """Feed the detector with what was stored: up to 40 ms that the next outcome would take, of whoever serves by then."""
        if self.detector != "none" and self._live is None:
            self._live = self._rebuilt()

    def raised_at(self, seq: int) -> Drift | None:
        """Return the alarm that log entry `seq` has raised, if it was the last one."""
        return self.last if self.last is not None and self.last.seq == seq else None

    def _rebuilt(self) -> Detector:
        detector = _make(self.detector)
        for outcome in self._outcomes:
            detector.update(outcome)
        return detector

    def _judged(self, seq: int, live: Detector) -> Drift | None:
        width = getattr(live, "width", None)  # ADWIN's window has been cut to what came after the change
        seen = len(self._outcomes)
        after = max(1, min(int(width), seen - 1) if width else min(RECENT, seen // 2))
        errors_after = sum(self._outcomes[-after:]) / after
        errors_before = sum(self._outcomes[:-after]) / max(1, seen - after)
        if width and errors_after <= errors_before:
            del self._outcomes[:-after]  # what came after the fall stays: a rise may have begun in it
            return None
        self._outcomes.clear()
        self.alarms += 1
        self.last = Drift(
            number=self.alarms,
            seq=seq,
            detector=self.detector,
            errors_before=errors_before,
            labels_before=seen - after,
            errors_after=errors_after,
            labels_after=after,
        )
        return self.last

    def stored(self) -> Watch:
        """Return the monitor as a record."""
        return Watch(self.detector, "".join(map(str, self._outcomes)), self.alarms, self.last)

    @classmethod
    def from_stored(cls, stored: Watch) -> DriftMonitor:
        """Return the monitor that `stored` described.

        Raises:
            ValueError: if no monitor can have stored that.
        """
        if (stored.detector != "none" and stored.detector not in DETECTORS) or len(stored.outcomes) >= 2 * MEMORY:
            raise ValueError(f"no monitor has a detector {stored.detector!r} that has seen {len(stored.outcomes)} outcomes")
        if set(stored.outcomes) - {"0", "1"}:
            raise ValueError("an outcome is 0 or 1")
        monitor = cls()
        monitor.detector, monitor.alarms, monitor.last = stored.detector, stored.alarms, stored.last
        monitor._outcomes = bytearray(map(int, stored.outcomes))
        return monitor

    def with_detector(self, detector: str) -> DriftMonitor:
        """Return this monitor, or one with another detector that has seen nothing yet; the alarms are counted on."""
        if detector == self.detector:
            return self
        return self.from_stored(Watch(detector, "", self.alarms, self.last))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DriftMonitor) and self.stored() == other.stored()

    __hash__ = None  # type: ignore[assignment]  # mutable


def describe(drift: Drift) -> str:
    """Return an alarm in words."""
    return (
        f"{drift.detector}: errors have risen from {drift.errors_before:.0%} of {drift.labels_before} labels"
        f" to {drift.errors_after:.0%} of the last {drift.labels_after}"
    ).replace("%", " %")


def warm_up() -> None:
    """Load River's detectors, a few milliseconds; call it where the first label must not wait."""
    for name in DETECTORS:
        _make(name)


def _make(name: str) -> Detector:
    module, kind, parameters = DETECTORS[name]
    detector: Detector = getattr(importlib.import_module(f"{_package().__name__}.{module}"), kind)(**parameters)
    return detector


@cache
def _package() -> ModuleType:
    """Return a package with the modules of `river.drift`, under another name.

    Importing `river.drift` itself takes 0.9 s (its KSWIN brings scipy.stats, its data sets pandas), which a TaskManager would pay after
    each crash; the modules that are needed take a few milliseconds. Nothing that anybody else imports is changed by it.
    """
    package = ModuleType("online_model._river_drift")
    package.__path__ = [f"{folder}/drift" for folder in river.__path__]
    return sys.modules.setdefault(package.__name__, package)
