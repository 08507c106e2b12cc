"""Where the operators' replicas come from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from online_model.models import TextModel
from online_model.replica import Replica
from schemas.log import Origin
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.lines import build_line
from store.model_log import ModelLogReader, catch_up, load_replica

LoadReplica = Callable[[Settings, str, Replica | None], Replica]
"""Returns a task's model as it is at the end of the committed log; one that stands earlier in it may be given, and is brought up to it."""


def replica_from_log(settings: Settings, task: str, known: Replica | None = None) -> Replica:
    """Return the task's model from the newest snapshot in artifact storage, or from `known`, and the log in Kafka."""
    reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    artifacts = ArtifactFolder(settings.artifacts)
    if known is not None:
        return catch_up(known, reader, artifacts)
    new = Replica.configured(settings, task)
    return load_replica(reader, artifacts, new, allow_pickle=settings.allow_pickle)


_COMMIT_LOOK_S = 0.2


class NotWanted(Exception):
    """Whoever asked for it does not wait any more."""


def line_from_log(settings: Settings, task: str, line: str, origin: Origin, up_to_seq: int, closed: threading.Event) -> TextModel:
    """Return the model of a line as it is after entry `up_to_seq`, from its artifact and the log in Kafka.

    That entry may just have been written by the caller's own job: it is waited for until it is committed.

    Raises:
        NotWanted: if `closed` is set before that.
        ReleaseUnusable: if the line's model cannot be made.
        KafkaUnavailable: if the log cannot be read.
    """
    reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    while not _is_committed(reader, task, up_to_seq):
        if closed.wait(_COMMIT_LOOK_S):
            raise NotWanted
    new = Replica.configured(settings, task)
    return build_line(reader, ArtifactFolder(settings.artifacts), line, origin, new=new, up_to_seq=up_to_seq)


def _is_committed(reader: ModelLogReader, task: str, seq: int) -> bool:
    if seq == 0:
        return True
    with closing(reader.entries(task, after_seq=seq - 1)) as entries:
        return next(entries, None) is not None
