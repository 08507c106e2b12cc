"""Plays the jobs for the tests of sending and reporting: well, or badly on purpose."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import msgspec
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from schemas.log import LabelEntry
from schemas.parsing import RejectRecord, dead_letter, encode, parse_event, parse_feedback
from schemas.records import Aggregate, Feedback, FeedbackRef, LabelState, ModelVersion, Position, Prediction, Score, Served, State
from schemas.settings import Settings
from schemas.topics import Topic
from store.committed import open_consumer, partitions_of
from store.connect import RedisUnavailable, connect_redis
from store.writer import RedisWriter

WIDTHS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "total": 10**15}


class Jobs:
    """Plays classify, learn and publish: each poll is one transaction. Predicts the last label it was taught.

    Misbehaves on purpose with each so many-th event: does not predict a record, predicts one twice, learns a label twice, learns
    one that it calls a duplicate, or calls a first label a duplicate.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        skip_every: int = 0,
        double_every: int = 0,
        abort_every: int = 0,
        relearn_every: int = 0,
        mislabel_every: int = 0,
        ignore_every: int = 0,
    ) -> None:
        self.settings = settings
        self.skip_every, self.double_every, self.abort_every = skip_every, double_every, abort_every
        self.relearn_every, self.mislabel_every, self.ignore_every = relearn_every, mislabel_every, ignore_every
        self.standing: dict[str, str] = {}
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
        self.predicted.setdefault(event.event_id, prediction)
        if hits(self.skip_every, event.event_id):
            return
        for _ in range(2 if hits(self.double_every, event.event_id) else 1):
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
        ref = FeedbackRef(
            at=at, feedback_id=feedback.feedback_id, source=feedback.source, reviewer=feedback.reviewer, verdict=feedback.verdict
        )  # fmt: skip
        self.waiting.append((feedback, ref))
        yield LabelState(event_id=feedback.event_id, task="default", state=State.WAITING, feedback=ref, time=at.time)

    def learn(self, producer: KafkaProducer) -> Iterator[LabelState]:
        waiting, self.waiting = self.waiting, []
        for feedback, ref in waiting:
            prediction = self.predicted.get(feedback.event_id)
            if prediction is None:
                self.waiting.append((feedback, ref))
                continue
            if feedback.verdict == "wrong":
                yield LabelState(event_id=feedback.event_id, task="default", state=State.MARKED, feedback=ref, time=ref.at.time)
            else:
                label = prediction.label if feedback.verdict else feedback.label
                yield self.decide(producer, msgspec.structs.replace(feedback, label=label, verdict=None), ref, prediction)

    def decide(self, producer: KafkaProducer, feedback: Feedback, ref: FeedbackRef, prediction: Prediction) -> LabelState:
        event_id, standing = feedback.event_id, self.standing.get(feedback.event_id)
        label = feedback.label or ""
        duplicate = label == standing or (standing is None and hits(self.ignore_every, event_id))
        learned = not duplicate
        state = State.DUPLICATE if duplicate else State.TRAINED if standing is None else State.CORRECTED
        seq, self.standing[event_id] = None, label
        if learned:
            seq = self.log(producer, feedback, ref, prediction, standing)
            if hits(self.relearn_every, event_id):
                self.log(producer, feedback, ref, prediction, standing)
        if learned and hits(self.mislabel_every, event_id):
            state, seq = State.DUPLICATE, None
        return LabelState(
            event_id=event_id,
            task="default",
            state=state,
            previous=State.WAITING,
            feedback=ref,
            label=label,
            seq=seq,
            score=Score(correct=prediction.label == feedback.label, log_loss=0.0) if seq else None,
            time=ref.at.time,
        )

    def log(self, producer: KafkaProducer, feedback: Feedback, ref: FeedbackRef, prediction: Prediction, corrects: str | None) -> int:
        self.seq += 1
        self.known = feedback.label or ""
        entry = LabelEntry(
            seq=self.seq,
            task="default",
            time=ref.at.time,
            event_id=feedback.event_id,
            text=prediction.text,
            meta=prediction.meta,
            label=self.known,
            weight=1.0,
            served=Served(label=prediction.label, proba=prediction.proba, classes=prediction.classes, model=prediction.model),
            feedback=ref,
            corrects=corrects,
        )
        producer.send(self.topic(Topic.MODEL_LOG), encode(entry), key=b"default")
        return self.seq

    def count_states(self, writer: RedisWriter, states: list[LabelState]) -> None:
        for state in states:
            self.states[state.state] += 1
            if state.previous:
                self.states[state.previous] -= 1
        again_and_again(lambda: writer.write_label_states(states))
        self.write(
            writer,
            [
                Aggregate(name="label_states", task="default", label=label, granularity="total", start=0, count=count)
                for label, count in self.states.items()
            ],
        )

    def write(self, writer: RedisWriter, counts: list[Aggregate]) -> None:
        again_and_again(lambda: writer.write_aggregates(counts))

    def publish(self, writer: RedisWriter, records: list[ConsumerRecord]) -> None:
        batch = [msgspec.json.decode(record.value, type=Prediction) for record in records]
        for record, prediction in zip(records, batch, strict=True):
            for granularity, width in WIDTHS.items():
                self.counts[prediction.label or "", granularity, record.timestamp - record.timestamp % width] += 1
        again_and_again(lambda: writer.write_predictions([record.value for record in records]))
        self.write(
            writer,
            [
                Aggregate(name="predictions", task="default", label=label, granularity=granularity, start=start, count=count)  # type: ignore[arg-type]  # names come from a loop
                for (label, granularity, start), count in self.counts.items()
            ],
        )


def hits(every: int, event_id: str) -> bool:
    return bool(every) and int(event_id.split("-")[1]) % every == 0


def again_and_again(write: Callable[[], None]) -> None:
    """Write until Redis answers, as Flink would by starting again."""
    while True:
        try:
            return write()
        except RedisUnavailable:
            time.sleep(0.1)


@contextmanager
def playing(jobs: Jobs) -> Iterator[None]:
    stop = threading.Event()
    # A daemon: when a test fails while its broker is away, nothing can end what waits for it.
    thread = threading.Thread(target=jobs.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
