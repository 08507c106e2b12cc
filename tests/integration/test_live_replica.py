"""A replica that follows a real log while it is asked: the same model as the jobs have, at every entry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from online_model.replica import Replica
from schemas.log import LabelEntry, SnapshotEntry
from schemas.records import Served
from schemas.settings import Settings
from schemas.topics import Topic, topic_specs
from stack.process import Part
from store.artifacts import ArtifactFolder
from store.live_replica import LiveReplica
from store.model_feed import ModelFeed, NotReadYet
from stream.replicas import replica_from_log
from tests.integration.played_learner import PlayedLearner, label, release, snapshot

pytestmark = pytest.mark.integration

TEXTS = ("good day to you", "pay me now", "hello there", "money money", "where is my order", "günstig ☃")


def lesson(seq: int, *, task: str = "default") -> LabelEntry:
    return msgspec.structs.replace(label(seq, task=task), text=f"{TEXTS[seq % 6]} {seq % 11}", label="abc"[seq % 3])


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(kafka=kafka, topic_prefix=topic_prefix, artifacts=str(tmp_path), tasks=("default", "mood"), model_memory_mib=1)


@pytest.fixture
def learner(settings: Settings) -> Iterator[PlayedLearner]:
    learner = PlayedLearner(settings)
    yield learner
    learner.producer.close()


@contextmanager
def following(settings: Settings) -> Iterator[tuple[ModelFeed, Mapping[str, LiveReplica]]]:
    replicas = {task: LiveReplica(settings, task, first_wait_s=0.05) for task in settings.tasks}
    feed = ModelFeed(settings, replicas)
    feed.start()
    try:
        yield feed, replicas
    finally:
        feed.close()
        for replica in replicas.values():
            replica.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def seq_of(live: LiveReplica) -> int:
    """The entry that it stands at; -1 while it is loaded."""
    try:
        with live.held() as replica:
            return replica.seq
    except NotReadYet:
        return -1


def said(live: LiveReplica) -> str:
    with pytest.raises(NotReadYet) as error, live.held():
        pytest.fail("there is a model")
    return str(error.value)


def asked(live: LiveReplica) -> list[Served]:
    with live.held() as replica:
        return [replica.predict(text, top=3) for text in TEXTS]


def test_it_is_the_model_of_the_jobs_from_snapshot_and_log(settings: Settings, learner: PlayedLearner) -> None:
    learner.write(*(lesson(seq) for seq in range(1, 41)))
    data = learner.replica.snapshot()
    sha256 = ArtifactFolder(settings.artifacts).put("default/40.safetensors", data)
    announced = SnapshotEntry(
        seq=41, task="default", time=1, at_seq=40, line="base", address="default/40.safetensors", sha256=sha256, size_bytes=len(data)
    )
    learner.write(announced, *(lesson(seq) for seq in range(42, 61)))
    with following(settings) as (feed, replicas):
        until(lambda: seq_of(replicas["default"]) == 60)
        job = replica_from_log(settings, "default")
        assert asked(replicas["default"]) == [job.predict(text, top=3) for text in TEXTS]
        learner.write(*(lesson(seq) for seq in range(61, 81)))
        until(lambda: seq_of(replicas["default"]) == 80)
        job = replica_from_log(settings, "default", job)
        assert asked(replicas["default"]) == [job.predict(text, top=3) for text in TEXTS]
        assert (seq_of(replicas["mood"]), feed.stale_since, feed.task("default").seq) == (0, None, 80)
        with replicas["default"].held() as replica:
            assert replica.fingerprint() == job.fingerprint() == learner.replica.fingerprint()
            assert replica.quality == job.quality


def test_while_labels_are_learned_every_answer_is_that_of_the_entry_it_names(settings: Settings, learner: PlayedLearner) -> None:
    """One thread learns, this one and another one ask: no answer is made by half an entry, or by another one's scores."""
    entries = [lesson(seq) for seq in range(1, 601)]
    learner.write(*entries[:5])
    with following(settings) as (_, replicas):
        live = replicas["default"]
        until(lambda: seq_of(live) == 5)
        answers: list[tuple[str, Served]] = []

        def ask() -> None:
            number = 0
            while seq_of(live) < len(entries):
                text = TEXTS[number % 6]
                with live.held() as replica:
                    answers.append((text, replica.predict(text, top=3)))
                number += 1

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for at in range(5, len(entries), 20):
            # However busy the machine is, both go on together: the next entries come when those before are answered by.
            until(lambda at=at: bool(answers) and answers[-1][1].model.seq >= at)  # type: ignore[misc]  # a lambda's default is untyped
            learner.write(*entries[at : at + 20])
        for thread in threads:
            thread.join(60)
    replica, by_seq = Replica("default", memory_mib=1), dict[tuple[int, str], Served]()
    for entry in entries:
        replica.apply(entry)
        by_seq |= {(entry.seq, text): replica.predict(text, top=3) for text in TEXTS}
    assert len({served.model.seq for _, served in answers}) > 20, "answers were given while it learned"
    assert all(served == by_seq[served.model.seq, text] for text, served in answers)


def test_a_line_that_cannot_be_had_leaves_the_one_before(settings: Settings, learner: PlayedLearner) -> None:
    learner.write(lesson(1), lesson(2))
    with following(settings) as (_, replicas):
        until(lambda: seq_of(replicas["default"]) == 2)
        learner.write(release(3, "r1-a", time_ms=1), lesson(4))
        until(lambda: seq_of(replicas["default"]) == 4)
        with replicas["default"].held() as replica:
            assert (replica.line, replica.champion) == ("base", "r1-a")


def test_an_outage_of_kafka_passes(kafka_part: Part, topics: Callable[[str, str], None], tmp_path: Path) -> None:
    topics(kafka_part.address, "")
    settings = Settings(kafka=kafka_part.address, artifacts=str(tmp_path), model_memory_mib=1)
    learner = PlayedLearner(settings)
    learner.write(lesson(1), lesson(2))
    with following(settings) as (feed, replicas):
        live = replicas["default"]
        until(lambda: seq_of(live) == 2)
        before, began = asked(live), time.time() * 1000
        kafka_part.stop()
        until(lambda: feed.stale_since is not None)
        assert began - 1000 < (feed.stale_since or 0) <= time.time() * 1000
        assert asked(live) == before
        kafka_part.start()
        kafka_part.wait_healthy()
        learner.write(lesson(3))
        until(lambda: seq_of(live) == 3)
        assert feed.stale_since is None
    learner.producer.close()


def test_without_kafka_it_says_what_to_do(tmp_path: Path) -> None:
    with following(Settings(kafka="127.0.0.1:1", artifacts=str(tmp_path))) as (feed, replicas):
        until(lambda: feed.stale_since is not None)
        assert "MILLRACE_KAFKA" in said(replicas["default"])


def test_a_gap_is_said_until_the_log_is_whole_again(settings: Settings, learner: PlayedLearner) -> None:
    learner.write(lesson(1), lesson(2))
    with following(settings) as (_, replicas):
        live = replicas["default"]
        until(lambda: seq_of(live) == 2)
        learner.replica.seq = 3
        learner.write(lesson(4))
        until(lambda: seq_of(live) == -1)
        until(lambda: "expected 3" in said(live) and "Restore a snapshot" in said(live))
        # As an operator would: a snapshot from beyond the gap.
        data = learner.replica.snapshot()
        sha256 = ArtifactFolder(settings.artifacts).put("default/4.safetensors", data)
        learner.write(msgspec.structs.replace(snapshot(5), address="default/4.safetensors", sha256=sha256, size_bytes=len(data)))
        until(lambda: seq_of(live) == 5)


def test_something_that_is_no_entry_is_said(settings: Settings, learner: PlayedLearner) -> None:
    learner.write(lesson(1))
    with following(settings) as (feed, replicas):
        until(lambda: seq_of(replicas["default"]) == 1)
        learner.producer.send(settings.topic_prefix + Topic.MODEL_LOG, b'{"kind":"label","seq":"x"}', key=b"default").get(10)
        until(lambda: seq_of(replicas["default"]) == -1)
        assert "no entry" in said(replicas["default"])
        assert "Restore the topic" in said(replicas["mood"])
        with pytest.raises(NotReadYet, match="Restore the topic"):
            feed.task("default")


def test_a_log_that_was_replaced_makes_another_model(settings: Settings, learner: PlayedLearner, topic_prefix: str) -> None:
    learner.write(*(lesson(seq) for seq in range(1, 9)))
    with following(settings) as (_, replicas):
        live = replicas["default"]
        until(lambda: seq_of(live) == 8)
        recreate(settings)
        another = PlayedLearner(settings)
        another.write(*(msgspec.structs.replace(lesson(seq), label="z") for seq in range(1, 4)))
        until(lambda: seq_of(live) == 3)
        assert {served.label for served in asked(live)} == {"z"}
        another.producer.close()


def recreate(settings: Settings) -> None:
    """Delete the model log, and create it anew."""
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    [spec] = [spec for spec in topic_specs(partitions=1) if spec.topic == Topic.MODEL_LOG]
    name = settings.topic_prefix + Topic.MODEL_LOG
    admin.delete_topics([name])
    until(lambda: name not in admin.list_topics())
    admin.create_topics([NewTopic(name, num_partitions=spec.partitions, replication_factor=1, topic_configs=spec.config)])
    admin.wait_for_topics([name], timeout_ms=30_000)
    admin.close()
