"""Sends what was refused again, byte for byte, to the topic and partition where it lay: when the cause has been mended."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.parsing import RejectRecord, parse_command, parse_event, parse_feedback
from schemas.records import DeadLetter, Reason
from schemas.settings import Settings
from schemas.topics import FROM_OUTSIDE, Topic
from stack.dead_letter_list import Place, parse_place, place_of
from store.committed import open_consumer, partitions_of, position_of
from store.connect import connect_producer, kafka_unavailable

REPLAYED_FROM = "replayed-from"
"""The header of a record that was sent again: the place where it lay first."""

_READ_S = 10
_CLOCKS_MS = 60 * 60 * 1000
"""Dead letters have the clock of a job, records that of a broker or a sender: they may differ by so much."""

Headers = list[tuple[str, bytes]]


class Unavailable(Exception):
    """A record cannot be sent again; the message says why."""


class Original(NamedTuple):
    """What to send: the key, the bytes, the headers. `complete` is false if key and headers are not the original ones."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    complete: bool


class Outcome(NamedTuple):
    """What became of one letter: where it lies now, or why it was not sent."""

    letter: DeadLetter
    sent_to: Place | None = None
    problem: str = ""
    is_known: bool = False
    note: str = ""


class Replayer:
    """Sends dead letters again.

    Args:
        settings: of the running jobs: with them it is found out what would be refused again.
        again: also send what was replayed before.
        unchecked: also send what would be refused again.
        dry_run: find out everything, send nothing.
    """

    def __init__(self, settings: Settings, *, again: bool = False, unchecked: bool = False, dry_run: bool = False) -> None:
        self._settings = settings
        self._again = again
        self._unchecked = unchecked
        self._dry_run = dry_run
        self._topics = {settings.topic_prefix + topic: topic for topic in FROM_OUTSIDE}

    def replay(self, letters: list[DeadLetter]) -> Iterator[Outcome]:
        """Yield the outcome of each letter.

        Raises:
            KafkaUnavailable: if Kafka fails; what was yielded before has been sent.
        """
        kafka = self._settings.kafka
        with closing(open_consumer(kafka)) as consumer:
            try:
                known = {} if self._again else replayed_places(consumer, letters, self._topics)
                if self._dry_run:
                    yield from (self._outcome(letter, known, consumer, None) for letter in letters)
                    return
                with closing(connect_producer(kafka)) as producer:
                    yield from (self._outcome(letter, known, consumer, producer) for letter in letters)
            except KafkaError as error:
                raise kafka_unavailable(kafka, error) from error

    def _outcome(self, letter: DeadLetter, known: dict[Place, Place], consumer: KafkaConsumer, producer: KafkaProducer | None) -> Outcome:
        place = place_of(letter)
        if place in known:
            return Outcome(letter, known[place], f"replayed already, as {known[place]} (`--again` sends it once more)", is_known=True)
        try:
            original = self._original(letter, consumer)
            self._check(letter, original)
            note = "" if original.complete else "key and headers are no longer retained: keyed by its event id"
            if producer is None:
                return Outcome(letter, note=note)
            return Outcome(letter, _send(producer, place, original), note=note)
        except Unavailable as error:
            return Outcome(letter, problem=str(error))

    def _original(self, letter: DeadLetter, consumer: KafkaConsumer) -> Original:
        """Return the record that was refused: from its topic while that retains it, else from the letter."""
        record = read_record(consumer, place_of(letter))
        if record is not None and _is_that_of(letter, record.value):
            return Original(record.key, record.value, [(name, value) for name, value in record.headers if value is not None], True)
        head = base64.b64decode(letter.head)
        if letter.reason is Reason.NULL_VALUE:
            raise Unavailable("it has no value, and is no longer retained in its topic")
        if not _is_that_of(letter, head):
            raise Unavailable(f"its topic does not retain it any more, and the dead letter has {len(head)} of its {letter.length} bytes")
        return Original(_event_id(head), head, [], False)

    def _check(self, letter: DeadLetter, original: Original) -> None:
        """Check that the record would be accepted now.

        Raises:
            Unavailable: if it would be refused again.
        """
        topic = self._topics.get(letter.topic)
        if topic is None:
            raise Unavailable(f"topic {letter.topic} is none of this installation ({', '.join(self._topics)})")
        tasks = self._settings.tasks
        try:
            if topic is Topic.EVENTS:
                parse_event(original.value, tasks=tasks, max_text_bytes=self._settings.max_text_bytes)
            elif topic is Topic.MODEL_COMMANDS:
                parse_command(original.value, tasks=tasks)
            else:
                parse_feedback(original.value, tasks=tasks, max_text_bytes=self._settings.max_text_bytes)
        except RejectRecord as error:
            if not self._unchecked:
                raise Unavailable(f"it would be refused again: {error} (`--unchecked` sends it all the same)") from error


def replayed_places(consumer: KafkaConsumer, letters: Iterable[DeadLetter], topics: Iterable[str]) -> dict[Place, Place]:
    """Return the places that the records of these topics say they were replayed from, each with the newest such record's own.

    The topics are read from the time of the oldest letter.
    """
    since = min((letter.time for letter in letters), default=0) - _CLOCKS_MS
    wanted = {letter.topic for letter in letters}
    parts = [part for topic in topics if topic in wanted for part in partitions_of(consumer, topic)]
    ends = consumer.end_offsets(parts)
    first = {part: at.offset for part, at in consumer.offsets_for_times(dict.fromkeys(parts, max(0, since))).items() if at is not None}
    found: dict[Place, Place] = {}
    for part, offset in first.items():
        for record in _records(consumer, part, offset, ends[part]):
            if (place := _replayed_from(record)) is not None:
                found[place] = Place(record.topic, record.partition, record.offset)
    return found


def _replayed_from(record: ConsumerRecord) -> Place | None:
    """Return the place that the record says it was replayed from; a header that is none of ours says nothing."""
    for name, value in record.headers:
        if name == REPLAYED_FROM:
            try:
                return parse_place((value or b"").decode())
            except ValueError:
                continue
    return None


def read_record(consumer: KafkaConsumer, place: Place) -> ConsumerRecord | None:
    """Return the record that lies there, or None if it is not retained."""
    if place.partition not in (consumer.partitions_for_topic(place.topic) or ()):
        return None
    part = TopicPartition(place.topic, place.partition)
    begin, end = consumer.beginning_offsets([part])[part], consumer.end_offsets([part])[part]
    if not begin <= place.offset < end:
        return None
    record = next(_records(consumer, part, place.offset, place.offset + 1), None)
    return record if record is not None and record.offset == place.offset else None


def _records(consumer: KafkaConsumer, part: TopicPartition, start: int, end: int) -> Iterator[ConsumerRecord]:
    """Yield a partition's records from `start` to before `end`, as far as they are retained.

    Raises:
        KafkaError: if the broker gives nothing for a while.
    """
    consumer.assign([part])
    consumer.seek(part, start)
    silent = 0
    while position_of(consumer, part) < end:
        records = consumer.poll(timeout_ms=1000).get(part, ())
        yield from (record for record in records if record.offset < end)
        silent = 0 if records else silent + 1
        if silent > _READ_S:
            raise KafkaError(f"{part.topic}: the broker gave nothing for {silent} s")


def _is_that_of(letter: DeadLetter, value: bytes | None) -> bool:
    data = value or b""
    same_kind = (value is None) == (letter.reason is Reason.NULL_VALUE)
    return same_kind and (len(data), hashlib.sha256(data).hexdigest()) == (letter.length, letter.sha256)


class _Named(msgspec.Struct):
    event_id: str


def _event_id(value: bytes) -> bytes | None:
    """Return the key that the record should have had: the event id in it, if it can be read."""
    try:
        return msgspec.json.decode(value, type=_Named).event_id.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _send(producer: KafkaProducer, place: Place, original: Original) -> Place:
    """Send to the partition where it lay, and return the new place.

    Raises:
        Unavailable: if it is too large with the header.
        KafkaError: if the broker does not take it.
    """
    headers = [header for header in original.headers if header[0] != REPLAYED_FROM]
    headers.append((REPLAYED_FROM, str(place).encode()))
    try:
        future = producer.send(place.topic, original.value, key=original.key, headers=headers, partition=place.partition)
    except MessageSizeTooLargeError as error:
        raise Unavailable(f"with its header it is too large for the broker: {error}") from error
    except ValueError as error:
        raise Unavailable(f"kafka-python does not send it: {error}") from error
    sent = future.get()
    return Place(sent.topic, sent.partition, sent.offset)
