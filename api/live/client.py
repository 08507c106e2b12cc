"""One client of the live events: what it wants, its share of them, and a queue that cannot grow beyond its bounds. Event loop only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

import msgspec

from api.live.events import ALIVE, EventId, event
from api.live.views import Dropped
from store.reader import confidence
from store.recent.rows import Recent

Kind = Literal["prediction", "counts", "quality"]

HEARTBEAT_S = 15.0
LIFETIME_S = 900.0
"""So long does a connection live; the client comes back, and its key is looked at again."""

QUEUE_EVENTS = 500
QUEUE_BYTES = 1024 * 1024
"""A client that has so much waiting for it is too slow, and let go."""

HELD = 2000
"""Predictions that wait while it is looked up what a client has missed."""

BURST_S = 0.5
"""So many seconds' worth of events may come at once."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants: which kinds of events of which task, and which predictions, at most so many a second."""

    task: str
    kinds: frozenset[Kind]
    label: str | None = None
    min_confidence: float = 0.0
    max_per_second: float = 20.0

    def matching(self, rows: Sequence[Recent]) -> list[Recent]:
        """Return the predictions that are wanted."""
        return [
            row
            for row in rows
            if (self.label is None or (row.prediction.label or "") == self.label) and confidence(row.prediction) >= self.min_confidence
        ]


class Client:
    """Takes events, and gives them out as they can be sent.

    Attributes:
        wanted: what it wants.
        at: how far it has come.
        is_over: whether nothing more is taken; what is in the queue is still given out.
    """

    def __init__(self, wanted: Wanted, at: EventId, *, clock: Callable[[], float]) -> None:
        self.wanted = wanted
        self.at = at
        self.is_over = False
        self._clock = clock
        self._ends = clock() + LIFETIME_S
        self._allowed, self._counted = wanted.max_per_second * BURST_S, clock()
        self._passed_over = 0
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._something = asyncio.Event()
        self._held: deque[Recent] | None = None
        self._last: dict[str, object] = {}

    @property
    def queued(self) -> tuple[int, int]:
        """Events and bytes that wait to be sent."""
        return len(self._queue), self._queued_bytes

    def hold(self) -> None:
        """Keep the predictions that come, until `resume`."""
        self._held = deque(maxlen=HELD)

    def resume(self) -> list[Recent]:
        """Return what was kept, for `predictions`."""
        held, self._held = self._held or (), None
        return [row for row in held if row.arrived > self.at.position]

    def predictions(self, matching: Sequence[Recent], at: EventId, encoded: Callable[[Recent], bytes], *, passed_over: int = 0) -> None:
        """Take predictions that match, as many as may come now, evenly chosen; the others are counted.

        Args:
            matching: in the order in which they arrived.
            at: the position behind all that was looked at.
            encoded: gives the JSON of one.
            passed_over: others that nobody looked at.
        """
        if self._held is not None:
            self._held.extend(matching)
            return
        chosen = self._choose(len(matching))
        self._passed_over += passed_over
        last = -1
        for index in chosen:
            self._passed_over += index - last - 1
            body = b'%b,"passed_over":%d}' % (encoded(matching[index])[:-1], self._passed_over)
            self.take("prediction", body, EventId(matching[index].arrived, at.generation))
            self._passed_over, last = 0, index
        self._passed_over += len(matching) - last - 1
        self.at = at

    def changed(self, kind: Kind, value: object, body: bytes) -> None:
        """Take the counts or the quality, unless the client has them."""
        if kind in self.wanted.kinds and self._last.get(kind) != value:
            self._last[kind] = value
            self.take(kind, body, self.at)

    def take(self, kind: str, body: msgspec.Struct | bytes, at: EventId) -> None:
        """Put an event into the queue; if there is no room, tell the client that it is too slow, and be over."""
        if self.is_over:
            return
        chunk = event(kind, body, at)
        if len(self._queue) >= QUEUE_EVENTS or self._queued_bytes + len(chunk) > QUEUE_BYTES:
            self._queue.clear()
            self._queued_bytes = 0
            reason = "too slow: more events waited than are kept for a client. Connect again with the id of the last event"
            chunk, self.is_over = event("dropped", Dropped(reason=reason), self.at), True
        self._queue.append(chunk)
        self._queued_bytes += len(chunk)
        self._something.set()

    def end(self) -> None:
        """Be over, once what is in the queue was sent."""
        self.is_over = True
        self._something.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what is to be sent, one event at a time, until it is over; a comment when there was nothing for a while."""
        while True:
            while self._queue:
                chunk = self._queue.popleft()
                self._queued_bytes -= len(chunk)
                yield chunk
            left_s = self._ends - self._clock()
            if self.is_over or left_s <= 0:
                return
            self._something.clear()
            try:
                await asyncio.wait_for(self._something.wait(), min(HEARTBEAT_S, left_s))
            except TimeoutError:
                yield ALIVE

    def _choose(self, among: int) -> list[int]:
        """Return which of so many predictions come now: evenly spread, the last one among them."""
        now, rate = self._clock(), self.wanted.max_per_second
        self._allowed = min(max(1.0, rate * BURST_S), self._allowed + (now - self._counted) * rate)
        self._counted = now
        count = min(among, int(self._allowed))
        self._allowed -= count
        return [(number + 1) * among // count - 1 for number in range(count)]
