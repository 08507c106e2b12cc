"""Reads topics as a transactional reader sees them: committed records only, up to the end at the time of the call."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from store.connect import KafkaUnavailable, connect, kafka_unavailable

POLL_MS = 1000
_POSITION_MS = 100
STALLED_POLLS = 30
_SKEW_MS = 3_600_000
"""Brokers accept records from clocks that are ahead by an hour."""

Ends = dict[str, dict[int, int]]
"""Topic to partition to offset."""


def open_consumer(kafka: str, *, isolation: str = "read_committed") -> KafkaConsumer:
    """Return a consumer without a group that sees committed records only (or, with `read_uncommitted`, all), tuned to read a topic whole.

    Raises:
        KafkaUnavailable: if no broker answers.
    """
    options = {
        # A broker that comes back is to be found at once.
        "reconnect_backoff_max_ms": 1_000,
        "isolation_level": isolation,
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "max_poll_records": 5000,
        "max_partition_fetch_bytes": 4 * 1024 * 1024,
        # Checksums in pure Python take four times as long as all the rest.
        "check_crcs": False,
    }
    return connect(KafkaConsumer, kafka, options)


def partitions_of(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    """Return the topic's partitions in order.

    Raises:
        KafkaUnavailable: if there is no such topic.
    """
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise KafkaUnavailable(f"there is no topic {topic} on this Kafka: `millrace up` creates the topics")
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def position_of(consumer: KafkaConsumer, part: TopicPartition) -> int:
    """Return the offset of the next record of an assigned partition; -1 while kafka-python has yet to ask where its beginning or end is.

    The position also passes the markers that end transactions, which are no records. kafka-python knows it without asking, but
    asks the broker first whether it still holds when anything has changed; where the broker has just gone that takes it half a minute.
    """
    position: int | None = consumer.position(part, timeout_ms=_POSITION_MS)
    return -1 if position is None else position


def end_offsets(kafka: str, topics: Iterable[str], *, isolation: str = "read_committed") -> Ends:
    """Return the committed end of each partition of the topics; with `read_uncommitted`, the end of all that was written.

    Raises:
        KafkaUnavailable: if no broker answers, or a topic is missing.
    """
    with closing(open_consumer(kafka, isolation=isolation)) as consumer:
        try:
            parts = [part for topic in topics for part in partitions_of(consumer, topic)]
            ends = consumer.end_offsets(parts)
        except KafkaError as error:
            raise kafka_unavailable(kafka, error) from error
    result: Ends = {}
    for part in parts:
        result.setdefault(part.topic, {})[part.partition] = ends[part]
    return result


def begin_offsets(kafka: str, topic: str) -> dict[int, int]:
    """Return the first retained offset of each partition (raises `KafkaUnavailable`)."""
    with closing(open_consumer(kafka)) as consumer:
        try:
            begins = consumer.beginning_offsets(partitions_of(consumer, topic))
        except KafkaError as error:
            raise kafka_unavailable(kafka, error) from error
    return {part.partition: offset for part, offset in begins.items()}


def offsets_at(kafka: str, topic: str, time_ms: int, *, isolation: str = "read_committed") -> dict[int, int]:
    """Return for each partition the offset of its first record with a timestamp of at least `time_ms`, or its end.

    Raises:
        KafkaUnavailable: if no broker answers, or there is no such topic.
    """
    with closing(open_consumer(kafka, isolation=isolation)) as consumer:
        try:
            parts = partitions_of(consumer, topic)
            ends = consumer.end_offsets(parts)
            found = consumer.offsets_for_times(dict.fromkeys(parts, max(0, time_ms)))
        except KafkaError as error:
            raise kafka_unavailable(kafka, error) from error
    return {part.partition: ends[part] if (place := found.get(part)) is None else place.offset for part in parts}


def tail_offsets(kafka: str, topic: str, records: int) -> dict[int, int]:
    """Return for each partition where to start reading so that about the newest `records` records of the topic are read, by their time.

    They are at least so many, if there are, and more only as far as they share a millisecond or markers lie between them.

    Raises:
        KafkaUnavailable: if no broker answers, or there is no such topic.
    """
    with closing(open_consumer(kafka)) as consumer:
        try:
            parts = partitions_of(consumer, topic)
            begins, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
            earliest, latest = 0, int(time.time() * 1000) + _SKEW_MS
            starts = dict(begins)
            while earliest < latest and sum(ends[p] - starts[p] for p in parts) > records:
                middle = (earliest + latest + 1) // 2
                found = consumer.offsets_for_times(dict.fromkeys(parts, middle))
                later = {part: ends[part] if (place := found.get(part)) is None else place.offset for part in parts}
                if sum(ends[part] - later[part] for part in parts) >= records:
                    earliest, starts = middle, later
                else:
                    latest = middle - 1
        except KafkaError as error:
            raise kafka_unavailable(kafka, error) from error
    return {part.partition: offset for part, offset in starts.items()}


def open_transactions(kafka: str, topics: Iterable[str]) -> Ends:
    """Return the partitions in which something written is neither committed nor aborted yet, with the offset where that begins.

    Raises:
        KafkaUnavailable: if no broker answers, or a topic is missing.
    """
    names = list(topics)
    # The committed ends first: a transaction that ends between the two questions must not look open for ever, only for now.
    committed, written = end_offsets(kafka, names), end_offsets(kafka, names, isolation="read_uncommitted")
    return {
        topic: held
        for topic, ends in committed.items()
        if (held := {partition: end for partition, end in ends.items() if end < written[topic][partition]})
    }


def first_timestamps(kafka: str, topic: str) -> dict[int, int]:
    """Return the time of the first retained record of each partition that has one, epoch ms (raises `KafkaUnavailable`)."""
    with closing(open_consumer(kafka)) as consumer:
        try:
            found = consumer.offsets_for_times(dict.fromkeys(partitions_of(consumer, topic), 0))
        except KafkaError as error:
            raise kafka_unavailable(kafka, error) from error
    return {part.partition: place.timestamp for part, place in found.items() if place is not None}


def read_committed(
    kafka: str, topic: str, start: Mapping[int, int] | None = None, end: Mapping[int, int] | None = None
) -> Iterator[list[ConsumerRecord]]:
    """Yield the committed records of a topic in batches, each batch in order and from one partition.

    Args:
        kafka: bootstrap servers.
        topic: name on the broker.
        start: partition to first offset; a partition that is not named is read from its beginning.
        end: partition to the offset before which reading stops; a partition that is not named is read to its end.

    Raises:
        KafkaUnavailable: if no broker answers, there is no such topic, or nothing comes for half a minute.
    """
    with closing(open_consumer(kafka)) as consumer:
        try:
            parts = partitions_of(consumer, topic)
            ends = consumer.end_offsets(parts)
            begins = consumer.beginning_offsets(parts)
            first = {part: max(begins[part], (start or {}).get(part.partition, 0)) for part in parts}
            ends = {part: min(last, (end or {}).get(part.partition, last)) for part, last in ends.items()}
            ends = {part: last for part, last in ends.items() if first[part] < last}
            consumer.assign(list(ends))
            for part in ends:
                consumer.seek(part, first[part])
            yield from _read_to(consumer, ends)
        except KafkaError as error:
            raise kafka_unavailable(kafka, error) from error


def _read_to(consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> Iterator[list[ConsumerRecord]]:
    open_parts = set(ends)
    stalled = 0
    while open_parts:
        batches = consumer.poll(timeout_ms=POLL_MS)
        for part, records in batches.items():
            if records[-1].offset < ends[part]:
                yield records
            elif wanted := [r for r in records if r.offset < ends[part]]:
                yield wanted
        done = {part for part in open_parts if position_of(consumer, part) >= ends[part]}
        consumer.pause(*done)
        open_parts -= done
        stalled = 0 if batches or done else stalled + 1
        if stalled >= STALLED_POLLS:
            raise KafkaUnavailable(f"{min(open_parts).topic}: the broker gave nothing for {stalled * POLL_MS // 1000} s")
