"""Where the operators' replicas come from."""

from __future__ import annotations

from collections.abc import Callable

from online_model.replica import Replica
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.model_log import ModelLogReader, load_replica

LoadReplica = Callable[[Settings, str], Replica]
"""Returns a task's model as it is at the end of the committed log."""


def replica_from_log(settings: Settings, task: str) -> Replica:
    """Return the task's model from the newest snapshot in artifact storage and the log in Kafka."""
    reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    artifacts = ArtifactFolder(settings.artifacts)
    return load_replica(reader, artifacts, task, memory_mib=settings.model_memory_mib, quality_window=settings.quality_window)
