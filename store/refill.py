"""Fills a Redis that has come back empty, from the topics.

All counts, each task's quality and trending names, the newest predictions and label states.

Everything is an absolute value or the first of its kind, so that filling may be broken off and begun again at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from kafka.consumer.fetcher import ConsumerRecord

from schemas.parsing import record_parser
from schemas.records import Aggregate, LabelState, Quality
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.trending import Trending
from store.committed import end_offsets, read_committed, tail_offsets
from store.writer import RedisWriter

log = logging.getLogger(__name__)

SHOW_EVERY_S = 2.0
_TOPICS = (Topic.AGGREGATES, Topic.TRENDING, Topic.QUALITY, Topic.PREDICTIONS, Topic.LABEL_STATES)

_parse_aggregate = record_parser(Aggregate)
_parse_trending = record_parser(Trending)
_parse_quality = record_parser(Quality)
_parse_state = record_parser(LabelState)


def refill(settings: Settings, writer: RedisWriter) -> int:
    """Write what the topics hold, and return how many records were read; nothing is read if they are all empty.

    Of predictions and label states, the newest `recent_predictions` for each task are read, over all tasks together.

    Raises:
        KafkaUnavailable, RedisUnavailable: if one of them does not answer.
    """
    ends = end_offsets(settings.kafka, [settings.topic_prefix + topic for topic in _TOPICS])
    if not any(offset for partitions in ends.values() for offset in partitions.values()):
        return 0
    progress = _Progress()
    writers: dict[Topic, Callable[[Sequence[bytes]], None]] = {
        Topic.AGGREGATES: lambda batch: writer.write_aggregates([_parse_aggregate(value) for value in batch]),
        Topic.TRENDING: lambda batch: writer.write_trending([_parse_trending(value) for value in batch]),
        Topic.QUALITY: lambda batch: _write_quality(writer, batch),
        Topic.PREDICTIONS: writer.write_predictions,
        Topic.LABEL_STATES: lambda batch: writer.write_label_states([_parse_state(value) for value in batch]),
    }
    for topic, write in writers.items():
        name = settings.topic_prefix + topic
        whole = topic in (Topic.AGGREGATES, Topic.TRENDING, Topic.QUALITY)
        newest = settings.recent_predictions * len(settings.tasks)
        start = None if whole else tail_offsets(settings.kafka, name, newest)
        for batch in read_committed(settings.kafka, name, start):
            write(_values(batch))
            progress.read(len(batch))
    log.warning("Redis had come back empty, or was new: filled from %d records of the topics", progress.records)
    return progress.records


def _values(batch: Sequence[ConsumerRecord]) -> list[bytes]:
    return [record.value for record in batch if record.value is not None]


def _write_quality(writer: RedisWriter, batch: Sequence[bytes]) -> None:
    for quality in {quality.task: quality for quality in map(_parse_quality, batch)}.values():
        writer.write_quality(quality)


class _Progress:
    """Logs how far it has come, now and then."""

    def __init__(self) -> None:
        self.records = 0
        self._next = time.monotonic() + SHOW_EVERY_S

    def read(self, records: int) -> None:
        """Count records."""
        self.records += records
        if time.monotonic() >= self._next:
            log.warning("Redis is empty: %d records of the topics written to it so far", self.records)
            self._next = time.monotonic() + SHOW_EVERY_S
