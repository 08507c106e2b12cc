"""Following topics on a real broker: whole, on as they grow, committed records only, through an outage, and when one is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord

from stack.process import Part
from store.connect import KafkaUnavailable
from store.follow import Follower

pytestmark = pytest.mark.integration


class Taken:
    """Collects what a follower takes."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.forgotten = 0

    def take(self, _: str, records: list[ConsumerRecord]) -> None:
        self.values += [record.value for record in records]

    def forget(self) -> None:
        self.values.clear()
        self.forgotten += 1


def poll_until(follower: Follower, is_done: Callable[[], bool], *, unavailable: bool = False) -> None:
    deadline = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < deadline
        try:
            follower.poll(100)
        except KafkaUnavailable:
            assert unavailable
            time.sleep(0.1)


def send(kafka: str, topic: str, *values: bytes) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka)) as producer:
        for value in values:
            producer.send(topic, value)
        producer.flush()


def test_committed_records_only_also_where_a_transaction_ends_the_topic(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "alarms"
    with closing(KafkaProducer(bootstrap_servers=kafka, transactional_id=topic_prefix)) as producer:
        producer.init_transactions()
        for value, is_kept in ((b"1", True), (b"no", False), (b"2", True)):
            producer.begin_transaction()
            producer.send(topic, value)
            producer.flush()
            producer.commit_transaction() if is_kept else producer.abort_transaction()
    taken = Taken()
    follower = Follower(kafka, [topic, topic_prefix + "quality"], taken.take, taken.forget)
    poll_until(follower, lambda: follower.caught_up)
    assert taken.values == [b"1", b"2"]
    send(kafka, topic, b"3")
    poll_until(follower, lambda: len(taken.values) == 3)
    assert follower.caught_up
    follower.close()


def test_an_outage_and_a_topic_that_was_replaced(kafka_part: Part, topics: Callable[[str, str], None]) -> None:
    kafka = kafka_part.address
    topics(kafka, "")
    send(kafka, "alarms", b"1", b"2", b"3")
    taken = Taken()
    follower = Follower(kafka, ["alarms"], taken.take, taken.forget)
    poll_until(follower, lambda: len(taken.values) == 3)
    kafka_part.stop()
    follower.close()
    with pytest.raises(KafkaUnavailable):
        follower.poll(100)
    kafka_part.start()
    kafka_part.wait_healthy()
    send(kafka, "alarms", b"4")
    poll_until(follower, lambda: taken.values == [b"1", b"2", b"3", b"4"], unavailable=True)
    follower.close()
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        admin.delete_topics(["alarms", *(topic for topic in admin.list_topics() if topic != "alarms" and not topic.startswith("__"))])
    deadline = time.monotonic() + 60
    while True:
        try:
            topics(kafka, "")
            break
        except Exception:  # noqa: BLE001 - whatever the broker says while the old topic is on its way out
            assert time.monotonic() < deadline
            time.sleep(0.2)
    send(kafka, "alarms", b"new")
    poll_until(follower, lambda: taken.values == [b"new"], unavailable=True)
    assert taken.forgotten == 1
    follower.close()
