"""Gives every client its events, from one source for all: the index of recent predictions, and one look at the counts a second."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence

import msgspec
from starlette.concurrency import run_in_threadpool

from api.live.client import Client, Wanted
from api.live.events import EventId
from api.live.figures import Figures
from api.live.views import Resumed
from api.measures import Measures
from api.views import prediction_view
from store.connect import RedisUnavailable
from store.reader import RedisReader
from store.recent.index import RecentIndex
from store.recent.rows import Recent

CLIENTS_MAX = 100
LOOK_S = 1.0
WAITING = 2000
"""Predictions of a task that wait for the event loop; if there are more, the oldest are passed over."""

LOOKED_THROUGH = 2000
"""Newest predictions that are looked through for a client that comes back."""

_encode = msgspec.json.Encoder().encode


class TooManyClients(Exception):
    """There are as many clients as there may be."""


class Hub:
    """Knows the clients. Use it from the event loop; the index tells it of predictions from its own thread."""

    def __init__(self, index: RecentIndex, reader: RedisReader, measures: Measures) -> None:
        self._index, self._measures = index, measures
        self._figures = {task: Figures(reader, task) for task in index.tasks}
        self._clients: set[Client] = set()
        self._waiting: dict[str, deque[Recent]] = {task: deque(maxlen=WAITING) for task in index.tasks}
        self._arrived = dict.fromkeys(index.tasks, 0)
        self._lock = threading.Lock()
        self._called = False
        self._came = asyncio.Event()

    @property
    def clients(self) -> frozenset[Client]:
        """Those who are connected."""
        return frozenset(self._clients)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen to the index, and look at the counts, during the block; then every client ends."""
        loop = asyncio.get_running_loop()
        unsubscribe = self._index.subscribe(lambda task, rows: self._heard(loop, task, rows))
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            unsubscribe()
            looking.cancel()
            for client in self._clients:
                client.end()

    def join(self, wanted: Wanted) -> Client:
        """Return a new client, which gets what comes from now on; whoever joins has to leave.

        Raises:
            TooManyClients: if there are `CLIENTS_MAX`.
        """
        if len(self._clients) >= CLIENTS_MAX:
            raise TooManyClients(f"there are {CLIENTS_MAX} live connections: try again later")
        generation, position = self._index.position(wanted.task)
        client = Client(wanted, EventId(position, generation), clock=time.monotonic)
        self._clients.add(client)
        self._measures.live_clients.set(len(self._clients))
        self._came.set()
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        client.end()
        self._clients.discard(client)
        self._measures.live_clients.set(len(self._clients))

    async def catch_up(self, client: Client, last: EventId | None) -> None:
        """Give a client the newest of what it has missed since an event (None: nobody knows since when), and say whether that is all."""
        client.hold()
        task, generation = client.wanted.task, client.at.generation
        found: list[Recent] = []
        whole = last is not None and last.generation == generation
        if last is not None and whole:
            found, whole = await run_in_threadpool(self._index.since, task, last.position, limit=LOOKED_THROUGH)
        at = EventId(found[-1].arrived if found else client.at.position, generation)
        matching = client.wanted.matching(found) if "prediction" in client.wanted.kinds else []
        shown = matching[-max(1, int(client.wanted.max_per_second)) :]
        complete = whole and len(found) < LOOKED_THROUGH
        client.take("resumed", Resumed(complete=complete, sent=len(shown), passed_over=len(matching) - len(shown)), last or at)
        for row in shown:
            body = b'%b,"passed_over":0}' % _json(row)[:-1]
            client.take("prediction", body, EventId(row.arrived, generation))
        client.at = max(client.at, at)
        held = client.resume()
        client.predictions(held, EventId(held[-1].arrived, generation) if held else client.at, _json)

    def _heard(self, loop: asyncio.AbstractEventLoop, task: str, rows: Sequence[Recent]) -> None:
        """Hand predictions to the event loop; called by the index's thread, and never waits."""
        if not self._clients:
            return
        with self._lock:
            self._waiting[task].extend(rows)
            self._arrived[task] += len(rows)
            called, self._called = self._called, True
        if not called:
            # A loop that is closed has no clients.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            waiting = {task: list(rows) for task, rows in self._waiting.items() if rows}
            lost = {task: self._arrived[task] - len(rows) for task, rows in waiting.items()}
            for task in waiting:
                self._waiting[task].clear()
                self._arrived[task] = 0
            self._called = False
        for task, rows in waiting.items():
            self._deliver_task(task, rows, lost[task])

    def _deliver_task(self, task: str, rows: list[Recent], lost: int) -> None:
        """Give predictions to those who want them; what several get is looked for, and made, once."""
        at = EventId(max(row.arrived for row in rows), self._index.position(task)[0])
        made: dict[int, bytes] = {}
        found: dict[tuple[str | None, float], list[Recent]] = {}

        def encoded(row: Recent) -> bytes:
            body = made.get(row.arrived)
            if body is None:
                body = made[row.arrived] = _json(row)
            return body

        for client in self._clients:
            wanted = client.wanted
            if wanted.task == task and "prediction" in wanted.kinds:
                same = (wanted.label, wanted.min_confidence)
                if same not in found:
                    found[same] = wanted.matching(rows)
                client.predictions(found[same], at, encoded, passed_over=lost if same == (None, 0.0) else 0)

    async def _look(self) -> None:
        """Look at the counts and the quality of the tasks that somebody watches, once for all."""
        while True:
            watched = {client.wanted.task for client in self._clients if client.wanted.kinds & {"counts", "quality"}}
            for task in watched:
                # Redis away: the clients keep what they have; the readiness and the index say so.
                with contextlib.suppress(RedisUnavailable):
                    await run_in_threadpool(self._figures[task].look, time.monotonic(), time.time_ns() // 1_000_000)
                self._tell(task)
            self._came.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), LOOK_S if watched else None)

    def _tell(self, task: str) -> None:
        figures = self._figures[task]
        for client in self._clients:
            if client.wanted.task == task:
                for kind, value, body in figures.known:
                    client.changed(kind, value, body)


def _json(row: Recent) -> bytes:
    return _encode(prediction_view(row))
