"""The learn topology: feedback meets predictions in the JVM, the ledger decides, the learner sequences and learns."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment, Table

from schemas.settings import Settings
from schemas.topics import Topic
from store.rewind import Rewind
from stream.changes import BuildLine
from stream.commands import REJECTED as REJECTED_COMMANDS
from stream.commands import ReadCommands
from stream.feedback import REJECTED, ReadFeedback
from stream.frames import SOURCE, key_by_columns, scatter
from stream.learner import GIVEN, Learner
from stream.ledger_operator import Ledger
from stream.replicas import LoadReplica, line_from_log, replica_from_log
from stream.rows import BYTES, DECISION, INCOMING, MATCH, as_table

SINK_TOPICS = (Topic.MODEL_LOG, Topic.LABEL_STATES, Topic.QUALITY, Topic.ALARMS, Topic.DEAD_LETTERS)

_FRAME_ROWS = 64
_FRAME_MS = 5


def learn(
    tables: StreamTableEnvironment,
    feedback: Table,
    predictions: Table,
    commands: Table,
    settings: Settings,
    *,
    load: LoadReplica = replica_from_log,
    build: BuildLine = line_from_log,
    rewind: Rewind | None = None,
) -> DataStream:
    """Return the records for `SINK_TOPICS`, as `rows.OUT`.

    Args:
        feedback: record_value BYTES, record_partition INT, record_offset BIGINT, record_time BIGINT.
        predictions: committed ones: record_key STRING (event id), task STRING, record_value BYTES, arrived (processing time).
        commands: columns as those of feedback.
        load: gives the learner its replicas.
        build: gives it the models of lines that come in.
        rewind: set if the job starts from a state older than its output.
    """
    records = _frames(tables, feedback, uid="learn-gather")
    labels = records.process(ReadFeedback(settings, rewind), output_type=INCOMING).uid("learn-feedback").name("read feedback")
    matched = tables.to_changelog_stream(_match(tables, labels, predictions))
    decisions = (
        key_by_columns(matched, MATCH, 2, uid="learn-ledger-key")
        .process(Ledger(settings), output_type=DECISION)
        .uid("learn-ledger")
        .name("label ledger")
    )
    asked = (
        _frames(tables, commands, uid="learn-commands-gather")
        .process(ReadCommands(settings, rewind), output_type=DECISION)
        .uid("learn-commands")
        .name("read commands")
    )
    learned = (
        GIVEN.gather_by_key(decisions.union(asked), most_rows=_FRAME_ROWS, wait_ms=_FRAME_MS, uid="learn-learner-gather")
        .process(Learner(settings, load, build, rewind), output_type=BYTES)
        .uid("learn-learner")
        .name("sequence, score, learn")
        .set_parallelism(1)
    )
    return scatter(learned, uid="learn-scatter").union(labels.get_side_output(REJECTED), asked.get_side_output(REJECTED_COMMANDS))


def _frames(tables: StreamTableEnvironment, records: Table, *, uid: str) -> DataStream:
    columns = (records.record_value, records.record_partition, records.record_offset, records.record_time)
    return SOURCE.gather(tables.to_data_stream(records.select(*columns)), most_rows=_FRAME_ROWS, wait_ms=_FRAME_MS, uid=uid)


def _match(tables: StreamTableEnvironment, labels: DataStream, predictions: Table) -> Table:
    """Bring each label together with the first prediction of its event; a label whose event is not here comes with null first.

    One state an event, written once by each record: a join would keep two, and search one of them for every prediction.
    """
    tables.create_temporary_view("incoming_labels", as_table(tables, labels, INCOMING.get_field_names()))
    tables.create_temporary_view("all_predictions", predictions)
    return tables.sql_query(
        "SELECT task, event_id, incoming, prediction FROM ("
        " SELECT task, event_id, LAST_VALUE(incoming) AS incoming, FIRST_VALUE(prediction) AS prediction FROM ("
        "  SELECT task, event_id, incoming, CAST(NULL AS BYTES) AS prediction FROM incoming_labels"
        "  UNION ALL"
        "  SELECT task, record_key AS event_id, CAST(NULL AS BYTES) AS incoming, record_value AS prediction FROM all_predictions"
        " ) GROUP BY task, event_id"
        ") WHERE incoming IS NOT NULL"
    )
