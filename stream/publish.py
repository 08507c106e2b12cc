"""The publish topology: predictions, label states and quality are batched and counted in the JVM, then written to Redis."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment, Table

from schemas.settings import Settings
from schemas.topics import Topic
from stream.redis_operators import MarkAlive, WriteCounts, WriteLabelStates, WritePredictions, WriteQuality
from stream.rows import OUT

SINK_TOPICS = (Topic.AGGREGATES,)

_MINUTE_MS = 60_000
_WINDOWS_MS = {"minute": _MINUTE_MS, "hour": 60 * _MINUTE_MS, "day": 24 * 60 * _MINUTE_MS}
# A count's state outlives its window by far; after that no prediction can fall into it, since Kafka stamps them on arrival.
_STATE_TTL = {"minute": "2h", "hour": "2d", "day": "3d"}

_COUNT_COLUMNS = "name, task, label, granularity, start_ms, total"


def publish(
    tables: StreamTableEnvironment, predictions: Table, label_states: Table, quality: Table, heartbeat: Table, settings: Settings
) -> DataStream:
    """Write everything to Redis, and return the counts for `SINK_TOPICS`, as `rows.OUT`.

    Args:
        predictions: committed: record_value BYTES, record_time BIGINT, task STRING, label STRING, arrived (processing time).
        label_states: the same; label is the state.
        quality: record_value BYTES, arrived.
        heartbeat: a row now and then, whatever it holds: with each one the job says that it lives.
    """
    tables.create_temporary_view("predictions", predictions)
    tables.create_temporary_view("label_states", label_states)
    tables.create_temporary_view("quality", quality)
    for view, writer in (
        ("predictions", WritePredictions(settings)),
        ("label_states", WriteLabelStates(settings)),
        ("quality", WriteQuality(settings)),
    ):
        batches = tables.to_data_stream(tables.sql_query(batches_query(view, settings.publish_interval_ms)))
        name = view.replace("_", "-")
        batches.process(writer, output_type=OUT).uid(f"publish-{name}").name(f"{name} to Redis")
    beats = tables.to_data_stream(heartbeat)
    beats.process(MarkAlive(settings), output_type=OUT).uid("publish-heartbeat").name("heartbeat to Redis")
    counts = tables.to_changelog_stream(tables.sql_query(counts_query()))
    return counts.process(WriteCounts(settings), output_type=OUT).uid("publish-counts").name("counts to Redis")


def batches_query(view: str, interval_ms: int) -> str:
    """Return the query that collects the records of each interval into one row; they wait in Flink's state."""
    return (
        f"SELECT ARRAY_AGG(record_value) AS batch FROM TABLE(TUMBLE(TABLE {view}, DESCRIPTOR(arrived),"
        f" INTERVAL '{interval_ms / 1000:.3f}' SECOND)) GROUP BY window_start, window_end"
    )


def counts_query() -> str:
    """Return the query of all counts: predictions by label and window of Kafka's time, labels by their present state."""
    windows = [
        f"SELECT /*+ STATE_TTL('predictions' = '{_STATE_TTL[granularity]}') */ 'predictions' AS name, task, label,"
        f" '{granularity}' AS granularity, record_time - MOD(record_time, {size}) AS start_ms, COUNT(*) AS total"
        f" FROM predictions GROUP BY task, label, record_time - MOD(record_time, {size})"
        for granularity, size in _WINDOWS_MS.items()
    ]
    totals = (
        "SELECT 'predictions' AS name, task, label, 'total' AS granularity, CAST(0 AS BIGINT) AS start_ms, COUNT(*) AS total"
        " FROM predictions GROUP BY task, label"
    )
    previous = "JSON_VALUE(DECODE(record_value, 'UTF-8'), '$.previous')"
    states = (
        "SELECT 'label_states' AS name, task, label, 'total' AS granularity, CAST(0 AS BIGINT) AS start_ms, SUM(delta) AS total FROM ("
        " SELECT task, label, CAST(1 AS BIGINT) AS delta FROM label_states"
        f" UNION ALL SELECT task, {previous} AS label, CAST(-1 AS BIGINT) AS delta FROM label_states WHERE {previous} IS NOT NULL"
        ") GROUP BY task, label"
    )
    return " UNION ALL ".join(f"SELECT {_COUNT_COLUMNS} FROM ({query})" for query in (*windows, totals, states))
