"""The classify topology: events in, predictions and dead letters out, the model log beside."""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream import DataStream
from pyflink.datastream.state import MapStateDescriptor
from pyflink.table import StreamTableEnvironment, Table

from schemas.settings import Settings
from schemas.topics import Topic
from store.rewind import Rewind
from stream.frames import TRACED, scatter
from stream.predictor import Predictor
from stream.replicas import LoadReplica, replica_from_log
from stream.rows import BYTES

SINK_TOPICS = (Topic.PREDICTIONS, Topic.SHADOW_PREDICTIONS, Topic.DEAD_LETTERS)

_FRAME_ROWS = 64
"""While the predictor works on a frame, the interpreter may belong to it alone."""
_FRAME_MS = 5

_NO_STATE = MapStateDescriptor("unused", Types.STRING(), Types.STRING())
"""A broadcast needs a descriptor; the replicas are rebuilt from the log, so that nothing is kept in it."""


def classify(
    tables: StreamTableEnvironment,
    events: Table,
    model_log: Table,
    settings: Settings,
    *,
    load: LoadReplica = replica_from_log,
    rewind: Rewind | None = None,
) -> DataStream:
    """Return the records for `SINK_TOPICS`, as `rows.OUT`.

    Args:
        events: record_value BYTES, record_partition INT, record_offset BIGINT, record_time BIGINT, traceparent STRING.
        model_log: record_value BYTES, the committed log of all tasks.
        load: gives each instance its replicas before the first event.
        rewind: set if the job starts from a state older than its output.
    """
    columns = (events.record_value, events.record_partition, events.record_offset, events.record_time, events.traceparent)
    arriving = TRACED.gather(
        tables.to_data_stream(events.select(*columns)), most_rows=_FRAME_ROWS, wait_ms=_FRAME_MS, uid="classify-gather"
    )
    log = tables.to_data_stream(model_log.select(model_log.record_value))
    predicted = (
        arriving.connect(log.broadcast(_NO_STATE))
        .process(Predictor(settings, load, rewind), output_type=BYTES)
        .uid("classify-predict")
        .name("predict")
    )
    return scatter(predicted, uid="classify-scatter")
