"""What a job has committed already, for one that starts from a state older than its output: that must not be written again.

The outputs name the place of the record that they came from, so that what was committed can be read back and left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from schemas.parsing import record_parser
from schemas.records import LabelState, Position, State
from schemas.settings import Settings
from schemas.topics import Topic
from store.committed import Ends, end_offsets, offsets_at, read_committed
from store.connect import KafkaUnavailable

SETTLE_S = 60.0
_LOOK_S = 0.5
_SLACK_MS = 60_000

Place = tuple[int, int]
"""Partition and offset of a record of `events`, `feedback` or `model-commands`."""


class Rewind(msgspec.Struct, frozen=True, kw_only=True):
    """Between which times (epoch ms) output may have been committed that the state does not know of.

    Attributes:
        since: nothing of that was written before: some time before the state was made.
        until: when the job was started from the state. What it commits later, its own checkpoints know.
    """

    since: int
    until: int


class _Classified(msgspec.Struct):
    source: Position


class _Refused(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Answer(msgspec.Struct):
    command_id: str | None = None


_parse_classified = record_parser(_Classified)
_parse_refused = record_parser(_Refused)
_parse_state = record_parser(LabelState)
_parse_answer = record_parser(_Answer)


def classified(settings: Settings, rewind: Rewind, *, settled: bool = True) -> set[Place]:
    """Return the places in `events` that have a committed prediction or dead letter, if `settled` once what was written before is settled.

    Raises:
        KafkaUnavailable: if the topics cannot be read, or a transaction in them stays open.
    """
    if settled:
        _wait_until_settled(settings, rewind, Topic.PREDICTIONS, Topic.DEAD_LETTERS)
    sources = (_parse_classified(record.value).source for record in _read(settings, Topic.PREDICTIONS, rewind))
    places = {(at.partition, at.offset) for at in sources}
    return places | refused_in(settings, rewind, Topic.EVENTS, settled=False)


def refused_in(settings: Settings, rewind: Rewind, topic: Topic, *, settled: bool = True) -> set[Place]:
    """Return the places in `topic` that have a committed dead letter; `settled` as in `classified`.

    Raises:
        KafkaUnavailable: if the dead letters cannot be read, or a transaction in them stays open.
    """
    if settled:
        _wait_until_settled(settings, rewind, Topic.DEAD_LETTERS)
    letters = (_parse_refused(record.value) for record in _read(settings, Topic.DEAD_LETTERS, rewind))
    return {(letter.partition, letter.offset) for letter in letters if letter.topic == settings.topic_prefix + topic}


def decided(settings: Settings, rewind: Rewind, *, settled: bool = True) -> dict[Place, State]:
    """Return the last committed state of the labels by their places in `feedback`; `settled` as in `classified`.

    Raises:
        KafkaUnavailable: if the topic cannot be read, or a transaction in it stays open.
    """
    if settled:
        _wait_until_settled(settings, rewind, Topic.LABEL_STATES)
    states: dict[Place, State] = {}
    for record in _read(settings, Topic.LABEL_STATES, rewind):
        state = _parse_state(record.value)
        states[state.feedback.at.partition, state.feedback.at.offset] = state.state
    return states


def answered(settings: Settings, rewind: Rewind) -> set[str]:
    """Return the ids of the commands that have a committed answer in the model log.

    Raises:
        KafkaUnavailable: if the log cannot be read, or a transaction in it stays open.
    """
    _wait_until_settled(settings, rewind, Topic.MODEL_LOG)
    answers = (_parse_answer(record.value) for record in _read(settings, Topic.MODEL_LOG, rewind))
    return {answer.command_id for answer in answers if answer.command_id is not None}


def _read(settings: Settings, topic: Topic, rewind: Rewind) -> Iterator[ConsumerRecord]:
    name = settings.topic_prefix + topic
    start, end = (offsets_at(settings.kafka, name, at) for at in (rewind.since, rewind.until + _SLACK_MS))
    for batch in read_committed(settings.kafka, name, start, end):
        yield from batch


def _wait_until_settled(settings: Settings, rewind: Rewind, *topics: Topic) -> None:
    """Wait until what was written before the job was started is committed or aborted: its sinks do that when they are opened.

    What is written since, by this job or another, may well be open.
    """
    names = [settings.topic_prefix + topic for topic in topics]
    written = {name: offsets_at(settings.kafka, name, rewind.until, isolation="read_uncommitted") for name in names}
    deadline = time.monotonic() + SETTLE_S
    while held := _open_before(written, end_offsets(settings.kafka, names)):
        if time.monotonic() > deadline:
            raise KafkaUnavailable(f"a transaction stays open in {', '.join(held)}: whatever wrote it must be started again, or time out")
        time.sleep(_LOOK_S)


def _open_before(written: Ends, committed: Ends) -> list[str]:
    return [f"{name}-{partition}" for name, ends in written.items() for partition, end in ends.items() if committed[name][partition] < end]
