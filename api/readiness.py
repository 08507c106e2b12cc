"""Is the API ready: asks Kafka and Redis, at most every two seconds however often it is asked itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing

from kafka.errors import KafkaError

from api.views import PartView, ReadyView
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import KafkaUnavailable, RedisUnavailable, connect_consumer
from store.reader import RedisReader

ASK_AGAIN_S = 2.0
STALE_MS = 60_000
JOBS = ("classify", "learn", "publish")


class Readiness:
    """Knows what is ready. Safe to use from several threads.

    Args:
        watched: parts that say themselves what is wrong with them (None: nothing). Like the jobs they are reported, and do not decide.
    """

    def __init__(
        self,
        settings: Settings,
        reader: RedisReader,
        *,
        watched: Mapping[str, Callable[[], str | None]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._watched = watched or {}
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._view = ReadyView(ready=False, parts={})

    def view(self) -> ReadyView:
        """Return what is ready now, or was less than two seconds ago."""
        with self._lock:
            now = time.monotonic()
            if now - self._asked > ASK_AGAIN_S:
                self._view, self._asked = self._ask(), now
            return self._view

    def _ask(self) -> ReadyView:
        parts = {"kafka": self._kafka(), "redis": self._redis()}
        ready = all(part.ready for part in parts.values())
        if parts["redis"].ready:
            parts |= {job: self._job(job) for job in JOBS}
        for name, trouble in self._watched.items():
            said = trouble()
            parts[name] = PartView(ready=said is None, detail=said or "in order")
        return ReadyView(ready=ready, parts=parts)

    def _kafka(self) -> PartView:
        try:
            with closing(connect_consumer(self._settings.kafka)) as consumer:
                wanted = [self._settings.topic_prefix + topic for topic in (Topic.EVENTS, Topic.FEEDBACK)]
                missing = [topic for topic in wanted if not consumer.partitions_for_topic(topic)]
        except (KafkaUnavailable, KafkaError) as error:
            return PartView(ready=False, detail=str(error))
        if missing:
            return PartView(ready=False, detail=f"no topic {', '.join(missing)}: start the jobs once, they create the topics")
        return PartView(ready=True, detail="answers, topics are there")

    def _redis(self) -> PartView:
        try:
            generation = self._reader.generation()
        except RedisUnavailable as error:
            return PartView(ready=False, detail=str(error))
        return PartView(ready=True, detail=f"answers, generation {generation}" if generation else "answers, nothing was published yet")

    def _job(self, name: str) -> PartView:
        try:
            seen = self._reader.job_seen(name)
        except RedisUnavailable as error:
            return PartView(ready=None, detail=str(error))
        if seen is None:
            return PartView(ready=None, detail="not known: it has left no sign of life in Redis")
        age = int(self._clock() * 1000) - seen
        return PartView(ready=age < STALE_MS, detail=f"last seen {max(0, age) / 1000:.1f} s ago")
