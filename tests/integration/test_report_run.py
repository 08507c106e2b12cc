"""A measured run against a real broker and a real Redis, where a thread plays the jobs: what it does wrong, the report must say."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from schemas.records import (
    Aggregate,
)
from schemas.settings import Settings
from schemas.topics import Topic
from stack import measured_run
from stack.generator import generate
from stack.measured_run import MeasuredRun, Moment
from stack.outbox import DeliveryError
from stack.report import Report
from stack.schedule import Plan
from stack.sender import Replay
from store.committed import read_committed
from store.connect import KafkaUnavailable, connect_redis
from store.labelled_files import Row
from store.writer import RedisWriter
from tests.integration.played_jobs import Jobs, playing

pytestmark = pytest.mark.integration

EVENTS = 300


@pytest.fixture
def settings(kafka: str, topic_prefix: str, redis_part: object) -> Settings:
    return Settings(kafka=kafka, redis=f"redis://{redis_part.address}/0", topic_prefix=topic_prefix, recent_predictions=200)  # type: ignore[attr-defined]  # a fixture's type


def measure(settings: Settings, plan: Plan, meanwhile: Callable[[], None] = lambda: None, ledger: Path | None = None) -> Report:
    run = MeasuredRun(settings=settings, plan=plan, dataset="generated", probe=None, ledger=ledger)
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


ALL_FAULTS = Plan(rate=150, label_fraction=1.0, label_delay_s=0.5, out_of_order=0.2, duplicates=0.2, corrections=0.2)


def test_a_run_with_all_faults_is_exact_and_its_ledger_says_where_everything_lies(settings: Settings, tmp_path: Path) -> None:
    ledger = tmp_path / "deep" / "sent.jsonl"
    with playing(Jobs(settings, abort_every=2)):
        report = measure(settings, ALL_FAULTS, ledger=ledger)
    assert report.complete, report
    assert report.redis_matches_kafka, report.redis_differences
    assert report.events_sent == report.predictions == EVENTS
    assert report.events_records == report.events_records_sent > EVENTS
    assert report.labels_records == report.labels_sent == sum(report.labels.values())
    assert report.labels["trained"] == EVENTS
    assert min(report.labels["duplicate"], report.labels["corrected"]) > 20
    latency = report.latency_ms.event_to_prediction
    assert latency.p99 is not None
    assert 0 < latency.p99 < 20_000

    lines = [msgspec.json.decode(line) for line in ledger.read_bytes().splitlines()]
    assert all(set(line) == {"topic", "partition", "offset", "event_id", "label", "sha256", "ms"} for line in lines)
    said = {(line["topic"], line["partition"], line["offset"]): line for line in lines}
    assert len(said) == len(lines)
    there = {}
    for topic in (Topic.EVENTS, Topic.FEEDBACK):
        for record in (r for batch in read_committed(settings.kafka, settings.topic_prefix + topic) for r in batch):
            value = msgspec.json.decode(record.value)
            there[record.topic, record.partition, record.offset] = {
                "topic": record.topic, "partition": record.partition, "offset": record.offset, "event_id": value["event_id"],
                "label": value.get("label"), "sha256": hashlib.sha256(record.value).hexdigest(), "ms": record.timestamp,
            }  # fmt: skip
    assert said == there


@pytest.mark.parametrize(
    ("fault", "counts"),
    [("relearn_every", (0, 3, 0)), ("mislabel_every", (3, 0, 3)), ("ignore_every", (3, 0, 0))],
)
def test_misbehaviour_with_labels_is_found(settings: Settings, fault: str, counts: tuple[int, int, int]) -> None:
    with playing(Jobs(settings, **{fault: 100})):
        report = measure(settings, Plan(rate=0, label_fraction=1.0, label_delay_s=0.1))
    assert not report.complete
    assert report.unfinished == []
    assert (report.labels_differ, report.learned_twice, report.learned_not_stated) == counts
    assert len(report.label_differences) == counts[0]
    assert all(words.endswith("duplicate, expected trained") for words in report.label_differences)


def test_a_record_of_an_event_that_was_sent_twice_is_predicted_once(settings: Settings) -> None:
    with playing(Jobs(settings, double_every=100)):
        report = measure(settings, Plan(rate=0, label_fraction=0.1, label_delay_s=0.1, duplicates=1.0))
    assert (report.events_records, report.missing_predictions) == (2 * EVENTS, 0)
    assert (report.complete, report.duplicate_predictions) == (False, 6)


def test_a_wrong_redis_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.report_redis.REDIS_PATIENCE_S", 1.0)

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

    def stop(moment: Moment) -> None:
        if moment.sent.events:
            run.stop.set()

    assert run.run(generate(10_000), on_moment=stop, on_skip=lambda _: None) is None
    assert 0 < run.replay.sent.events < 10_000


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
