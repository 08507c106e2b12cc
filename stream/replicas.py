"""Where the operators' replicas come from."""

from __future__ import annotations

from collections.abc import Callable

from online_model.replica import Replica
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
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
