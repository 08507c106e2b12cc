"""The operators of publish: what the JVM has batched or counted goes to Redis, each element in one round trip.

Nothing is held back here: an element is written before the next is taken, so that offsets never run ahead of Redis.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from pyflink.common import Row, RowKind
from pyflink.datastream import ProcessFunction, RuntimeContext

from schemas.parsing import record_parser
from schemas.records import Aggregate, LabelState, Prediction, Quality
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import connect_redis
from store.writer import RedisWriter
from stream.clock import now_ms
from stream.drill import Drill
from stream.rows import out

JOB = "publish"


class _RedisFunction(ProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """What the operators share: a writer, opened with the operator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        settings = self._settings
        self._client = connect_redis(settings.redis)
        self._writer = RedisWriter(self._client, recent=settings.recent_predictions, topic_prefix=settings.topic_prefix)
        self._drill = Drill(settings.drill_folder, JOB, look_every=1)

    def close(self) -> None:
        self._client.close()


class WritePredictions(_RedisFunction):
    """Writes a batch of predictions: a row with an array of encoded ones."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Connect."""
        super().open(runtime_context)
        self._parse = record_parser(Prediction)

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Write the batch."""
        self._drill.step()
        self._writer.write_predictions([self._parse(data) for data in value[0]])
        return iter(())


class MarkAlive(_RedisFunction):
    """Notes with each element that the job lives, also when no event comes."""

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Note it."""
        self._writer.mark_job(JOB, now=now_ms())
        return iter(())


class WriteLabelStates(_RedisFunction):
    """Writes a batch of label states: a row with an array of encoded ones."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Connect."""
        super().open(runtime_context)
        self._parse = record_parser(LabelState)

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Write the batch."""
        self._writer.write_label_states([self._parse(data) for data in value[0]])
        return iter(())


class WriteQuality(_RedisFunction):
    """Writes the newest quality of each task in a batch: a row with an array of encoded ones."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Connect."""
        super().open(runtime_context)
        self._parse = record_parser(Quality)

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Write the last one of each task; the batch is in their order."""
        newest = {quality.task: quality for quality in map(self._parse, value[0])}
        for quality in newest.values():
            self._writer.write_quality(quality)
        return iter(())


class WriteCounts(_RedisFunction):
    """Writes a changed count, and passes it on as a record of `aggregates`."""

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Take name, task, label, granularity, start (epoch ms), count; the old value of an update is dropped."""
        if value.get_row_kind() in (RowKind.DELETE, RowKind.UPDATE_BEFORE):
            return
        name, task, label, granularity, start, count = value
        fields = {"name": name, "task": task, "label": label, "granularity": granularity, "start": start, "count": count}
        aggregate = msgspec.convert(fields, Aggregate)
        self._writer.write_aggregates([aggregate])
        key = "/".join((name, task, label, granularity, str(start)))
        yield out(self._settings.topic_prefix + Topic.AGGREGATES, key, aggregate, task=task, label=label)
