"""Reads every topic of a run afresh, as a committed reader sees them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from schemas.topics import Topic
from stack.label_reference import Rules
from stack.tallies import DeadLetters, Events, Labels, ModelLog, Predictions
from store.committed import Ends, read_committed

NEWEST = 2000


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run before the topics are read.

    Attributes:
        ends: where the topics ended when the run began; nothing of the run lies before.
        rules: the waits of labels and events.
        started: epoch seconds of the first send.
        events_sent: different events.
        events_records_sent: their records.
        labels_sent: records of labels.
        unfinished: what was still missing when waiting for it was given up.
    """

    kafka: str
    redis: str
    topic_prefix: str
    recent: int
    rules: Rules
    dataset: str
    task: str
    run_id: str
    ends: Ends
    started: float
    finished: float
    events_sent: int
    events_records_sent: int
    labels_sent: int
    lines_skipped: int
    unfinished: list[str]
    restarts: int | None = None
    peak_rss_mib: float | None = None


class Committed(msgspec.Struct, frozen=True):
    """What the topics hold."""

    dead: DeadLetters
    events: Events
    predictions: Predictions
    labels: Labels
    log: ModelLog


def read_topics(run: Run) -> Committed:
    """Read every topic of the run: predictions, label states and model log from their beginnings, the rest from where the run began.

    Raises:
        KafkaUnavailable: if a topic cannot be read.
    """

    def read(topic: Topic, add: Callable[..., None], *, all_runs: bool = False) -> None:
        for batch in read_committed(run.kafka, run.topic_prefix + topic, None if all_runs else run.ends[topic]):
            add(batch)

    dead = DeadLetters(run.topic_prefix)
    read(Topic.DEAD_LETTERS, dead.add)
    for topic in (Topic.EVENTS, Topic.FEEDBACK):
        dead.places[topic] = {(p, o) for p, o in dead.places[topic] if o >= run.ends[topic].get(p, 0)}
    events = Events(run.run_id, dead.places[Topic.EVENTS])
    read(Topic.EVENTS, events.add)
    predictions = Predictions(run.run_id, task=run.task, newest=min(NEWEST, run.recent), recent=run.recent)
    read(Topic.PREDICTIONS, predictions.add, all_runs=True)
    labels = Labels(run.run_id, dead.places[Topic.FEEDBACK])
    read(Topic.FEEDBACK, labels.add_feedback)
    read(Topic.LABEL_STATES, labels.add_states, all_runs=True)
    log = ModelLog(run.run_id, run.task)
    read(Topic.MODEL_LOG, log.add, all_runs=True)
    return Committed(dead, events, predictions, labels, log)
