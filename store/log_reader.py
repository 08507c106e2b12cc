"""Reading the model log: its entries in order, the changes of what is served alone, its snapshots newest first."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from schemas.log import AnyChange, AnyLogEntry, ChangeEntry, SnapshotEntry
from schemas.parsing import parse_log_entry
from store.committed import position_of
from store.connect import KAFKA_REQUEST_MS, KafkaUnavailable, connect_consumer, kafka_unavailable

_STALLED_S = 30.0
_FIRST_STEP = 500
_GROWTH = 4
_LONGEST_STEP = 100_000
_LABEL = b'{"kind":"label",'
"""How the entry of a label begins."""


class ModelUnavailable(Exception):
    """A model exists, but it cannot be rebuilt: an operator must bring back a snapshot or the log's start."""


class _Part:
    """The partition of one task, between two offsets: its first record, and the last stable offset when it was opened."""

    def __init__(self, consumer: KafkaConsumer, topic: str, task: str, kafka: str) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._task = task
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            raise KafkaUnavailable(f"Kafka at {kafka} has no topic {topic}: start the jobs once, they create it")
        self._at = TopicPartition(topic, partition_of(task, len(partitions)))
        consumer.assign([self._at])
        self.begin: int = consumer.beginning_offsets([self._at], timeout_ms=KAFKA_REQUEST_MS)[self._at]
        # With isolation read_committed this is the last stable offset: nothing open or aborted lies before it.
        self.end: int = consumer.end_offsets([self._at], timeout_ms=KAFKA_REQUEST_MS)[self._at]

    def read(self, start: int, end: int, *, passing_over: bytes | None = None) -> Iterator[tuple[int, AnyLogEntry]]:
        """Yield offset and entry of the task's records in start ≤ offset < end, but for those that begin with certain bytes."""
        self._consumer.seek(self._at, start)
        moved = time.monotonic()
        position = start
        while position < end:
            for record in self._consumer.poll(timeout_ms=500).get(self._at, []):
                if record.offset < end and record.value is not None and not (passing_over and record.value.startswith(passing_over)):
                    entry = self._parse(record.offset, record.value)
                    if entry.task == self._task:
                        yield record.offset, entry
            at = position_of(self._consumer, self._at)
            if at > position:
                position, moved = at, time.monotonic()
            elif time.monotonic() - moved > _STALLED_S:
                raise kafka_unavailable(self._kafka, f"{self._at.topic}-{self._at.partition} stays at offset {position} of {end}")

    def _parse(self, offset: int, value: bytes) -> AnyLogEntry:
        try:
            return parse_log_entry(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            place = f"{self._at.topic}-{self._at.partition} offset {offset}"
            raise ModelUnavailable(f"the model log holds something that is no entry at {place}: {error}") from error


class ModelLogReader:
    """Reads committed entries of the model log. Each call opens a consumer of its own, so any thread may call."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.kafka = kafka
        self.topic = topic

    def entries(self, task: str, *, after_seq: int = 0, start: int | None = None) -> Generator[AnyLogEntry]:
        """Yield the task's entries with seq > `after_seq`, in order, to the log's end as it is at the call.

        `start` is the offset of an entry with a seq of at most `after_seq` + 1, where one is known; else one is looked for.

        Raises:
            KafkaUnavailable: if the broker or the topic is not there.
            ModelUnavailable: if the log holds something unreadable.
        """
        with self._opened(task) as part:
            known = self._start_for(part, after_seq) if start is None else start
            yield from (entry for _, entry in part.read(known, part.end) if entry.seq > after_seq)

    def snapshots(self, task: str) -> Generator[tuple[int, SnapshotEntry]]:
        """Yield offset and entry of the announced snapshots, newest first; reads only as far back as it is iterated."""
        with self._opened(task) as part:
            for start, end in _steps_back(part.begin, part.end):
                found = [(offset, entry) for offset, entry in part.read(start, end) if isinstance(entry, SnapshotEntry)]
                yield from reversed(found)

    def changes(self, task: str, *, start: int = 0) -> tuple[int, list[AnyChange]]:
        """Return the changes of what is served, and refusals, from an offset to the log's end, and that end: where to go on from.

        Labels are passed over unread, so this is as quick as the broker is.

        Raises:
            KafkaUnavailable: if the broker or the topic is not there.
            ModelUnavailable: if the log holds something unreadable.
        """
        with self._opened(task) as part:
            entries = part.read(max(start, part.begin), part.end, passing_over=_LABEL)
            return part.end, [entry for _, entry in entries if isinstance(entry, ChangeEntry)]

    def newest_snapshot(self, task: str) -> SnapshotEntry | None:
        """Return the last announced snapshot, or None if none ever was."""
        with closing(self.snapshots(task)) as snapshots:
            return next((entry for _, entry in snapshots), None)

    def starts_late(self, task: str) -> bool:
        """Say whether records before the log's present start have been deleted."""
        with self._opened(task) as part:
            return part.begin > 0

    @contextmanager
    def _opened(self, task: str) -> Iterator[_Part]:
        """Give the task's partition as it is now."""
        consumer = connect_consumer(self.kafka)
        try:
            yield _Part(consumer, self.topic, task, self.kafka)
        except KafkaError as error:
            raise kafka_unavailable(self.kafka, error) from error
        finally:
            consumer.close()

    def _start_for(self, part: _Part, after_seq: int) -> int:
        """Return an offset at or before the first entry with seq > `after_seq`."""
        if after_seq == 0:
            return part.begin
        for start, end in _steps_back(part.begin, part.end):
            first = next(part.read(start, end), None)
            if first is not None and first[1].seq <= after_seq + 1:
                return first[0]
        return part.begin


def _steps_back(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of offsets from the end to the beginning, growing.

    >>> list(_steps_back(0, 5000))
    [(4500, 5000), (2500, 4500), (0, 2500)]
    """
    step = _FIRST_STEP
    while end > begin:
        start = max(begin, end - step)
        yield start, end
        end, step = start, min(step * _GROWTH, _LONGEST_STEP)


def partition_of(task: str, partitions: int) -> int:
    """Return the partition of a task's log: the default partitioner's choice for the key `task`.

    >>> partition_of("default", 8) in range(8)
    True
    """
    return int(murmur2(task.encode()) & 0x7FFFFFFF) % partitions
