"""The publish topology: predictions, label states and quality are batched and counted in the JVM, then written to Redis."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment, Table

from schemas.settings import Settings
from schemas.topics import Topic
from stream.read_model import UPDATE_COLUMNS, Kind, WriteReadModel
from stream.rows import OUT

SINK_TOPICS = (Topic.AGGREGATES,)

_MINUTE_MS = 60_000
_WINDOWS_MS = {"minute": _MINUTE_MS, "hour": 60 * _MINUTE_MS, "day": 24 * 60 * _MINUTE_MS}
# A count's state outlives its window by far; after that no prediction can fall into it, since Kafka stamps them on arrival.
_STATE_TTL = {"minute": "2h", "hour": "2d", "day": "3d"}

_NOTHING = {
    "batch": "ARRAY[CAST(X'' AS BYTES)]",
    **dict.fromkeys(("name", "task", "label", "granularity"), "CAST(NULL AS STRING)"),
    **dict.fromkeys(("start_ms", "total"), "CAST(NULL AS BIGINT)"),
}


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
    views = {Kind.PREDICTIONS: predictions, Kind.LABEL_STATES: label_states, Kind.QUALITY: quality, Kind.HEARTBEAT: heartbeat}
    for name, table in views.items():
        tables.create_temporary_view(name, table)
    # One query, so that each topic is read once for its batches and its counts.
    queries = [_update(kind, batches_query(kind, settings.publish_interval_ms)) for kind in views if kind is not Kind.HEARTBEAT]
    queries += [_update(Kind.HEARTBEAT, f"SELECT * FROM {Kind.HEARTBEAT}"), _update(Kind.COUNT, counts_query())]
    updates = tables.to_changelog_stream(tables.sql_query(" UNION ALL ".join(queries)))
    return updates.process(WriteReadModel(settings), output_type=OUT).uid("publish-read-model").name("read model to Redis")


def _update(kind: Kind, query: str) -> str:
    """Return the query with all of `UPDATE_COLUMNS`; those that its kind does not have are null."""
    own = {Kind.HEARTBEAT: set(), Kind.COUNT: set(UPDATE_COLUMNS) - {"kind", "batch"}}.get(kind, {"batch"})
    columns = [f"'{kind}' AS kind", *(name if name in own else f"{null} AS {name}" for name, null in _NOTHING.items())]
    return f"SELECT {', '.join(columns)} FROM ({query})"


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
    columns = "name, task, label, granularity, start_ms, total"
    return " UNION ALL ".join(f"SELECT {columns} FROM ({query})" for query in (*windows, totals, states))
