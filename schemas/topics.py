"""The topics: names, partitions, retention. The one place that knows them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

MODEL_LOG_PARTITIONS = 8
"""Fixed for ever: a task's log lives in the partition that its name hashes to, and more partitions would move it."""

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""A text of 1 MiB, each byte of it a control character, has 6 MiB as JSON; what a prediction or log entry adds stays below 1 MiB."""

_DAY_MS = 24 * 3600 * 1000


class Topic(StrEnum):
    """A topic's logical name; the name on the broker is `prefix` + this."""

    EVENTS = "events"
    FEEDBACK = "feedback"
    PREDICTIONS = "predictions"
    MODEL_LOG = "model-log"
    MODEL_COMMANDS = "model-commands"
    SHADOW_PREDICTIONS = "shadow-predictions"
    LABEL_STATES = "label-states"
    QUALITY = "quality"
    AGGREGATES = "aggregates"
    TRENDING = "trending"
    ALARMS = "alarms"
    DEAD_LETTERS = "dead-letters"
    AUDIT = "audit"


FROM_OUTSIDE = (Topic.EVENTS, Topic.FEEDBACK, Topic.MODEL_COMMANDS)
"""Topics whose records come from outside, so that they may be refused and become dead letters."""


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a topic is created: number of partitions and broker configuration."""

    topic: Topic
    partitions: int
    config: dict[str, str]


def topic_specs(*, partitions: int) -> list[TopicSpec]:
    """Return the specification of every topic.

    Args:
        partitions: partitions of the high-volume topics (events, feedback, predictions, label-states).
    """
    # Stamped by the broker: one clock, whatever the machines of senders and jobs say. A sender's clock would also decide
    # when its records are deleted (at once, if it says 1970), and a wrong one would have the broker refuse them.
    stamped = {"message.timestamp.type": "LogAppendTime"}
    week = {"retention.ms": str(7 * _DAY_MS)}
    long = {"retention.ms": str(400 * _DAY_MS)}
    month = {"retention.ms": str(30 * _DAY_MS)}
    compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": str(3600 * 1000)}
    for_ever = {"retention.ms": "-1", "retention.bytes": "-1"}
    specs = [
        TopicSpec(topic=Topic.EVENTS, partitions=partitions, config=week | stamped),
        TopicSpec(topic=Topic.FEEDBACK, partitions=partitions, config=month | stamped),
        TopicSpec(topic=Topic.PREDICTIONS, partitions=partitions, config=week | stamped),
        TopicSpec(topic=Topic.LABEL_STATES, partitions=partitions, config=month | stamped),
        TopicSpec(topic=Topic.MODEL_LOG, partitions=MODEL_LOG_PARTITIONS, config=for_ever),
        TopicSpec(topic=Topic.MODEL_COMMANDS, partitions=1, config=month | stamped),
        TopicSpec(topic=Topic.SHADOW_PREDICTIONS, partitions=partitions, config=week | stamped),
        TopicSpec(topic=Topic.QUALITY, partitions=1, config=compacted),
        TopicSpec(topic=Topic.AGGREGATES, partitions=1, config=compacted),
        TopicSpec(topic=Topic.TRENDING, partitions=1, config=compacted),
        TopicSpec(topic=Topic.ALARMS, partitions=1, config=for_ever),
        TopicSpec(topic=Topic.DEAD_LETTERS, partitions=1, config=month | stamped),
        TopicSpec(topic=Topic.AUDIT, partitions=1, config=long | stamped),
    ]
    # Also on a broker whose own limit is lower: one long text must not stop a job.
    return [msgspec.structs.replace(spec, config={**spec.config, "max.message.bytes": str(MAX_RECORD_BYTES)}) for spec in specs]
