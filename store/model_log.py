"""Reading the model log: its entries in order, its snapshots newest first, and a replica made from both."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from online_model.replica import LogGap, Replica, SnapshotError
from schemas.log import AnyLogEntry, SnapshotEntry
from schemas.parsing import parse_log_entry
from store.artifacts import ArtifactCorrupt, ArtifactFolder, ArtifactMissing
from store.connect import KAFKA_REQUEST_MS, KafkaUnavailable, connect_consumer, kafka_unavailable

log = logging.getLogger(__name__)

_STALLED_S = 30.0
_FIRST_STEP = 500
_GROWTH = 4
_LONGEST_STEP = 100_000


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

    def read(self, start: int, end: int) -> Iterator[tuple[int, AnyLogEntry]]:
        """Yield offset and entry of the task's records in start ≤ offset < end."""
        self._consumer.seek(self._at, start)
        moved = time.monotonic()
        position = start
        while position < end:
            for record in self._consumer.poll(timeout_ms=500).get(self._at, []):
                if record.offset < end and record.value is not None:
                    entry = self._parse(record.offset, record.value)
                    if entry.task == self._task:
                        yield record.offset, entry
            at = self._consumer.position(self._at, timeout_ms=KAFKA_REQUEST_MS)
            if at is not None and at > position:
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


def load_replica(
    reader: ModelLogReader,
    artifacts: ArtifactFolder,
    new: Replica,
    *,
    up_to_seq: int | None = None,
    allow_pickle: bool = False,
) -> Replica:
    """Return the model of the task of `new`: the newest intact snapshot of such a model, then the log after it.

    With `up_to_seq`, snapshots and entries beyond it are left out; a log that ends earlier gives a replica that stands
    earlier (see its `seq`). Without such a snapshot `new` itself learns the log from its beginning.

    Args:
        new: the replica as it is configured, before the first entry of the log.
        allow_pickle: whether a snapshot that holds a pickle may be loaded.

    Raises:
        ModelUnavailable: if neither an intact snapshot nor the log's start is there.
        KafkaUnavailable: if the log cannot be read.
    """
    task = new.task
    start, replica = _from_snapshot(reader, artifacts, new, up_to_seq, allow_pickle=allow_pickle)
    if replica is None:
        if reader.starts_late(task) and next(reader.entries(task), None) is None:
            raise ModelUnavailable(f"task {task}: the start of {reader.topic} was deleted and no snapshot is left; restore one of them")
        replica = new
    replica.drift = replica.drift.with_detector(new.drift.detector)
    return catch_up(replica, reader, start=start, up_to_seq=up_to_seq)


def catch_up(replica: Replica, reader: ModelLogReader, *, start: int | None = None, up_to_seq: int | None = None) -> Replica:
    """Apply the entries after the replica's seq, and return it; `start` as in `ModelLogReader.entries`.

    Raises:
        ModelUnavailable: if the log begins after the next entry.
        KafkaUnavailable: if the log cannot be read.
    """
    for entry in reader.entries(replica.task, after_seq=replica.seq, start=start):
        if up_to_seq is not None and entry.seq > up_to_seq:
            break
        try:
            replica.apply(entry)
        except LogGap as error:
            raise ModelUnavailable(
                f"task {replica.task}: no intact snapshot reaches the first entry left in {reader.topic} ({error})"
            ) from error
    return replica


def _from_snapshot(
    reader: ModelLogReader, artifacts: ArtifactFolder, new: Replica, up_to_seq: int | None, *, allow_pickle: bool
) -> tuple[int | None, Replica | None]:
    """Return the replica of the newest intact snapshot at or before `up_to_seq`, if there is one, after the offset of its announcement.

    A snapshot of a model that is configured otherwise is passed over: the log makes the configured one.
    """
    task, wanted = new.task, new.model.specification
    with closing(reader.snapshots(task)) as snapshots:
        for offset, entry in snapshots:
            if up_to_seq is not None and entry.at_seq > up_to_seq:
                continue
            try:
                replica = Replica.from_snapshot(artifacts.get(entry.address, entry.sha256), model=wanted, allow_pickle=allow_pickle)
            except (ArtifactMissing, ArtifactCorrupt, SnapshotError) as error:
                log.warning("task %s: snapshot at seq %d is skipped: %s", task, entry.at_seq, error)
                continue
            if replica.quality.window != new.quality.window:
                log.warning("task %s: snapshot at seq %d is skipped: its window of scores has another length", task, entry.at_seq)
                continue
            if (replica.task, replica.seq) == (task, entry.at_seq):
                return offset, replica
            log.warning("task %s: %s holds task %s at seq %d, not seq %d", task, entry.address, replica.task, replica.seq, entry.at_seq)
    return None, None
