"""A measured run against a real broker and a real Redis, where a thread plays the jobs: what it does wrong, the report must say."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import msgspec
import pytest
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from schemas.parsing import RejectRecord, dead_letter, encode, parse_event, parse_feedback
from schemas.records import (
    Aggregate,
    Feedback,
    FeedbackRef,
    LabelEntry,
    LabelState,
    ModelVersion,
    Position,
    Prediction,
    Score,
    Served,
    State,
)
from schemas.settings import Settings
from schemas.topics import Topic
from stack import measured_run
from stack.committed import open_consumer, partitions_of, read_committed
from stack.generator import generate
from stack.measured_run import MeasuredRun
from stack.report import Report
from stack.sender import DeliveryError, Plan, Replay
from stack.source_files import Row
from store.connect import KafkaUnavailable, connect_redis
from store.writer import RedisWriter

pytestmark = pytest.mark.integration

EVENTS = 300
WIDTHS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "total": 10**15}


class Jobs:
    """Plays classify, learn and publish: each poll is one transaction. Predicts the last label it was taught."""

    def __init__(self, settings: Settings, *, skip_every: int = 0, double_every: int = 0, abort_every: int = 0) -> None:
        self.settings = settings
        self.skip_every, self.double_every, self.abort_every = skip_every, double_every, abort_every
        self.seq, self.known, self.polls = 0, "", 0
        self.predicted: dict[str, Prediction] = {}
        self.waiting: list[tuple[Feedback, FeedbackRef]] = []
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.states: Counter[str] = Counter()

    def topic(self, topic: Topic) -> str:
        return self.settings.topic_prefix + topic

    def run(self, stop: threading.Event) -> None:
        kafka = self.settings.kafka
        producer = KafkaProducer(bootstrap_servers=kafka, transactional_id=self.settings.topic_prefix + "jobs", linger_ms=5)
        producer.init_transactions()
        with (
            closing(producer),
            closing(open_consumer(kafka)) as source,
            closing(open_consumer(kafka)) as published,
            connect_redis(self.settings.redis) as client,
        ):
            for consumer, topics in ((source, (Topic.EVENTS, Topic.FEEDBACK)), (published, (Topic.PREDICTIONS,))):
                parts = [part for t in topics for part in partitions_of(consumer, self.topic(t))]
                consumer.assign(parts)
                consumer.seek_to_beginning(*parts)
            writer = RedisWriter(client, recent=self.settings.recent_predictions, topic_prefix=self.settings.topic_prefix)
            while not stop.is_set():
                records = [r for batch in source.poll(timeout_ms=50).values() for r in batch]
                self.transact(producer, writer, records)
                self.publish(writer, [r for batch in published.poll(timeout_ms=50).values() for r in batch])

    def transact(self, producer: KafkaProducer, writer: RedisWriter, records: list[ConsumerRecord]) -> None:
        self.polls += 1
        if self.abort_every and records and self.polls % self.abort_every == 0:
            producer.begin_transaction()
            for record in records:
                producer.send(self.topic(Topic.PREDICTIONS), b"never committed, and no JSON", key=record.key)
            producer.flush()
            producer.abort_transaction()
        producer.begin_transaction()
        states: list[LabelState] = []
        for record in records:
            at = Position(partition=record.partition, offset=record.offset, time=record.timestamp)
            if record.topic == self.topic(Topic.EVENTS):
                self.classify(producer, record.value, at)
            else:
                states += self.read_label(producer, record.value, at)
        states += self.learn(producer)
        for state in states:
            producer.send(self.topic(Topic.LABEL_STATES), encode(state), key=(state.event_id or "").encode())
        producer.flush()
        producer.commit_transaction()
        self.count_states(writer, states)

    def classify(self, producer: KafkaProducer, value: bytes | None, at: Position) -> None:
        try:
            event = parse_event(value, tasks={"default"}, max_text_bytes=10**6)
        except RejectRecord as error:
            letter = dead_letter(value, topic=self.topic(Topic.EVENTS), at=at, error=error, now=at.time)
            producer.send(self.topic(Topic.DEAD_LETTERS), encode(letter))
            return
        number = int(event.event_id.split("-")[1])
        prediction = Prediction(
            label=self.known or None,
            proba={self.known: 1.0} if self.known else {},
            classes=int(bool(self.known)),
            model=ModelVersion(line="base", seq=self.seq),
            event_id=event.event_id,
            task=event.task,
            text=event.text,
            meta=event.meta,
            event_ts=at.time,
            predicted_at=int(time.time() * 1000),
            source=at,
        )
        self.predicted[event.event_id] = prediction
        if self.skip_every and number % self.skip_every == 0:
            return
        for _ in range(2 if self.double_every and number % self.double_every == 0 else 1):
            producer.send(self.topic(Topic.PREDICTIONS), encode(prediction), key=event.event_id.encode())

    def read_label(self, producer: KafkaProducer, value: bytes | None, at: Position) -> Iterator[LabelState]:
        ref = FeedbackRef(at=at)
        try:
            feedback = parse_feedback(value, tasks={"default"}, max_text_bytes=10**6)
        except RejectRecord as error:
            letter = dead_letter(value, topic=self.topic(Topic.FEEDBACK), at=at, error=error, now=at.time)
            producer.send(self.topic(Topic.DEAD_LETTERS), encode(letter))
            yield LabelState(event_id=None, task=None, state=State.REJECTED, feedback=ref, time=at.time)
            return
        self.waiting.append((feedback, ref))
        yield LabelState(event_id=feedback.event_id, task="default", state=State.WAITING, feedback=ref, time=at.time)

    def learn(self, producer: KafkaProducer) -> Iterator[LabelState]:
        waiting, self.waiting = self.waiting, []
        for feedback, ref in waiting:
            prediction = self.predicted.get(feedback.event_id)
            if prediction is None:
                self.waiting.append((feedback, ref))
                continue
            self.seq += 1
            self.known = feedback.label
            served = Served(label=prediction.label, proba=prediction.proba, classes=prediction.classes, model=prediction.model)
            entry = LabelEntry(
                seq=self.seq,
                task="default",
                time=ref.at.time,
                event_id=feedback.event_id,
                text=prediction.text,
                meta=prediction.meta,
                label=feedback.label,
                weight=1.0,
                served=served,
                feedback=ref,
            )
            producer.send(self.topic(Topic.MODEL_LOG), encode(entry), key=b"default")
            score = Score(correct=served.label == feedback.label, log_loss=0.0)
            yield LabelState(
                event_id=feedback.event_id,
                task="default",
                state=State.TRAINED,
                previous=State.WAITING,
                feedback=ref,
                seq=self.seq,
                score=score,
                time=ref.at.time,
            )

    def count_states(self, writer: RedisWriter, states: list[LabelState]) -> None:
        for state in states:
            self.states[state.state] += 1
            if state.previous:
                self.states[state.previous] -= 1
        writer.write_label_states(states)
        writer.write_aggregates(
            [
                Aggregate(name="label_states", task="default", label=label, granularity="total", start=0, count=count)
                for label, count in self.states.items()
            ]
        )

    def publish(self, writer: RedisWriter, records: list[ConsumerRecord]) -> None:
        batch = [msgspec.json.decode(record.value, type=Prediction) for record in records]
        for record, prediction in zip(records, batch, strict=True):
            for granularity, width in WIDTHS.items():
                self.counts[prediction.label or "", granularity, record.timestamp - record.timestamp % width] += 1
        writer.write_predictions([record.value for record in records])
        writer.write_aggregates(
            [
                Aggregate(name="predictions", task="default", label=label, granularity=granularity, start=start, count=count)  # type: ignore[arg-type]  # names come from a loop
                for (label, granularity, start), count in self.counts.items()
            ]
        )


@contextmanager
def playing(jobs: Jobs) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=jobs.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def settings(kafka: str, topic_prefix: str, redis_part: object) -> Settings:
    return Settings(kafka=kafka, redis=f"redis://{redis_part.address}/0", topic_prefix=topic_prefix, recent_predictions=200)  # type: ignore[attr-defined]  # a fixture's type


def measure(settings: Settings, plan: Plan, meanwhile: Callable[[], None] = lambda: None) -> Report:
    run = MeasuredRun(settings=settings, plan=plan, dataset="generated", probe=None)
    called: list[bool] = []

    def once(_: object) -> None:
        if not called:
            called.append(True)
            meanwhile()

    report = run.run(generate(EVENTS), on_moment=once, on_skip=lambda _: None)
    assert report is not None
    return report


def test_a_good_run_is_reported_as_good(settings: Settings) -> None:
    def send_rubbish() -> None:
        with closing(KafkaProducer(bootstrap_servers=settings.kafka)) as producer:
            producer.send(settings.topic_prefix + Topic.EVENTS, b'{"event_id": 5}')
            producer.send(settings.topic_prefix + Topic.FEEDBACK, b"\xff")
            producer.flush()

    with playing(Jobs(settings, abort_every=2)):
        report = measure(settings, Plan(rate=80, label_fraction=0.5, label_delay_s=0.1), send_rubbish)
        again = measure(settings, Plan(rate=0, label_fraction=1.0, label_delay_s=0.3, limit=50))
    assert report.complete, report
    assert report.redis_matches_kafka, report.redis_differences
    assert (report.events_sent, report.predictions, report.dead_letters) == (EVENTS, EVENTS, 2)
    assert sum(report.labels.values()) == report.labels_sent + 1
    assert (report.labels["trained"], report.labels["rejected"]) == (report.labels_sent, 1)
    assert report.model.seq == report.labels_sent
    for latency in (report.latency_ms.event_to_prediction, report.latency_ms.event_to_redis, report.latency_ms.label_to_model):
        assert latency.p50 is not None
        assert latency.p99 is not None
        assert 0 < latency.p50 <= latency.p99 < 20_000
    # The second run on the same topics sees its own events only, and the model of both.
    assert again.complete, again
    assert again.redis_matches_kafka, again.redis_differences
    assert (again.predictions, again.dead_letters, again.labels["trained"]) == (50, 0, 50)
    assert again.model.seq == report.labels_sent + 50


def test_lost_and_doubled_predictions_are_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_run, "PATIENCE_S", 3.0)
    with playing(Jobs(settings, skip_every=100, double_every=50)):
        report = measure(settings, Plan(rate=0, label_fraction=0.1, label_delay_s=0.1))
    assert not report.complete
    assert report.missing_predictions == 3
    assert report.duplicate_predictions == 3
    assert report.unfinished == ["3 of 300 events have no prediction yet"]


def test_a_wrong_redis_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.report.REDIS_PATIENCE_S", 1.0)

    def spoil() -> None:
        with connect_redis(settings.redis) as client:
            writer = RedisWriter(client, recent=200, topic_prefix=settings.topic_prefix)
            writer.write_aggregates([Aggregate(name="predictions", task="default", label="ghost", granularity="total", start=0, count=7)])

    with playing(Jobs(settings)):
        report = measure(settings, Plan(rate=0, label_fraction=0.1, label_delay_s=0.1), spoil)
    assert report.complete
    assert not report.redis_matches_kafka
    assert report.redis_differences == ["total predictions of 'ghost' from 0: 0 in Kafka, 7 in Redis"]


def test_a_stopped_run_has_no_report(settings: Settings) -> None:
    run = MeasuredRun(settings=settings, plan=Plan(rate=10), dataset="generated", probe=None)
    threading.Timer(2.0, run.stop.set).start()
    began = time.monotonic()
    assert run.run(generate(10_000), on_moment=lambda _: None, on_skip=lambda _: None) is None
    assert time.monotonic() - began < 15
    assert 0 < run.replay.sent.events < 100


def test_missing_topics_and_brokers_give_a_message(kafka: str) -> None:
    with pytest.raises(KafkaUnavailable, match="no topic"):
        Replay(kafka=kafka, topic_prefix="none-", plan=Plan()).send(generate(1))
    with pytest.raises(KafkaUnavailable, match="does not answer"):
        Replay(kafka="127.0.0.1:9", topic_prefix="", plan=Plan()).send(generate(1))


def test_a_record_that_kafka_refuses_is_an_error(settings: Settings) -> None:
    with pytest.raises(DeliveryError):
        Replay(kafka=settings.kafka, topic_prefix=settings.topic_prefix, plan=Plan()).send([Row("x" * 20_000_000)])


def test_reading_ends_before_an_open_transaction(settings: Settings) -> None:
    topic = settings.topic_prefix + Topic.PREDICTIONS
    producer = KafkaProducer(bootstrap_servers=settings.kafka, transactional_id=settings.topic_prefix)
    producer.init_transactions()
    with closing(producer):
        for commit in (True, False):
            producer.begin_transaction()
            producer.send(topic, b"1")
            producer.flush()
            (producer.commit_transaction if commit else producer.abort_transaction)()
        producer.begin_transaction()
        producer.send(topic, b"2")
        producer.flush()
        assert [r.value for batch in read_committed(settings.kafka, topic) for r in batch] == [b"1"]
        producer.commit_transaction()
        assert [r.value for batch in read_committed(settings.kafka, topic) for r in batch] == [b"1", b"2"]
        assert [r.value for batch in read_committed(settings.kafka, topic, {0: 1}) for r in batch] == [b"2"]
