"""Counts and quality of one task as they were last seen, for all who watch them."""

from __future__ import annotations

from collections import deque

import msgspec

from api.live.client import Kind
from api.live.views import LiveCounts
from api.views import quality_view
from store.reader import RedisReader

RATE_S = 10.0
"""Over so long is the rate taken."""

_encode = msgspec.json.Encoder().encode


class Figures:
    """Looks when it is told to.

    Attributes:
        known: kind, what tells whether it has changed, and JSON, of what was seen.
    """

    def __init__(self, reader: RedisReader, task: str) -> None:
        self.known: list[tuple[Kind, object, bytes]] = []
        self._reader = reader
        self._task = task
        self._totals: deque[tuple[float, int]] = deque()

    def look(self, now: float, now_ms: int) -> None:
        """Ask Redis (raises `RedisUnavailable`).

        Args:
            now: monotonic seconds.
            now_ms: the time, epoch ms.
        """
        buckets = self._reader.counts(self._task, "predictions", "total", limit=1)
        states = self._reader.label_states(self._task)
        quality = self._reader.quality(self._task)
        counted = buckets[0].counts if buckets else {}
        total = sum(counted.values())
        shown = quality_view(self._task, quality, states, now=now_ms)
        counts = LiveCounts(
            task=self._task, total=total, counts=counted, label_states=shown.label_states, per_second=self._rate(now, total)
        )
        self.known = [("counts", counts, _encode(counts)), ("quality", (quality, states), _encode(shown))]

    def _rate(self, now: float, total: int) -> float:
        """Return predictions per second since the oldest look of the last ten seconds."""
        totals = self._totals
        while totals and (now - totals[0][0] > RATE_S or totals[0][1] > total):
            totals.popleft()
        totals.append((now, total))
        seconds = now - totals[0][0]
        return round((total - totals[0][1]) / seconds, 1) if seconds else 0.0
