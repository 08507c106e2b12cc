"""Is the API ready, and since when is what not: each part is asked by a thread of its own, and nobody who asks us waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from api.views import PartView, ReadyView
from api.watch import Watch
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import KafkaUnavailable, connect_consumer, kafka_listens, kafka_unavailable
from store.model_feed import ModelFeed
from store.reader import RedisReader

STALE_MS = 30_000
"""A job gives a sign of life each second; after a crash one is back within 20 seconds."""
JOBS = ("classify", "learn", "publish")
NEEDED = ("kafka", "redis")


class Readiness:
    """Knows what is ready. Safe to use from several threads, and from the event loop: it never waits.

    Args:
        watched: parts that say themselves how they are. Like the jobs they are reported, and do not decide.
    """

    def __init__(
        self,
        settings: Settings,
        reader: RedisReader,
        feed: ModelFeed,
        *,
        watched: Mapping[str, Callable[[], PartView]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._reader, self._feed, self._clock = settings, reader, feed, clock
        self._watched = watched or {}
        self._consumer: KafkaConsumer | None = None
        self._signs: dict[str, int] = {}
        self._read_since: int | None = None
        self._watches = {"kafka": Watch("Kafka", self._ask_kafka, clock), "redis": Watch("Redis", self._ask_redis, clock)}

    def start(self) -> None:
        """Begin to ask; returns at once."""
        for watch in self._watches.values():
            watch.start()

    def close(self) -> None:
        """Ask no more."""
        for watch in self._watches.values():
            watch.close()
        # The thread of a Kafka that hangs still has it; it ends with the process then.
        if self._watches["kafka"].has_ended:
            self._let_go()

    @property
    def is_known(self) -> bool:
        """Whether every part has answered once, or not answered in time."""
        return all(watch.part().ready is not None for watch in self._watches.values())

    def is_ready(self, name: str) -> bool:
        """Whether Kafka or Redis is ready."""
        return self._watches[name].part().ready is True

    def view(self) -> ReadyView:
        """Return what is ready now."""
        asked = {name: watch.part() for name, watch in self._watches.items()}
        redis_ready = asked["redis"].ready is True
        parts = asked | {job: self._job(job, redis_ready=redis_ready) for job in JOBS} | {"model_log": self._model_log(asked["kafka"])}
        parts |= {name: part() for name, part in self._watched.items()}
        return ReadyView(ready=all(parts[name].ready for name in NEEDED), parts=parts)

    def last_seen(self) -> dict[str, int]:
        """Return when (epoch ms) each part last answered, or gave a sign of life."""
        answered = {name: watch.last_ready for name, watch in self._watches.items()}
        return {name: at for name, at in {**answered, **self._signs}.items() if at is not None}

    def _ask_kafka(self) -> str:
        """Say how Kafka is, by one connection that is kept.

        Raises:
            KafkaUnavailable: if it is not there, or has no topics.
        """
        kafka = self._settings.kafka
        try:
            if not kafka_listens(kafka):
                raise kafka_unavailable(kafka, "nothing listens there")
            if self._consumer is None:
                self._consumer = connect_consumer(kafka)
            known = self._consumer.topics()
        except (KafkaError, KafkaUnavailable) as error:
            self._let_go()
            raise error if isinstance(error, KafkaUnavailable) else kafka_unavailable(kafka, error) from error
        wanted = [self._settings.topic_prefix + topic for topic in (Topic.EVENTS, Topic.FEEDBACK)]
        if missing := [topic for topic in wanted if topic not in known]:
            raise KafkaUnavailable(f"no topic {', '.join(missing)}: start the jobs once, they create the topics")
        return "answers, topics are there"

    def _let_go(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError), closing(consumer):
                pass

    def _ask_redis(self) -> str:
        """Say how Redis is, and note the jobs' signs of life in it (raises `RedisUnavailable`)."""
        generation = self._reader.generation()
        seen = {job: self._reader.job_seen(job) for job in JOBS}
        self._signs = {job: at for job, at in seen.items() if at is not None}
        return f"answers, generation {generation}" if generation else "answers, nothing was published yet"

    def _job(self, name: str, *, redis_ready: bool) -> PartView:
        seen = self._signs.get(name)
        if not redis_ready:
            return PartView(ready=None, detail="not known while Redis is away: its signs of life are there", since=seen)
        if seen is None:
            return PartView(ready=None, detail="not known: it has left no sign of life in Redis", since=None)
        age = int(self._clock() * 1000) - seen
        return PartView(ready=age < STALE_MS, detail=f"last seen {max(0, age) / 1000:.1f} s ago", since=seen)

    def _model_log(self, kafka: PartView) -> PartView:
        state = self._feed.state()
        if not state.is_read:
            self._read_since = None
            return PartView(ready=False, detail=state.detail, since=None)
        if self._read_since is None:
            self._read_since = int(self._clock() * 1000)
        if not kafka.ready:
            return PartView(ready=False, detail=f"as it was when Kafka was last there: {state.detail}", since=kafka.since)
        return PartView(ready=True, detail=state.detail, since=self._read_since)
