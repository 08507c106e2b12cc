"""The operator of publish: what the JVM has batched or counted goes to Redis, each element in one round trip.

Nothing is held back here: an element is written before the next is taken, so that offsets never run ahead of Redis.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
from pyflink.common import Row, RowKind
from pyflink.datastream import ProcessFunction, RuntimeContext

from schemas.parsing import record_parser
from schemas.records import Aggregate, LabelState, Quality
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import connect_redis
from store.refill import refill
from store.writer import RedisWriter
from stream.clock import now_ms
from stream.drill import Drill
from stream.interpreter import prepare_interpreter
from stream.rows import out

JOB = "publish"
COUNTS_REMEMBERED = 20_000
"""Far more counts than change between two checkpoints; those before are in the topic."""
UPDATE_COLUMNS = ("kind", "batch", "name", "task", "label", "granularity", "start_ms", "total")
"""A batch of encoded records, or the new value of a count; what does not belong to the kind is null."""


class Kind(StrEnum):
    """What an update of the read model holds."""

    PREDICTIONS = "predictions"
    LABEL_STATES = "label_states"
    QUALITY = "quality"
    HEARTBEAT = "heartbeat"
    COUNT = "aggregate"


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
        self._counts: dict[str, Aggregate] = {}
        self._fill_if_empty()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Take a row of `UPDATE_COLUMNS`; the old value of a count that changes is dropped."""
        if value.get_row_kind() in (RowKind.DELETE, RowKind.UPDATE_BEFORE):
            return
        kind, batch, *count = value
        if kind == Kind.COUNT:
            yield self._write_count(*count)
        elif kind == Kind.PREDICTIONS:
            self._drill.step()
            self._writer.write_predictions(batch)
        elif kind == Kind.LABEL_STATES:
            self._writer.write_label_states([self._parse_state(data) for data in batch])
        elif kind == Kind.QUALITY:
            self._write_quality(batch)
        else:
            # Also when no event comes, the job says that it lives.
            self._writer.mark_job(JOB, now=now_ms())
            self._fill_if_empty()

    def _fill_if_empty(self) -> None:
        """Fill a Redis that has lost what was in it, and mark it only when that is done."""
        if self._writer.is_marked():
            return
        self._writer.begin_filling()
        refill(self._settings, self._writer)
        # The newest counts may be on their way to the topic still.
        self._writer.write_aggregates(list(self._counts.values()))
        self._writer.mark()

    def _write_quality(self, batch: list[bytes]) -> None:
        """Write the newest quality of each task; the batch is in their order."""
        newest = {quality.task: quality for quality in map(self._parse_quality, batch)}
        for quality in newest.values():
            self._writer.write_quality(quality)

    def _write_count(self, name: str, task: str, label: str, granularity: str, start: int, count: int) -> Row:
        fields: dict[str, Any] = {"name": name, "task": task, "label": label, "granularity": granularity, "start": start, "count": count}
        aggregate = msgspec.convert(fields, Aggregate)
        self._writer.write_aggregates([aggregate])
        key = "/".join((name, task, label, granularity, str(start)))
        self._remember(key, aggregate)
        return out(self._settings.topic_prefix + Topic.AGGREGATES, key, aggregate, task=task, label=label)

    def _remember(self, key: str, aggregate: Aggregate) -> None:
        self._counts.pop(key, None)
        self._counts[key] = aggregate
        if len(self._counts) > COUNTS_REMEMBERED:
            del self._counts[next(iter(self._counts))]
