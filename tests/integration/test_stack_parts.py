"""The parts alone: they keep their data over restarts and kills, and a part that dies is started again."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from schemas.settings import Settings
from schemas.topics import Topic
from stack.flink import SLOTS, Cluster, start_flink
from stack.flink_rest import FlinkRest
from stack.part_keeper import PartKeeper
from stack.process import Part
from stack.state import Condition
from stack.topics import create_topics, holds_records

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def end_of(part: Part) -> None:
    assert part.pid is not None
    os.kill(part.pid, signal.SIGKILL)
    assert part.process is not None
    part.process.wait()


def test_redis_keeps_its_data_over_stop_and_kill(redis_part: Part) -> None:
    url = f"redis://{redis_part.address}/0"
    for round_, end in enumerate((Part.stop, end_of)):
        with redis.Redis.from_url(url) as client:
            client.set(f"k{round_}", "v")
            time.sleep(1.5)  # longer than appendfsync everysec
        end(redis_part)
        assert not redis_part.healthy()
        redis_part.start()
        redis_part.wait_healthy()
        with redis.Redis.from_url(url) as client:
            assert client.get(f"k{round_}") == b"v"


def test_the_broker_keeps_its_topics_and_records_over_stop_and_kill(kafka_part: Part) -> None:
    settings = Settings(kafka=kafka_part.address)
    assert set(create_topics(settings)) == set(Topic)
    assert create_topics(settings) == []
    for count, end in enumerate((Part.stop, end_of), 1):
        producer = KafkaProducer(bootstrap_servers=settings.kafka)
        producer.send(Topic.EVENTS, b"x").get(timeout=10)
        producer.close()
        end(kafka_part)
        assert not kafka_part.healthy()
        kafka_part.start()
        kafka_part.wait_healthy()
        consumer = KafkaConsumer(bootstrap_servers=settings.kafka)
        partitions = [TopicPartition(Topic.EVENTS, number) for number in consumer.partitions_for_topic(Topic.EVENTS)]
        assert sum(consumer.end_offsets(partitions).values()) == count
        consumer.close()
    assert create_topics(settings) == []


def test_only_committed_records_count_as_output(kafka: str) -> None:
    settings = Settings(kafka=kafka, topic_prefix=f"t{uuid.uuid4().hex[:8]}-", topic_partitions=1)
    create_topics(settings)
    name = settings.topic_prefix + Topic.PREDICTIONS
    assert not holds_records(settings, Topic.PREDICTIONS)
    producer = KafkaProducer(bootstrap_servers=kafka, transactional_id=name)
    producer.init_transactions()
    for end, expected in ((producer.abort_transaction, False), (producer.commit_transaction, True)):
        producer.begin_transaction()
        producer.send(name, b"x").get(timeout=10)
        end()
        assert holds_records(settings, Topic.PREDICTIONS) is expected
    producer.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = start_flink(tmp_path / "flink")
    yield found
    found.stop()


def test_flink_gives_its_slots_again_after_a_killed_task_manager(cluster: Cluster) -> None:
    rest = FlinkRest(cluster.rest)
    assert rest.slots() == SLOTS
    before = rest.task_managers()
    end_of(cluster.taskmanager)
    cluster.taskmanager.start()
    cluster.taskmanager.wait_healthy()
    assert not before & (rest.task_managers() - before)
    assert rest.jobs() == {}


def sleeper(tmp_path: Path, code: str, healthy: Callable[[], bool] = lambda: True) -> Part:
    return Part("sleeper", lambda: [sys.executable, "-c", code], healthy, tmp_path / "sleeper.log", 0)


def ticked(keeper: PartKeeper, condition: Condition, *, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while keeper.state.state is not condition:
        assert time.monotonic() < deadline, keeper.state
        keeper.tick(time.time())
        time.sleep(0.02)


def test_a_part_that_dies_is_started_again_and_says_why_it_died(tmp_path: Path) -> None:
    part = sleeper(tmp_path, "import time; print('Error: so it is', flush=True); time.sleep(60)")
    keeper = PartKeeper(part, ready=lambda: True, now=time.time())
    ticked(keeper, Condition.HEALTHY)
    first = part.pid
    time.sleep(0.5)
    end_of(part)
    ticked(keeper, Condition.RESTARTING)
    ticked(keeper, Condition.HEALTHY)
    assert part.pid not in (None, first)
    assert keeper.state.restarts == 1
    assert keeper.state.error == "ended (exit code -9): Error: so it is"
    part.stop()


def test_a_part_that_dies_again_and_again_is_reported_and_tried_further(tmp_path: Path) -> None:
    keeper = PartKeeper(sleeper(tmp_path, "raise SystemExit('Error: no')", lambda: False), ready=lambda: True, now=time.time())
    ticked(keeper, Condition.FAILED, timeout_s=60)
    assert keeper.state.restarts == 4
    assert "Error: no" in str(keeper.state.error)
    starts = keeper.state.restarts
    keeper.tick(time.time() + 10)
    assert keeper.state.restarts == starts + 1
    keeper.part.stop()


def test_a_part_waits_for_what_it_needs(tmp_path: Path) -> None:
    ready = False
    keeper = PartKeeper(sleeper(tmp_path, "import time; time.sleep(60)"), ready=lambda: ready, now=time.time())
    keeper.tick(time.time())
    assert keeper.state.state is Condition.WAITING
    ready = True
    ticked(keeper, Condition.HEALTHY)
    keeper.part.stop()


def test_a_part_that_hangs_is_reported(tmp_path: Path) -> None:
    answers = True
    part = sleeper(tmp_path, "import time; time.sleep(60)", lambda: answers)
    keeper = PartKeeper(part, ready=lambda: True, now=time.time())
    ticked(keeper, Condition.HEALTHY)
    answers = False
    for step in range(5):
        keeper.tick(time.time() + 10 * step)
    assert keeper.state.state is Condition.UNHEALTHY
    assert keeper.state.error == "runs, but does not answer"
    part.stop()
