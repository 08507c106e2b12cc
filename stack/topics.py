"""Topics on the broker: created when they are missing, asked whether they hold anything."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaConnectionError, TopicAlreadyExistsError

from schemas.settings import Settings
from schemas.topics import Topic, topic_specs
from store.committed import begin_offsets, position_of
from store.connect import KafkaUnavailable
from store.kafka_login import client_options

TIMEOUT_MS = 10_000
_LOOK_S = 10.0


@contextlib.contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(**client_options(settings.kafka), bootstrap_timeout_ms=TIMEOUT_MS, request_timeout_ms=TIMEOUT_MS)
    try:
        yield admin
    finally:
        admin.close()


def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing, and return their names.

    Raises:
        kafka.errors.KafkaError: if the broker does not answer, or refuses.
    """
    with _admin(settings) as admin:
        existing = set(admin.list_topics())
        missing = {
            settings.topic_prefix + spec.topic: {"num_partitions": spec.partitions, "replication_factor": -1, "configs": spec.config}
            for spec in topic_specs(partitions=settings.topic_partitions)
            if settings.topic_prefix + spec.topic not in existing
        }
        if missing:
            with contextlib.suppress(TopicAlreadyExistsError):
                admin.create_topics(missing, timeout_ms=TIMEOUT_MS)
            admin.wait_for_topics(list(missing), timeout_ms=TIMEOUT_MS)
        return sorted(missing)


def holds_records(settings: Settings, topic: Topic) -> bool:
    """Whether the topic holds a committed record; what an aborted transaction left behind does not count.

    Raises:
        kafka.errors.KafkaError: if the broker does not answer.
    """
    name = settings.topic_prefix + topic
    consumer = KafkaConsumer(
        **client_options(settings.kafka),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        bootstrap_timeout_ms=TIMEOUT_MS,
        request_timeout_ms=TIMEOUT_MS,
    )
    try:
        partitions = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()]
        ends = consumer.end_offsets(partitions) if partitions else {}
        starts = consumer.beginning_offsets(partitions) if partitions else {}
        filled = [partition for partition in partitions if ends[partition] > starts[partition]]
        return bool(filled) and _finds_one(consumer, filled, ends)
    finally:
        consumer.close()


def is_whole(settings: Settings, topic: Topic) -> bool:
    """Whether every record that was ever written to the topic is still there.

    Raises:
        kafka.errors.KafkaError: if the broker does not answer.
    """
    try:
        return not any(begin_offsets(settings.kafka, settings.topic_prefix + topic).values())
    except KafkaUnavailable as error:
        raise KafkaConnectionError(str(error)) from error


def _finds_one(consumer: KafkaConsumer, partitions: list[TopicPartition], ends: dict[TopicPartition, int]) -> bool:
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    deadline = time.monotonic() + _LOOK_S
    while time.monotonic() < deadline:
        if consumer.poll(timeout_ms=500, max_records=1):
            return True
        if all(position_of(consumer, partition) >= ends[partition] for partition in partitions):
            return False
    # It holds bytes, and they could not be read in time: to assume an empty topic could lose what is in it.
    return True
