"""The recent predictions of all tasks, kept current by a thread of its own. Safe to use from several threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from schemas.settings import Settings
from store.connect import RedisUnavailable, connect_redis
from store.recent import queries, review
from store.recent.arrivals import Arrivals
from store.recent.crowd import Crowd
from store.recent.following import BATCH, TaskFollower
from store.recent.places import Place
from store.recent.queries import Filter, Order, RecentPage
from store.recent.review import Reviewed, Standing
from store.recent.rows import Recent
from store.recent.table import RecentTable

log = logging.getLogger(__name__)

TICK_S = 0.2
"""Redis is asked so often what is new."""

REST = 1.0
"""After a batch it rests as long as the batch took of the processor, times this: others in the process get their turn."""

CROWDED_SHARE = 0.05
"""Of all processors, what it takes while more waits than it takes at once and the processors are busy: in a backlog the jobs need them."""

LONGEST_WAIT_S = 2.0

Listener = Callable[[str, Sequence[Recent]], None]
"""Called in the index's thread with a task and the predictions that have just arrived, in order. It must be quick, and not raise."""


class NotIndexed(Exception):
    """The index is still being filled."""


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What the index of a task holds.

    `oldest` and `newest` are the times of its predictions, epoch ms. It is `complete` when it holds all that Redis keeps (as of the
    last fifth of a second); `stale_since` says since when Redis could not be asked, null if it can be.
    """

    events: int
    oldest: int | None
    newest: int | None
    complete: bool
    stale_since: int | None


class RecentIndex:
    """Knows the newest predictions of each task, as many as Redis keeps (`recent_predictions`).

    Attributes:
        processor_s: seconds of a processor that the thread has taken.

    Args:
        settings: where Redis is, which tasks there are.
        clock: the time, epoch seconds.
        crowded: whether others want the processors; None: looks for itself.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time, crowded: Callable[[], bool] | None = None) -> None:
        self._client = connect_redis(settings.redis)
        self._arrivals = Arrivals(self._client, settings.topic_prefix)
        self._clock = clock
        self._crowded = crowded or Crowd().crowded
        self._rest_in_crowd = max(REST, 1 / (CROWDED_SHARE * (os.cpu_count() or 1)) - 1)
        self._followers = {task: TaskFollower(task, RecentTable(settings.recent_predictions), self._arrivals) for task in settings.tasks}
        self._generation: str | None = None
        self._stale_since: int | None = None
        self._trouble = ""
        self.processor_s = 0.0
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recent-index", daemon=True)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are followed."""
        return tuple(self._followers)

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, and free the memory."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for follower in self._followers.values():
            follower.table.close()
        self._client.close()
        self._client.connection_pool.disconnect()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell a listener of every prediction that arrives from now on; return what ends that."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return end

    def indexed(self, task: str) -> Indexed:
        """Return what the index holds now."""
        follower = self._followers[task]
        oldest, newest = queries.span(follower.table) or (None, None)
        return Indexed(
            events=follower.table.events,
            oldest=oldest,
            newest=newest,
            complete=follower.complete and self._stale_since is None,
            stale_since=self._stale_since,
        )

    def behind_ms(self, task: str) -> int:
        """Return how much older the newest prediction here is than Redis's, in ms by the time of its arrival."""
        return self._followers[task].behind_ms

    def is_filled(self, task: str) -> bool:
        """Say whether everything that Redis keeps was read once, so that `page` answers."""
        return self._followers[task].filled

    def page(self, task: str, wanted: Filter, *, limit: int, after: Place | None = None) -> RecentPage:
        """Return the first predictions that are wanted, or those that follow a place.

        Raises:
            NotIndexed: until everything that Redis keeps was read once; also after Redis was replaced.
        """
        return queries.page(self._ready(task), wanted, limit=limit, after=after)

    def candidates(self, task: str, *, order: Order, limit: int, **which: Any) -> list[Recent]:
        """Return predictions that nobody has reviewed: see `store.recent.queries.candidates` (raises `NotIndexed`)."""
        return queries.candidates(self._ready(task), order=order, limit=limit, **which)

    def newest(self, task: str, most: int) -> list[Standing]:
        """Return how far the newest events have come, newest first (raises `NotIndexed`)."""
        return review.newest(self._ready(task), most)

    def reviewed(self, task: str) -> list[Reviewed]:
        """Return the events of which reviewers said something, newest first (raises `NotIndexed`)."""
        return review.reviewed(self._ready(task))

    def some(self, task: str, event_ids: Sequence[str]) -> dict[str, Recent]:
        """Return those of the events that are here, by id (raises `NotIndexed`)."""
        return review.some(self._ready(task), event_ids)

    def since(self, task: str, position: int, *, limit: int) -> tuple[list[Recent], bool]:
        """Return the newest of the predictions that arrived after a position, in order, and whether none of what arrived is gone."""
        follower = self._followers[task]
        whole = follower.complete and follower.first <= position
        return queries.arrived_after(follower.table, position, limit=limit), whole

    def position(self, task: str) -> tuple[str, int]:
        """Return the generation of the Redis that is followed ("" if it has none), and the position up to which it was."""
        return self._generation or "", self._followers[task].taken

    def _ready(self, task: str) -> RecentTable:
        follower = self._followers[task]
        if not follower.filled:
            done = f"{follower.table.events} of {follower.redis_count} predictions so far"
            raise NotIndexed(f"the index of the recent predictions is being filled: {self._trouble or done}")
        return follower.table

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            began, used = time.monotonic(), time.thread_time()
            try:
                more = self._step()
                self._stale_since, self._trouble = None, ""
                self.processor_s = time.thread_time()
                rest_s = self._rest_s(self.processor_s - used)
                wait_s = rest_s if more else max(rest_s, TICK_S - (time.monotonic() - began))
            except (RedisUnavailable, msgspec.DecodeError, UnicodeDecodeError) as error:
                # Redis is away, or holds something that is none of ours: what is here stays, and says since when it is stale.
                if self._stale_since is None:
                    self._stale_since = int(self._clock() * 1000)
                    log.warning("the index of recent predictions stays as it is: %s", error)
                self._trouble = str(error)
                wait_s = min(LONGEST_WAIT_S, max(TICK_S, wait_s * 2))

    def _rest_s(self, used_s: float) -> float:
        """Return how long to rest after a round that took the processor for so long."""
        crowded, followers = self._crowded(), self._followers.values()
        # Until it is filled it cannot answer.
        longer = crowded and all(follower.filled for follower in followers) and any(follower.more_waits for follower in followers)
        return used_s * (self._rest_in_crowd if longer else REST)

    def _step(self) -> bool:
        """Take a batch of each task; return whether there is more to do at once."""
        generation, looks = self._arrivals.look({task: follower.heads for task, follower in self._followers.items()}, BATCH)
        before, self._generation = self._generation, generation
        if before not in (None, generation):
            log.warning("Redis came back empty, or is another one: the index of recent predictions is filled anew")
            for follower in self._followers.values():
                follower.forget()
            return True
        more = False
        for task, look in looks.items():
            new, busy = self._followers[task].take(look)
            more |= busy
            if new:
                for listener in self._listeners:
                    listener(task, new)
        return more
