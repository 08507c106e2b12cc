"""Finds out when predictions become visible in Redis, by asking it again and again for those that have not been seen there yet."""

from __future__ import annotations

import threading
import time
from array import array
from itertools import pairwise
from typing import Any

import redis

POLL_S = 0.025
FRONT = 400
"""So many of the oldest pending predictions of each partition are asked for one by one …"""
PROBES = 16
""" … and so many spread over the rest, to see whether the front lies behind."""


class Arrivals:
    """Predictions seen in Kafka, by partition and in order; one thread adds, another one reads."""

    def __init__(self) -> None:
        """Begin empty."""
        self.partitions: dict[int, tuple[array[int], array[int]]] = {}

    def add(self, partition: int, number: int, predicted_at: int) -> None:
        """Note the event's number and the time of its prediction (the score in Redis)."""
        rows = self.partitions.get(partition)
        if rows is None:
            rows = self.partitions[partition] = (array("q"), array("q"))
        rows[1].append(predicted_at)
        rows[0].append(number)


def places_to_probe(pending: int) -> list[int]:
    """Return which of `pending` places to ask for: the front, and some spread evenly up to the end.

    >>> places_to_probe(3)
    [0, 1, 2]
    >>> places = places_to_probe(100_000)
    >>> len(places), places[FRONT - 1], places[-1]
    (416, 399, 99999)
    """
    front = min(pending, FRONT)
    rest = pending - front
    return [*range(front), *sorted({front - 1 + rest * i // PROBES for i in range(1, PROBES + 1)} - {front - 1})]


def passed_through(visible: list[bool]) -> int:
    """Return how many of the asked places have passed: a partition is published in order, so all before a visible one have.

    >>> passed_through([True, False, True, False])
    3
    """
    return next((place + 1 for place in reversed(range(len(visible))) if visible[place]), 0)


class RedisWatcher:
    """Notes when each prediction of a run became visible in Redis.

    Redis keeps the newest predictions only. One that has been dropped again before it was asked for is known to have
    passed when a later one of its partition is visible, or all that are left are newer.
    """

    def __init__(self, client: redis.Redis, key: str, run_id: str, arrivals: Arrivals, recent: int) -> None:
        """Watch the sorted set `key`, which keeps the newest `recent`."""
        self._client: Any = client
        self._key = key
        self._run_id = run_id
        self._arrivals = arrivals
        self._recent = recent
        self._heads: dict[int, int] = {}
        self._seen = bytearray()
        self.passed = 0
        self.visible_n, self.visible_at = array("q"), array("d")

    def watch(self, stop: threading.Event) -> None:
        """Poll until `stop` is set. A Redis that is away is asked again: that it is late is what is to be seen."""
        while not stop.is_set():
            try:
                moved = self.poll()
            except (redis.RedisError, OSError):
                moved = False
                stop.wait(0.25)
            if not moved:
                stop.wait(POLL_S)

    def poll(self) -> bool:
        """Ask once for each partition; say whether there may be more at once."""
        moved = [self._poll_partition(p, *rows) for p, rows in list(self._arrivals.partitions.items())]
        return any(moved)

    def _poll_partition(self, partition: int, numbers: array[int], predicted_at: array[int]) -> bool:
        head = self._heads.get(partition, 0)
        places = [head + place for place in places_to_probe(len(numbers) - head)]
        if not places:
            return False
        scores = self._client.zmscore(self._key, [f"{self._run_id}-{numbers[p]}" for p in places])
        now = time.time()
        count = passed_through([score is not None for score in scores])
        if count == 0:
            if predicted_at[head] >= self._oldest_kept():
                return False
            end = head + 1
        else:
            end = places[count - 1] + 1
            self._note([numbers[p] for p in range(head, end)], now)
        self._count(numbers[head:end])
        self._heads[partition] = end
        return count == 0 or count == len(places) or any(b - a > 1 for a, b in pairwise(places[:count]))

    def _oldest_kept(self) -> float:
        """Return the score below which nothing is kept: minus infinity as long as Redis has room."""
        if self._client.zcard(self._key) < self._recent:
            return float("-inf")
        oldest = self._client.zrange(self._key, 0, 0, withscores=True)
        return float(oldest[0][1]) if oldest else float("-inf")

    def _note(self, numbers: list[int], now: float) -> None:
        self.visible_n.extend(numbers)
        self.visible_at.extend([now] * len(numbers))

    def _count(self, numbers: array[int]) -> None:
        for number in numbers:
            if number >= len(self._seen):
                self._seen.extend(bytes(number + 100_000 - len(self._seen)))
            self.passed += 1 - self._seen[number]
            self._seen[number] = 1
