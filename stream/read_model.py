"""The operator of publish: what the JVM has batched or counted goes to Redis, each element in one round trip.

Nothing is held back here: an element is written before the next is taken, so that offsets never run ahead of Redis.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
from pyflink.datastream import ProcessFunction, RuntimeContext

from schemas.parsing import record_parser
from schemas.records import Aggregate, LabelState, Quality
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.trending import Trending
from store.connect import connect_redis
from store.refill import refill
from store.writer import RedisWriter
from stream.clock import now_ms
from stream.drill import Drill
from stream.frames import Frames, framed
from stream.interpreter import prepare_interpreter
from stream.measured import Measured

JOB = "publish"
COUNTS_REMEMBERED = 20_000
"""Far more counts than change between two checkpoints; those before are in the topic."""
UPDATE_COLUMNS = ("kind", "record_value", "name", "task", "label", "granularity", "start_ms", "total")
"""An encoded record, or the new value of a count; what does not belong to the kind is null."""

UPDATES = Frames("ssssssqq")
"""Frames of updates, with `UPDATE_COLUMNS`."""


class Kind(StrEnum):
    """What an update of the read model holds."""

    PREDICTIONS = "predictions"
    LABEL_STATES = "label_states"
    QUALITY = "quality"
    HEARTBEAT = "heartbeat"
    COUNT = "aggregate"
    TRENDING = "trending"


_KINDS = {kind.encode(): kind for kind in Kind}


class WriteReadModel(ProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Writes updates of the read model, and passes changed counts on as records of `aggregates`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Connect."""
        settings = self._settings
        prepare_interpreter()
        self._client = connect_redis(settings.redis)
        self._writer = RedisWriter(self._client, recent=settings.recent_predictions, topic_prefix=settings.topic_prefix)
        self._drill = Drill(settings.drill_folder, JOB, look_every=1)
        self._parse_state = record_parser(LabelState)
        self._parse_quality = record_parser(Quality)
        self._parse_trending = record_parser(Trending)
        self._counts: dict[str, Aggregate] = {}
        self._trending: dict[str, Trending] = {}
        self._measured = Measured(runtime_context)
        self._fill_if_empty()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def process_element(self, value: bytes, ctx: ProcessFunction.Context) -> Iterator[bytes]:
        """Take a frame of `UPDATES`; yield a frame of the counts and trending names in it."""
        updates: dict[Kind, list[list[Any]]] = defaultdict(list)
        for kind, *update in UPDATES.rows(value):
            updates[_KINDS[kind]].append(update)
        if answers := self._write(updates):
            yield answers

    def _write(self, updates: dict[Kind, list[list[Any]]]) -> bytes:
        """Write updates to Redis, and return a frame of the counts and trending names in them, empty if there are none."""
        began = time.perf_counter_ns()
        records = {kind: [update[0] for update in found] for kind, found in updates.items()}
        if Kind.PREDICTIONS in updates:
            self._drill.step()
            self._writer.write_predictions(records[Kind.PREDICTIONS])
        if Kind.LABEL_STATES in updates:
            self._writer.write_label_states([self._parse_state(data) for data in records[Kind.LABEL_STATES]])
        if Kind.QUALITY in updates:
            self._write_quality(records[Kind.QUALITY])
        if Kind.HEARTBEAT in updates:
            # Also when no event comes, the job says that it lives.
            self._writer.mark_job(JOB, now=now_ms())
            self._fill_if_empty()
        answers = self._write_counts(updates[Kind.COUNT]) if Kind.COUNT in updates else b""
        if Kind.TRENDING in updates:
            answers += self._write_trending([self._parse_trending(data) for data in records[Kind.TRENDING]])
        self._measured.count("millrace_redis_writes")
        self._measured.count("millrace_redis_write_microseconds", (time.perf_counter_ns() - began) // 1000)
        return answers

    def _fill_if_empty(self) -> None:
        """Fill a Redis that has lost what was in it, and mark it only when that is done."""
        if self._writer.is_marked():
            return
        self._writer.begin_filling()
        refill(self._settings, self._writer)
        # The newest values may be on their way to the topic still.
        self._writer.write_aggregates(list(self._counts.values()))
        self._writer.write_trending(list(self._trending.values()))
        self._writer.mark()

    def _write_quality(self, batch: list[bytes]) -> None:
        """Write the newest quality of each task; the batch is in their order."""
        newest = {quality.task: quality for quality in map(self._parse_quality, batch)}
        for quality in newest.values():
            self._writer.write_quality(quality)

    def _write_counts(self, updates: list[list[Any]]) -> bytes:
        """Write the counts and return them for their topic; the last value of a count stands."""
        counts = {count_key(count): count for count in map(_count, updates)}
        self._writer.write_aggregates(list(counts.values()))
        for key, count in counts.items():
            self._remember(key, count)
        topic = self._settings.topic_prefix + Topic.AGGREGATES
        return b"".join([framed(topic, key, count, task=count.task, label=count.label) for key, count in counts.items()])

    def _write_trending(self, windows: list[Trending]) -> bytes:
        """Write the newest windows and return all of them for their topic."""
        self._writer.write_trending(windows)
        self._trending |= {trending_key(window): window for window in windows}
        topic = self._settings.topic_prefix + Topic.TRENDING
        return b"".join([framed(topic, trending_key(window), window, task=window.task) for window in windows])

    def _remember(self, key: str, aggregate: Aggregate) -> None:
        self._counts.pop(key, None)
        self._counts[key] = aggregate
        if len(self._counts) > COUNTS_REMEMBERED:
            del self._counts[next(iter(self._counts))]


def _count(update: list[Any]) -> Aggregate:
    _, name, task, label, granularity, start, count = update
    fields = {"name": name.decode(), "task": task.decode(), "label": label.decode(), "granularity": granularity.decode()}
    return msgspec.convert({**fields, "start": start, "count": count}, Aggregate)


def count_key(count: Aggregate) -> str:
    """Return the key of a count in its topic."""
    return f"{count.name}/{count.task}/{count.label}/{count.granularity}/{count.start}"


def trending_key(window: Trending) -> str:
    """Return the key of a window's trending names in their topic."""
    return f"{window.task}/{window.kind}"
