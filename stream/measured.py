"""The operators' own metrics, in Flink's group of the operator: Flink's reporters show them beside their own.

In thread mode a counter is Java's, and so is a `distribution`, which holds the last value: Flink reads both without Python. A gauge
would have a thread of Java's call Python, in the middle of whatever the operator does, so that there is none here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyflink.datastream import RuntimeContext
from pyflink.metrics import Counter, Distribution, MetricGroup

from schemas.metrics import JOBS, metric


class Measured:
    """Counts and shows values of `schemas.metrics.JOBS`. Use it from the operator's thread, once a frame rather than once a record."""

    def __init__(self, context: RuntimeContext) -> None:
        self._group = context.get_metrics_group()
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._shown: dict[tuple[str, ...], Distribution] = {}

    def count(self, name: str, by: int = 1, **labels: str) -> None:
        """Add to a counter."""
        if not by:
            return
        key = (name, *labels.values())
        if key not in self._counters:
            self._counters[key] = self._labelled(name, labels).counter(name)
        self._counters[key].inc(by)

    def show(self, name: str, value: int, **labels: str) -> None:
        """Set a gauge."""
        key = (name, *labels.values())
        if key not in self._shown:
            self._shown[key] = self._labelled(name, labels).distribution(name)
        self._shown[key].update(value)

    @contextmanager
    def timed(self, name: str, **labels: str) -> Iterator[None]:
        """Add the microseconds that the block takes to a counter."""
        began = time.perf_counter_ns()
        try:
            yield
        finally:
            self.count(name, (time.perf_counter_ns() - began) // 1000, **labels)

    def _labelled(self, name: str, labels: dict[str, str]) -> MetricGroup:
        if metric(JOBS, name).labels != tuple(labels):
            raise KeyError(f"{name} has the labels {metric(JOBS, name).labels}, in this order")
        group = self._group
        for label, value in labels.items():
            group = group.add_group(label, value)
        return group
