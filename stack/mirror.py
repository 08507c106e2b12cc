"""Copies topics to topics of another prefix on the same Kafka, exactly once: partition, order, key, value, headers and time stay.

Each transaction holds copies and, as offsets of a consumer group, how far the source has been read: both are there, or neither. The
transactional id names the target, so a second mirror to it, or the same one started again, first ends what the other had begun.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import (
    AuthorizationError,
    InvalidProducerEpochError,
    KafkaError,
    MessageSizeTooLargeError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    ProducerFencedError,
)
from kafka.serializer import Serializer
from kafka.structs import OffsetAndMetadata

from schemas.topics import Topic
from stack.errors import StackError
from store.committed import position_of
from store.connect import KAFKA_REQUEST_MS, KafkaUnavailable, connect_consumer, connect_copier
from store.kafka_login import client_options

TOPICS = (Topic.EVENTS, Topic.FEEDBACK)
"""What comes from outside and is worth the same to every installation; commands name models that only one of them has."""

RECORDS = 2_000
"""At most so many in a transaction."""
PAUSE_S = 0.2
"""A transaction begins so long after the one before, unless more is waiting: each leaves a marker in every partition."""
RETRY_S = 2.0
PROGRESS_S = 5.0
QUIET_S = 60.0
"""Where nothing was copied meanwhile, it says so less often."""
_POLL_MS = 500


class MirrorError(StackError):
    """The topics cannot be copied as they are; whoever runs the mirror must act."""


class Copied(msgspec.Struct, kw_only=True):
    """What this process has copied, by topic, and how many records of the source it had still to read when it last looked."""

    records: dict[str, int]
    behind: int | None = None


class AsItWas(Serializer):  # type: ignore[misc]  # kafka-python has no types
    """Takes a record for the key, so that one without key and value can be sent, too; kafka-python asks for one of both.

    A header without a value gets an empty one: kafka-python 3.0.12 cannot send it otherwise.
    """

    def serialize(self, _topic: str, headers: list[tuple[str, bytes]], data: ConsumerRecord) -> bytes | None:
        """Return the record's key, and bring in its headers."""
        headers[:] = [(name, value or b"") for name, value in data.headers]
        key: bytes | None = data.key
        return key


class Mirror:
    """Copies from one prefix to another until `stop` is set.

    Attributes:
        stop: ends it after the transaction in hand.
        copied: what it has copied; may be read from other threads.
    """

    def __init__(
        self, kafka: str, source: str, target: str, *, say: Callable[[str], None], alive: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare.

        Args:
            kafka: bootstrap servers.
            source: prefix of the topics that are copied.
            target: prefix of the topics that are written; nobody else may write them.
            say: is told how it goes, every few seconds.
            alive: is called at least every few seconds while the brokers answer.
        """
        self.stop = threading.Event()
        self.copied = Copied(records=dict.fromkeys(TOPICS, 0))
        self._kafka, self._source, self._target = kafka, source, target
        self._say, self._alive = say, alive
        self._name = f"{target}millrace-mirror"
        self._spoke, self._said_of = time.monotonic(), -1

    def run(self, *, until_end: bool = False) -> bool:
        """Copy, through outages of Kafka; with `until_end`, what is there when it begins. Return whether all of that was copied.

        Raises:
            MirrorError: saying what somebody must change.
        """
        while not self.stop.is_set():
            try:
                return self._session(until_end=until_end)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                raise MirrorError(self._lost()) from error
            except (MessageSizeTooLargeError, AuthorizationError) as error:
                raise MirrorError(f"Kafka does not take the copies: {error or type(error).__name__}") from error
            except (ProducerFencedError, InvalidProducerEpochError):
                # Two that go on so take turns, and still nothing is there twice.
                self._say(f"Kafka gave the place to another: a second mirror to {self._target}*, or an outage was long; trying again")
                self.stop.wait(RETRY_S)
            except (KafkaError, KafkaUnavailable) as error:
                self._say(f"{error or type(error).__name__}; trying again")
                self.stop.wait(RETRY_S)
        return False

    def _lost(self) -> str:
        return (
            f"some of {self._source}* was deleted before it was copied: what follows would be a copy with a hole. "
            f"Delete the topics {self._target}*, and begin anew"
        )

    def _session(self, *, until_end: bool) -> bool:
        parts = self._await_topics()
        if not parts:
            return False
        self._keep_times()
        with _copier(self._kafka, self._name) as producer, closing(connect_consumer(self._kafka, group=self._name)) as consumer:
            # What a mirror before this one had begun is ended first: only then do the group's offsets say how far it came.
            producer.init_transactions()
            consumer.assign(parts)
            for part, offset in self._starts(consumer, parts).items():
                consumer.seek(part, offset)
            ends = consumer.end_offsets(parts) if until_end else None
            while not self.stop.is_set():
                began = time.monotonic()
                batches = consumer.poll(timeout_ms=_POLL_MS, max_records=RECORDS)
                if batches:
                    self._copy(producer, batches)
                self._progress(consumer, parts)
                if ends is not None and all(position_of(consumer, part) >= end for part, end in ends.items()):
                    return True
                if 0 < sum(map(len, batches.values())) < RECORDS:
                    self.stop.wait(max(0.0, PAUSE_S - (time.monotonic() - began)))
        return False

    def _copy(self, producer: KafkaProducer, batches: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        producer.begin_transaction()
        sent = [
            producer.send(self._target_of(part.topic), record.value, key=record, partition=part.partition, timestamp_ms=record.timestamp)
            for part, records in batches.items()
            for record in records
        ]
        producer.flush(timeout=KAFKA_REQUEST_MS / 1000)
        for future in sent:
            # Raises what a record was refused with; the transaction alone would say that one was.
            future.get(timeout=0)
        offsets = {part: OffsetAndMetadata(records[-1].offset + 1, "", -1) for part, records in batches.items()}
        producer.send_offsets_to_transaction(offsets, self._name)
        producer.commit_transaction()
        for part, records in batches.items():
            self.copied.records[self._logical(part.topic)] += len(records)

    def _starts(self, consumer: KafkaConsumer, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where to go on: where the group is; at the beginning where nothing was ever written to the target."""
        begins = consumer.beginning_offsets(parts)
        with closing(connect_consumer(self._kafka, isolation="read_uncommitted")) as whole:
            targets = [TopicPartition(self._target_of(part.topic), part.partition) for part in parts]
            written = whole.end_offsets(targets)
        return {
            part: offset
            if written[target] and (offset := consumer.committed(part, timeout_ms=KAFKA_REQUEST_MS)) is not None
            else begins[part]
            for part, target in zip(parts, targets, strict=True)
        }

    def _await_topics(self) -> list[TopicPartition]:
        """Wait for all topics, and return the partitions of the source; none if `stop` came first.

        Raises:
            MirrorError: if a topic has fewer partitions than what is to be copied to it.
        """
        while not self.stop.is_set():
            with closing(connect_consumer(self._kafka)) as consumer:
                names = [prefix + topic for prefix in (self._source, self._target) for topic in TOPICS]
                found = {name: consumer.partitions_for_topic(name) or set() for name in names}
            missing = [name for name, numbers in found.items() if not numbers]
            if not missing:
                self._check_partitions(found)
                return [TopicPartition(self._source + topic, number) for topic in TOPICS for number in sorted(found[self._source + topic])]
            self._alive()
            self._tell(f"waiting for topics that the jobs make: {', '.join(missing)}")
            self.stop.wait(RETRY_S / 2)
        return []

    def _check_partitions(self, found: Mapping[str, set[int]]) -> None:
        for topic in TOPICS:
            source, target = len(found[self._source + topic]), len(found[self._target + topic])
            if target < source:
                raise MirrorError(
                    f"{self._target}{topic} has {target} partitions, {self._source}{topic} has {source}: delete the topics "
                    f"{self._target}*, and have them made with MILLRACE_TOPIC_PARTITIONS={source}"
                )

    def _keep_times(self) -> None:
        """Have the broker keep the times of the copies: it stamps these topics itself where Millrace has made them."""
        admin = KafkaAdminClient(**client_options(self._kafka), bootstrap_timeout_ms=KAFKA_REQUEST_MS, request_timeout_ms=KAFKA_REQUEST_MS)
        with closing(admin):
            configs = {"message.timestamp.type": "CreateTime"}
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self._target + topic, dict(configs)) for topic in TOPICS])

    def _progress(self, consumer: KafkaConsumer, parts: Sequence[TopicPartition]) -> None:
        self._alive()
        total = sum(self.copied.records.values())
        if time.monotonic() - self._spoke >= (PROGRESS_S if total != self._said_of else QUIET_S):
            self._said_of = total
            ends = consumer.end_offsets(parts)
            self.copied.behind = sum(max(0, end - position_of(consumer, part)) for part, end in ends.items())
            self._tell(f"{self.summary()}, {self.copied.behind} behind")

    def _tell(self, what: str) -> None:
        if time.monotonic() - self._spoke >= PROGRESS_S:
            self._spoke = time.monotonic()
            self._say(what)

    def summary(self) -> str:
        """Return what was copied, in words."""
        return "copied " + ", ".join(f"{count} of {self._source}{topic}" for topic, count in self.copied.records.items())

    def _logical(self, name: str) -> str:
        return name[len(self._source) :]

    def _target_of(self, name: str) -> str:
        return self._target + self._logical(name)


@contextmanager
def _copier(kafka: str, name: str) -> Iterator[KafkaProducer]:
    producer = connect_copier(kafka, name, AsItWas())
    try:
        yield producer
    finally:
        # What it has not committed is not worth waiting for.
        producer.close(timeout=1)
