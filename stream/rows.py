"""The rows that cross between the JVM and Python, and how they become streams and tables."""

from __future__ import annotations

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table

from schemas.parsing import encode
from schemas.records import LATEST_MS, Position

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())

OUT = Types.ROW_NAMED(
    ["topic", "record_key", "record_value", "task", "label", "traceparent"],
    [Types.STRING(), Types.STRING(), BYTES, Types.STRING(), Types.STRING(), Types.STRING()],
)
"""A record for a topic; `task` and `label` become its headers, so that the JVM can match and count without parsing JSON, and so does
`traceparent` if there is one."""

INCOMING = Types.ROW_NAMED(["task", "event_id", "incoming"], [Types.STRING(), Types.STRING(), BYTES])
"""A valid label: its keys, and an encoded `online_model.ledger.Incoming`."""

MATCH = Types.ROW_NAMED(["task", "event_id", "incoming", "prediction"], [Types.STRING(), Types.STRING(), BYTES, BYTES])
"""A label, with the prediction of its event or null."""

DECISION = Types.ROW_NAMED(["task", "decision"], [Types.STRING(), BYTES])
"""An encoded `online_model.ledger.Decision` or `stream.commands.Asked`."""

_TABLE_TYPES = {"record_value": DataTypes.BYTES(), "incoming": DataTypes.BYTES(), "topic": DataTypes.STRING().not_null()}


def place(partition: int, offset: int, time: int, *, now: int) -> Position:
    """Return where a record of a source lies: partition, offset, Kafka's time.

    In a topic that is not stamped by the broker the time is whatever its sender says: -1 for none, or years ahead.
    It is brought between 1970 and `now`, since nothing can have come later.
    """
    return Position(partition=partition, offset=offset, time=max(0, min(time, now, LATEST_MS)))


def out(topic: str, key: str, record: msgspec.Struct, *, task: str | None = None, label: str | None = None) -> Row:
    """Return the row of a record for `topic`."""
    return Row(topic, key, encode(record), task, label, None)


def as_table(tables: StreamTableEnvironment, stream: DataStream, columns: list[str]) -> Table:
    """Return a stream of rows with these columns as a table."""
    schema = Schema.new_builder()
    for name in columns:
        schema.column(name, _TABLE_TYPES.get(name, DataTypes.STRING()))
    return tables.from_data_stream(stream, schema.build())
