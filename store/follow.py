"""Follows topics from their beginning and on as they grow, through outages. Committed records only; one consumer, no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from store.committed import open_consumer, partitions_of, position_of
from store.connect import kafka_listens, kafka_unavailable

_SHORT_MS = 50
_QUIET_S = 1.0
"""When nothing has come for so long, it is asked whether the broker is still there: kafka-python would wait for it, and say nothing."""


class Follower:
    """Reads topics whole, then what is added. Use it from one thread.

    Args:
        kafka: bootstrap servers.
        topics: names on the broker.
        take: called with the topic and some records of one of its partitions, in order.
        forget: called when a topic was found replaced by another of its name: all that was taken counts no more.
    """

    def __init__(
        self,
        kafka: str,
        topics: Sequence[str],
        take: Callable[[str, list[ConsumerRecord]], None],
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self._kafka = kafka
        self._topics = tuple(topics)
        self._take = take
        self._forget = forget
        self._consumer: KafkaConsumer | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._first_ends: dict[TopicPartition, int] | None = None
        self._heard = 0.0
        self.behind = 0
        """How many records Kafka is known to have that were not taken at the end of the last poll."""

    @property
    def caught_up(self) -> bool:
        """Whether all that was there at the start has been taken."""
        ends = self._first_ends
        return ends is not None and all(self._positions[part] >= end for part, end in ends.items())

    @property
    def progress(self) -> tuple[int, int]:
        """How many records of those that were there at the start have been taken, and how many those are."""
        ends = self._first_ends or {}
        return sum(min(self._positions[part], end) for part, end in ends.items()), sum(ends.values())

    def is_new(self, record: ConsumerRecord) -> bool:
        """Whether a record that is taken came after the start: it is none of those that were there."""
        ends = self._first_ends
        return ends is not None and bool(record.offset >= ends[TopicPartition(record.topic, record.partition)])

    def poll(self, timeout_ms: int) -> None:
        """Take what has come, waiting for it at most so long.

        Raises:
            KafkaUnavailable: if the broker or a topic is not there; the next call goes on where this one ended.
        """
        try:
            consumer = self._consumer or self._open()
            # An empty topic has nothing to wait for before it counts as read.
            wait_ms = timeout_ms if self.caught_up else min(timeout_ms, _SHORT_MS)
            batches = consumer.poll(timeout_ms=wait_ms)
            for part, records in batches.items():
                self._take(part.topic, records)
                self._positions[part] = records[-1].offset + 1
            self._listen(heard=bool(batches))
            if not self.caught_up:
                self._positions.update({part: position_of(consumer, part) for part in self._positions})
            self.behind = sum(max(0, (consumer.highwater(part) or 0) - position_of(consumer, part)) for part in self._positions)
        except KafkaError as error:
            self.close()
            raise kafka_unavailable(self._kafka, error) from error

    def _listen(self, *, heard: bool) -> None:
        now = time.monotonic()
        if not heard and now - self._heard < _QUIET_S:
            return
        self._heard = now
        if not heard and not kafka_listens(self._kafka):
            self.close()
            raise kafka_unavailable(self._kafka, "nothing listens there")

    def close(self) -> None:
        """Let go of the broker."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _open(self) -> KafkaConsumer:
        self._consumer = consumer = open_consumer(self._kafka)
        try:
            self._assign(consumer)
        except BaseException:
            self.close()
            raise
        return consumer

    def _assign(self, consumer: KafkaConsumer) -> None:
        parts = [part for topic in self._topics for part in partitions_of(consumer, topic)]
        begins, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
        if any(not begins[part] <= at <= ends.get(part, -1) for part, at in self._positions.items()):
            self._positions, self._first_ends = {}, None
            self._forget()
        if self._first_ends is None:
            self._positions, self._first_ends = dict(begins), dict(ends)
        consumer.assign(parts)
        for part in parts:
            consumer.seek(part, self._positions[part])
