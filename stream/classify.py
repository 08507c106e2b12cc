"""The classify topology: events in, predictions and dead letters out, the model log beside."""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream.state import MapStateDescriptor
from pyflink.table import StreamTableEnvironment, Table

from schemas.settings import Settings
from schemas.topics import Topic
from stream.predictor import Predictor
from stream.replicas import LoadReplica, replica_from_log
from stream.rows import OUT_BATCH, unpacked

SINK_TOPICS = (Topic.PREDICTIONS, Topic.DEAD_LETTERS)

_NO_STATE = MapStateDescriptor("unused", Types.STRING(), Types.STRING())
"""A broadcast needs a descriptor; the replicas are rebuilt from the log, so that nothing is kept in it."""


EVENT_COLUMNS = ["record_value", "record_partition", "record_offset", "record_time"]


def classify(
    tables: StreamTableEnvironment, events: Table, model_log: Table, settings: Settings, *, load: LoadReplica = replica_from_log
) -> Table:
    """Return the records for `SINK_TOPICS`, with the columns of `rows.OUT`.

    Args:
        tables: the environment.
        events: batches: an array of each of `EVENT_COLUMNS`.
        model_log: record_value BYTES, the committed log of all tasks.
        settings: the settings.
        load: gives each instance its replicas before the first event.
    """
    log = tables.to_data_stream(model_log.select(model_log.record_value))
    answers = (
        tables.to_data_stream(events)
        .connect(log.broadcast(_NO_STATE))
        .process(Predictor(settings, load), output_type=OUT_BATCH)
        .uid("classify-predict")
        .name("predict")
    )
    return unpacked(tables, answers, name="answers")
