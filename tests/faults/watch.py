"""A reader beside the stack: what it sees committed, and when; and when Redis shows something new."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from http import HTTPStatus

import httpx
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from schemas.settings import Settings
from schemas.topics import Topic
from store.committed import Ends, open_consumer
from store.connect import KafkaUnavailable, RedisUnavailable, connect_redis
from store.reader import RedisReader

WATCHED = (Topic.PREDICTIONS, Topic.DEAD_LETTERS, Topic.LABEL_STATES, Topic.MODEL_LOG)
REDIS, API = "redis", "api"
_LOOK_S = 0.1


class Watch:
    """Reads committed records as they come, from where the topics ended when the run began; outages are waited out.

    Attributes:
        records: what was seen of each topic, in the order in which it came.
        times: when (monotonic seconds) something new was seen, by topic, under `REDIS` when its counts had grown, under `API` when
            it answered.
    """

    def __init__(self, settings: Settings, ends: Ends, api: str) -> None:
        self.records: dict[Topic, list[ConsumerRecord]] = defaultdict(list)
        self.times: dict[str, list[float]] = defaultdict(list)
        self._settings = settings
        self._api = api
        self._next = {
            TopicPartition(name, partition): offset
            for topic in WATCHED
            for name in [settings.topic_prefix + topic]
            for partition, offset in ends[name].items()
        }
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=run, name="watch", daemon=True) for run in (self._read_kafka, self._read_redis, self._ask_api)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def first_after(self, what: str, moment: float) -> float | None:
        """Return when the first new output after a moment was seen."""
        return next((at for at in list(self.times[what]) if at > moment), None)

    def _read_kafka(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(KafkaError, KafkaUnavailable):
                self._follow()
            self._stop.wait(0.2)

    def _follow(self) -> None:
        with contextlib.closing(open_consumer(self._settings.kafka)) as consumer:
            consumer.assign(list(self._next))
            for part, offset in self._next.items():
                consumer.seek(part, offset)
            while not self._stop.is_set():
                for part, records in consumer.poll(timeout_ms=100).items():
                    topic = Topic(part.topic.removeprefix(self._settings.topic_prefix))
                    self.records[topic] += records
                    self.times[topic].append(time.monotonic())
                    self._next[part] = records[-1].offset + 1

    def _read_redis(self) -> None:
        shown = -1
        with connect_redis(self._settings.redis) as client:
            reader = RedisReader(client, topic_prefix=self._settings.topic_prefix)
            while not self._stop.wait(_LOOK_S):
                with contextlib.suppress(RedisUnavailable):
                    total = sum(sum(bucket.counts.values()) for bucket in reader.counts("default", "predictions", "total", limit=1))
                    if total > shown:
                        self.times[REDIS].append(time.monotonic())
                    shown = total

    def _ask_api(self) -> None:
        while not self._stop.wait(_LOOK_S):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self._api}/v1/predictions?limit=1", timeout=2.0).status_code == HTTPStatus.OK:
                    self.times[API].append(time.monotonic())
