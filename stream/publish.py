"""The publish topology: predictions, label states and quality are batched and counted in the JVM, then written to Redis."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment, Table

from schemas.settings import Settings
from schemas.topics import Topic
from stream.frames import scatter
from stream.read_model import UPDATE_COLUMNS, UPDATES, Kind, WriteReadModel
from stream.rows import BYTES
from stream.trending import count_names

SINK_TOPICS = (Topic.AGGREGATES, Topic.TRENDING)

_FRAME_ROWS = 1000
_MINUTE_MS = 60_000
_WINDOWS_MS = {"hour": 60 * _MINUTE_MS, "day": 24 * 60 * _MINUTE_MS}
MINUTES = "prediction_minutes"
SCORE_MINUTES = "score_minutes"
# The clock of a state goes on while nothing runs. After a stop, predictions of before it are counted on: on an expired state they would be
# all that their window has. Hours and days outlive the topic, whose records are kept for a week; a minute whose state is gone comes to
# its hour as new, so only that minute is wrong, after a stop of more than a day.
_STATE_TTL = {"minute": "1d", "hour": "8d", "day": "8d"}

_NOTHING = {
    "record_value": "CAST(NULL AS BYTES)",
    **dict.fromkeys(("name", "task", "label", "granularity"), "CAST(NULL AS STRING)"),
    **dict.fromkeys(("start_ms", "total"), "CAST(NULL AS BIGINT)"),
}
_RECORD = {"record_value": "record_value"}
_OWN: dict[Kind, dict[str, str]] = {
    Kind.HEARTBEAT: {},
    Kind.COUNT: {name: name for name in UPDATE_COLUMNS if name not in {"kind", "record_value"}},
    # When and where it came is for the windows of names.
    Kind.PREDICTIONS: {**_RECORD, "task": "task", "start_ms": "record_time", "total": "CAST(record_partition AS BIGINT)"},
}


def publish(
    tables: StreamTableEnvironment, predictions: Table, label_states: Table, quality: Table, heartbeat: Table, settings: Settings
) -> DataStream:
    """Write everything to Redis, and return the counts and trending names for `SINK_TOPICS`, as `rows.OUT`.

    Args:
        predictions: committed: record_value BYTES, record_partition INT, record_time BIGINT, task STRING, label STRING, arrived
            (processing time).
        label_states: the same; label is the state.
        quality: record_value BYTES, arrived.
        heartbeat: a row now and then, whatever it holds: with each one the job says that it lives.
    """
    views = {Kind.PREDICTIONS: predictions, Kind.LABEL_STATES: label_states, Kind.QUALITY: quality, Kind.HEARTBEAT: heartbeat}
    for name, table in views.items():
        tables.create_temporary_view(name, table)
    tables.create_temporary_view(MINUTES, tables.sql_query(minutes_query("predictions")))
    tables.create_temporary_view("scores", tables.sql_query(scores_query()))
    tables.create_temporary_view(SCORE_MINUTES, tables.sql_query(minutes_query("scores")))
    # One query, so that each topic is read once for its batches and its counts.
    queries = [_update(kind, f"SELECT * FROM {kind}") for kind in views] + [_update(Kind.COUNT, counts_query())]
    changes = tables.to_changelog_stream(tables.sql_query(" UNION ALL ".join(queries)))
    updates = UPDATES.gather(
        count_names(changes, settings) if settings.trending else changes,
        most_rows=_FRAME_ROWS,
        wait_ms=settings.publish_interval_ms,
        uid="publish-gather",
    )
    counts = updates.process(WriteReadModel(settings), output_type=BYTES).uid("publish-read-model").name("read model to Redis")
    return scatter(counts, uid="publish-scatter")


def _update(kind: Kind, query: str) -> str:
    """Return the query with all of `UPDATE_COLUMNS`; those that its kind does not have are null."""
    columns = [f"'{kind}' AS kind", *({**_NOTHING, **_OWN.get(kind, _RECORD)}[name] + f" AS {name}" for name in UPDATE_COLUMNS[1:])]
    return f"SELECT {', '.join(columns)} FROM ({query})"


def minutes_query(view: str) -> str:
    """Return the query of the rows of a view by label and minute."""
    start = f"record_time - MOD(record_time, {_MINUTE_MS})"
    return (
        f"SELECT {_lifetime('minute', view)} task, label, {start} AS start_ms, COUNT(*) AS total FROM {view} GROUP BY task, label, {start}"
    )


def scores_query() -> str:
    """Return the query of the labels that were scored: their label is whether the served prediction was correct."""
    state = "DECODE(record_value, 'UTF-8')"
    # Most states have no score, and need no parsing: no text can hold this, since its quotes are escaped.
    scored = (
        f"SELECT task, record_time, JSON_VALUE({state}, '$.score.correct') AS correct FROM label_states WHERE {state} LIKE '%\"score\":{{%'"
    )
    return f"SELECT task, record_time, CASE WHEN correct = 'true' THEN 'correct' ELSE 'wrong' END AS label FROM ({scored})"


def _lifetime(granularity: str, view: str) -> str:
    return f"/*+ STATE_TTL('{view}' = '{_STATE_TTL[granularity]}') */" if granularity in _STATE_TTL else ""


def counts_query() -> str:
    """Return the query of all counts: predictions and scores by label and window of Kafka's time, labels by their present state.

    Predictions and scores are counted once, by minute; the larger windows and the total are sums of that.
    """
    previous = "JSON_VALUE(DECODE(record_value, 'UTF-8'), '$.previous')"
    states = (
        "SELECT 'label_states' AS name, task, label, 'total' AS granularity, CAST(0 AS BIGINT) AS start_ms, SUM(delta) AS total FROM ("
        " SELECT task, label, CAST(1 AS BIGINT) AS delta FROM label_states"
        f" UNION ALL SELECT task, {previous} AS label, CAST(-1 AS BIGINT) AS delta FROM label_states WHERE {previous} IS NOT NULL"
        ") GROUP BY task, label"
    )
    columns = "name, task, label, granularity, start_ms, total"
    # What is new comes last: the ids of the operators before it stay.
    queries = [*_windows("predictions", MINUTES), states, *_windows("scores", SCORE_MINUTES)]
    return " UNION ALL ".join(f"SELECT {columns} FROM ({query})" for query in queries)


def _windows(name: str, minutes: str) -> list[str]:
    """Return the queries of the counts of all windows, from those by minute."""
    starts = {granularity: f"start_ms - MOD(start_ms, {size})" for granularity, size in _WINDOWS_MS.items()}
    sums = [
        f"SELECT {_lifetime(granularity, minutes)} '{name}' AS name, task, label, '{granularity}' AS granularity,"
        f" {start} AS start_ms, SUM(total) AS total FROM {minutes} GROUP BY task, label{'' if granularity == 'total' else ', ' + start}"
        for granularity, start in {**starts, "total": "CAST(0 AS BIGINT)"}.items()
    ]
    return [f"SELECT '{name}' AS name, task, label, 'minute' AS granularity, start_ms, total FROM {minutes}", *sums]
