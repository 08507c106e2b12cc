"""The three jobs: each topology wired to its ends in Kafka."""

from __future__ import annotations

from collections.abc import Callable

from pyflink.table import StreamTableEnvironment

from schemas.settings import Settings
from schemas.topics import Topic
from store.rewind import Rewind
from stream.classify import SINK_TOPICS as CLASSIFY_TOPICS
from stream.classify import classify
from stream.environment import Environment, Job, Placement, configuration, create_environment
from stream.kafka_ends import add_sink, heartbeat_source, raw_source
from stream.learn import SINK_TOPICS as LEARN_TOPICS
from stream.learn import learn
from stream.publish import SINK_TOPICS as PUBLISH_TOPICS
from stream.publish import publish
from stream.uids import assign_uids


def build(job: Job, settings: Settings, placement: Placement) -> Environment:
    """Return an environment that holds the job, ready to be executed."""
    environment = create_environment(configuration(job, settings, placement))
    _BUILDERS[job](environment.tables, settings, placement.rewind)
    assign_uids(environment.streams, job)
    return environment


def _classify(tables: StreamTableEnvironment, settings: Settings, rewind: Rewind | None) -> None:
    events = raw_source(tables, settings, Topic.EVENTS, job=Job.CLASSIFY)
    log = raw_source(tables, settings, Topic.MODEL_LOG, job=Job.CLASSIFY)
    classified = classify(tables, events, log, settings, rewind=rewind)
    add_sink(tables, classified, settings, CLASSIFY_TOPICS, job=Job.CLASSIFY, exactly_once=True)


def _learn(tables: StreamTableEnvironment, settings: Settings, rewind: Rewind | None) -> None:
    feedback = raw_source(tables, settings, Topic.FEEDBACK, job=Job.LEARN)
    predictions = raw_source(tables, settings, Topic.PREDICTIONS, job=Job.LEARN)
    commands = raw_source(tables, settings, Topic.MODEL_COMMANDS, job=Job.LEARN)
    learned = learn(tables, feedback, predictions, commands, settings, rewind=rewind)
    add_sink(tables, learned, settings, LEARN_TOPICS, job=Job.LEARN, exactly_once=True)


def _publish(tables: StreamTableEnvironment, settings: Settings, _: Rewind | None) -> None:
    predictions = raw_source(tables, settings, Topic.PREDICTIONS, job=Job.PUBLISH)
    label_states = raw_source(tables, settings, Topic.LABEL_STATES, job=Job.PUBLISH)
    quality = raw_source(tables, settings, Topic.QUALITY, job=Job.PUBLISH)
    counts = publish(tables, predictions, label_states, quality, heartbeat_source(tables), settings)
    # Absolute values: written twice after a crash they say the same.
    add_sink(tables, counts, settings, PUBLISH_TOPICS, job=Job.PUBLISH, exactly_once=False)


_BUILDERS: dict[Job, Callable[[StreamTableEnvironment, Settings, Rewind | None], None]] = {
    Job.CLASSIFY: _classify,
    Job.LEARN: _learn,
    Job.PUBLISH: _publish,
}
