"""Reading topics from outside, on a real broker: what is open, where the newest lie, and what a Redis or a job gets back from them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from schemas.parsing import encode
from schemas.records import (
    Aggregate,
    DeadLetter,
    FeedbackRef,
    LabelState,
    ModelVersion,
    Position,
    Prediction,
    Quality,
    Reason,
    Scores,
    State,
)
from schemas.settings import Settings, as_environment
from schemas.topics import Topic
from schemas.trending import NameKind, Trending
from stack.answers import Found, RunningCheck
from stack.process import Part
from store import rewind
from store.committed import offsets_at, open_transactions, read_committed, tail_offsets
from store.connect import KafkaUnavailable, connect_redis
from store.refill import refill
from store.rewind import Rewind, classified, decided
from store.writer import RedisWriter

pytestmark = pytest.mark.integration

NOW = int(time.time() * 1000)


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> Settings:
    return Settings(kafka=kafka, topic_prefix=topic_prefix, recent_predictions=20)


@pytest.fixture
def producer(kafka: str) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka)
    yield producer
    producer.close()


def prediction(number: int, *, at: int | None = None) -> Prediction:
    return Prediction(
        event_id=f"e{number}", task="default", text="hi", meta={}, label="a", proba={"a": 1.0}, classes=1,
        model=ModelVersion(line="base", seq=number), event_ts=1, predicted_at=NOW + number if at is None else at,
        source=Position(partition=0, offset=number),
    )  # fmt: skip


def label_state(offset: int, state: State, *, time_ms: int = NOW) -> LabelState:
    at = Position(partition=1, offset=offset, time=NOW)
    return LabelState(event_id=f"e{offset}", task="default", state=state, feedback=FeedbackRef(at=at), label="a", time=time_ms)


def test_an_open_transaction_shows_until_it_ends(kafka: str, topic_prefix: str) -> None:
    topics = [topic_prefix + Topic.PREDICTIONS, topic_prefix + Topic.DEAD_LETTERS]
    producer = KafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}open")
    producer.init_transactions()
    assert open_transactions(kafka, topics) == {}
    producer.begin_transaction()
    producer.send(topics[0], b"x").get(10)
    assert open_transactions(kafka, topics) == {topics[0]: {0: 0}}
    producer.abort_transaction()
    deadline = time.monotonic() + 10
    while open_transactions(kafka, topics):
        assert time.monotonic() < deadline
    producer.close()


def test_the_newest_records_are_found_by_time(settings: Settings, producer: KafkaProducer) -> None:
    # The model log is not stamped by the broker, so that the test can choose the times.
    topic = settings.topic_prefix + Topic.MODEL_LOG
    for number in range(100):
        producer.send(topic, str(number).encode(), partition=3, timestamp_ms=NOW - 100_000 + 1000 * number)
    producer.flush()
    for wanted in (1, 30, 100, 1000):
        start = tail_offsets(settings.kafka, topic, wanted)
        found = [int(record.value) for batch in read_committed(settings.kafka, topic, start) for record in batch]
        assert sorted(found) == list(range(max(0, 100 - wanted), 100))
    assert offsets_at(settings.kafka, topic, NOW - 50_000)[3] == 50
    assert offsets_at(settings.kafka, topic, NOW + 5000)[3] == 100


def test_records_without_an_answer_are_found_up_to_where_the_job_has_read(
    settings: Settings, producer: KafkaProducer, tmp_path: Path
) -> None:
    prefix, since = settings.topic_prefix, int(time.time() * 1000) - 60_000
    for topic, job in ((Topic.EVENTS, "classify"), (Topic.FEEDBACK, "learn")):
        for _ in range(6):
            producer.send(prefix + topic, b"whatever it holds")
        group = KafkaConsumer(bootstrap_servers=settings.kafka, group_id=f"{prefix}millrace-{job}", enable_auto_commit=False)
        group.commit({TopicPartition(prefix + topic, 0): OffsetAndMetadata(5, "", -1)})
        group.close()
    for number in (0, 1, 3, 4):
        at = Position(partition=0, offset=number)
        producer.send(prefix + Topic.PREDICTIONS, encode(prediction(number)))
        state = LabelState(event_id="e", task="default", state=State.TRAINED, feedback=FeedbackRef(at=at), label="a", time=NOW)
        producer.send(prefix + Topic.LABEL_STATES, encode(state))
    producer.flush()
    for job in ("classify", "learn"):
        # In a process of its own, as the supervisor asks; record 5 is not read yet.
        check = RunningCheck(job, since, as_environment(settings), tmp_path / "answers.log")
        while check.running:
            time.sleep(0.1)
        assert check.found() == Found(job, 5, [(0, 2)]), (tmp_path / "answers.log").read_text()


def test_only_what_was_open_before_the_start_is_waited_for(
    settings: Settings, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewind, "SETTLE_S", 1.0)
    topic = settings.topic_prefix + Topic.LABEL_STATES
    producer.send(topic, encode(label_state(1, State.TRAINED))).get(10)
    started = int(time.time() * 1000) + 1
    time.sleep(0.01)
    writer = KafkaProducer(bootstrap_servers=settings.kafka, transactional_id=f"{settings.topic_prefix}open")
    writer.init_transactions()
    writer.begin_transaction()
    writer.send(topic, encode(label_state(2, State.TRAINED))).get(10)
    assert decided(settings, Rewind(since=0, until=started)) == {(1, 1): State.TRAINED}
    with pytest.raises(KafkaUnavailable, match="stays open"):
        decided(settings, Rewind(since=0, until=int(time.time() * 1000) + 1000))
    writer.commit_transaction()
    writer.close()


def test_what_a_job_has_committed_is_read_back(settings: Settings, producer: KafkaProducer) -> None:
    prefix = settings.topic_prefix
    for number in (3, 4):
        producer.send(prefix + Topic.PREDICTIONS, encode(prediction(number)))
    for number, topic in ((5, Topic.EVENTS), (6, Topic.FEEDBACK)):
        letter = DeadLetter(
            topic=prefix + topic, partition=0, offset=number, reason=Reason.NOT_JSON, detail="", length=0, sha256="", head="", time=NOW
        )
        producer.send(prefix + Topic.DEAD_LETTERS, encode(letter))
    stated = [(1, State.WAITING), (2, State.WAITING), (2, State.TRAINED), (3, State.MARKED)]
    for one in (label_state(offset, state) for offset, state in stated):
        producer.send(prefix + Topic.LABEL_STATES, encode(one))
    producer.flush()
    now = int(time.time() * 1000)
    everything = Rewind(since=0, until=now)
    assert classified(settings, everything) == {(0, 3), (0, 4), (0, 5)}
    assert decided(settings, everything) == {(1, 1): State.WAITING, (1, 2): State.TRAINED, (1, 3): State.MARKED}
    later = Rewind(since=now + 60_000, until=now + 60_000)
    assert (classified(settings, later), decided(settings, later)) == (set(), {})


def contents(client: redis.Redis) -> dict[bytes, object]:
    ask: Any = client
    read = {
        b"hash": ask.hgetall,
        b"zset": lambda key: ask.zrange(key, 0, -1, withscores=True),
        b"string": ask.get,
    }
    return {key: read[ask.type(key)](key) for key in ask.scan_iter() if ask.type(key) in read}


def arrived(client: redis.Redis) -> dict[bytes, set[bytes]]:
    """The streams of what has arrived, for those who follow: their places are times of this Redis, their length is roughly kept."""
    ask: Any = client
    return {key: {fields[b"e"] for _, fields in ask.xrange(key)} for key in ask.scan_iter() if ask.type(key) == b"stream"}


def test_an_empty_redis_is_filled_to_what_it_was(settings: Settings, producer: KafkaProducer, redis_part: Part) -> None:
    scores = Scores(labels=1, accuracy=1.0, macro_f1=1.0, log_loss=0.0, per_class={})
    version = ModelVersion(line="base", seq=1)
    quality = [
        Quality(task="default", time=NOW + n, model=version, model_time=NOW, overall=scores, window=scores, window_size=9) for n in range(3)
    ]
    counts = [Aggregate(name="predictions", task="default", label="a", granularity="total", start=0, count=n) for n in (1, 2, 50)]
    counts.append(Aggregate(name="predictions", task="default", label="b", granularity="minute", start=NOW - NOW % 60_000, count=7))
    windows = [
        Trending(task="default", kind=kind, start=NOW + n, end=NOW + n + 9, slide_ms=1, items=[], total=n, total_before=0)
        for n in range(3)
        for kind in get_args(NameKind)
    ]
    states = [label_state(n, State.TRAINED, time_ms=NOW + n) for n in range(50)]
    predictions = [encode(prediction(n)) for n in range(50)]
    with connect_redis(f"redis://{redis_part.address}/0") as first, connect_redis(f"redis://{redis_part.address}/1") as second:
        writer = RedisWriter(first, recent=20, topic_prefix=settings.topic_prefix)
        writer.write_predictions(predictions)
        writer.write_label_states(states)
        writer.write_aggregates(counts)
        writer.write_trending(windows)
        for one in quality:
            writer.write_quality(one)
        written = contents(first)
        again = RedisWriter(second, recent=20, topic_prefix=settings.topic_prefix)
        assert refill(settings, again) == 0, "nothing is in the topics yet"
        sent = {
            Topic.PREDICTIONS: predictions, Topic.LABEL_STATES: map(encode, states), Topic.AGGREGATES: map(encode, counts),
            Topic.QUALITY: map(encode, quality), Topic.TRENDING: map(encode, windows),
        }  # fmt: skip
        for topic, values in sent.items():
            for number, value in enumerate(values):
                producer.send(settings.topic_prefix + topic, value, key=str(number).encode())
        producer.flush()
        newest = {f"e{n}".encode() for n in range(30, 50)}
        assert refill(settings, again) >= 47
        for _ in range(2):
            assert contents(second) == written
            assert arrived(second).keys() == arrived(first).keys()
            assert all(newest <= names for names in arrived(second).values())
            refill(settings, again)
