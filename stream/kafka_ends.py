"""The topologies' ends in Kafka, as tables: bytes and their place come in, records for several topics go out."""

from __future__ import annotations

from collections.abc import Sequence

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment, Table

from schemas.settings import Settings
from schemas.topics import MAX_RECORD_BYTES, Topic
from schemas.traceparent import TRACEPARENT
from stream.kafka_login import connector_options
from stream.rows import OUT, as_table


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _options(options: dict[str, str]) -> str:
    return ", ".join(f"{_quoted(name)} = {_quoted(value)}" for name, value in options.items())


def raw_source(tables: StreamTableEnvironment, settings: Settings, topic: Topic, *, job: str) -> Table:
    """Return the committed records of a topic.

    Columns: record_value BYTES (null for a record without value), record_partition INT, record_offset BIGINT,
    record_time BIGINT (Kafka's timestamp, epoch ms), record_key STRING, task, label and traceparent STRING (headers, or null),
    arrived (processing time).

    The SQL connector stands here because the DataStream one drops null values and hides partition and offset.
    """
    name = f"{topic.replace('-', '_')}_in"
    options = {
        "connector": "kafka",
        "topic": settings.topic_prefix + topic,
        **connector_options(settings.kafka),
        "properties.group.id": f"{settings.topic_prefix}millrace-{job}",
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "earliest-offset",
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE {name} ("
        " record_key STRING, record_value BYTES,"
        " record_partition INT NOT NULL METADATA FROM 'partition' VIRTUAL,"
        " record_offset BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL,"
        " at_time TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL,"
        " headers MAP<STRING NOT NULL, BYTES> METADATA FROM 'headers' VIRTUAL,"
        " arrived AS PROCTIME()"
        f") WITH ({_options(options)})"
    )
    return tables.sql_query(
        "SELECT record_value, record_partition, record_offset,"
        " EXTRACT(EPOCH FROM at_time) * 1000 + EXTRACT(MILLISECOND FROM at_time) AS record_time,"
        " record_key, DECODE(headers['task'], 'UTF-8') AS task, DECODE(headers['label'], 'UTF-8') AS label,"
        f" DECODE(headers['{TRACEPARENT}'], 'UTF-8') AS traceparent, arrived FROM {name}"
    )


def heartbeat_source(tables: StreamTableEnvironment) -> Table:
    """Return a table of one row a second, without end."""
    tables.execute_sql("CREATE TEMPORARY TABLE heartbeat_in (beat INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1')")
    return tables.from_path("heartbeat_in")


def add_sink(
    tables: StreamTableEnvironment, stream: DataStream, settings: Settings, topics: Sequence[Topic], *, job: str, exactly_once: bool
) -> None:
    """Send a stream of `rows.OUT` to its topics: one producer for all, so that a checkpoint commits all or none."""
    name = f"{job}_out"
    options = {
        "connector": "kafka",
        "topic": ";".join(settings.topic_prefix + topic for topic in topics),
        **connector_options(settings.kafka),
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        # Full batches cost the broker less. What is committed waits for nothing: the commit sends what is left.
        "properties.linger.ms": "50",
        "properties.batch.size": str(128 * 1024),
        "properties.max.request.size": str(MAX_RECORD_BYTES),
        "sink.delivery-guarantee": "at-least-once",
    }
    if exactly_once:
        options |= {
            "sink.delivery-guarantee": "exactly-once",
            "sink.transactional-id-prefix": f"{settings.topic_prefix}millrace-{job}",
            "properties.transaction.timeout.ms": str(settings.transaction_timeout_s * 1000),
        }
    topic_column = " topic STRING NOT NULL METADATA FROM 'topic'," if len(topics) > 1 else ""
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE {name} (record_key STRING, record_value BYTES,{topic_column}"
        f" headers MAP<STRING NOT NULL, BYTES> METADATA FROM 'headers') WITH ({_options(options)})"
    )
    tables.create_temporary_view(f"{job}_records", as_table(tables, stream, OUT.get_field_names()))
    statements = tables.create_statement_set()
    always = "'task', ENCODE(task, 'UTF-8'), 'label', ENCODE(label, 'UTF-8')"
    traced = f"{always}, '{TRACEPARENT}', ENCODE(traceparent, 'UTF-8')"
    statements.add_insert_sql(
        f"INSERT INTO {name} SELECT record_key, record_value,{' topic,' if topic_column else ''}"
        f" CASE WHEN traceparent IS NULL THEN MAP[{always}] ELSE MAP[{traced}] END FROM {job}_records"
    )
    statements.attach_as_datastream()
