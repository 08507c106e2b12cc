"""Sends a stream of rows to Kafka as events, and some of their labels a while later."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from schemas.parsing import encode
from schemas.records import DEFAULT_TASK, Event, Feedback
from schemas.topics import Topic
from stack.source_files import BadLine, Row
from store.committed import end_offsets
from store.connect import kafka_unavailable

LABEL_SOURCE = "replay"
PROGRESS_S = 1.0
_SHORTEST_SLEEP_S = 0.0005


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows are sent.

    Attributes:
        rate: events a second; 0 is as fast as possible.
        label_fraction: the share of the labelled rows whose labels are sent.
        label_delay_s: how long after its event a label is sent.
        seed: of the choice of labels.
        limit: at most so many events; None is all.
        task: for which the events are.
    """

    rate: float = 0.0
    label_fraction: float = 1.0
    label_delay_s: float = 2.0
    seed: int = 0
    limit: int | None = None
    task: str = DEFAULT_TASK


class Send(msgspec.Struct, frozen=True):
    """A record and when to send it, in seconds since the start."""

    due: float
    topic: Topic
    record: Event | Feedback


class Sent(msgspec.Struct, kw_only=True):
    """What has been sent; `skipped` are lines of the source that held no usable row."""

    run_id: str
    started: float
    events: int = 0
    labels: int = 0
    skipped: int = 0
    refused: int = 0
    complete: bool = False


class DeliveryError(Exception):
    """Kafka did not take what was sent; whoever runs the broker must act."""


def new_run_id() -> str:
    """Return an id that no other run has; event ids are `<run id>-<number>`."""
    return f"r{secrets.token_hex(5)}"


def sends(rows: Iterable[Row], plan: Plan, run_id: str, clock: Callable[[], float]) -> Iterator[Send]:
    """Yield events in the order of `rows`, merged with labels, in order of due time.

    Event n is due at n / rate; its label, if the seeded draw takes it, `label_delay_s` later. Only at full speed (rate 0)
    is the clock asked, for then an event is due when it is its turn.

    >>> rows = [Row("a", "x"), Row("b", "y"), Row("c", "x")]
    >>> plan = Plan(rate=10, label_fraction=1, label_delay_s=0.15)
    >>> [(s.due, s.topic.value, s.record.event_id) for s in sends(rows, plan, "r", lambda: 0.0)][:4]
    [(0.0, 'events', 'r-0'), (0.1, 'events', 'r-1'), (0.15, 'feedback', 'r-0'), (0.2, 'events', 'r-2')]
    """
    draw = random.Random(plan.seed).random
    waiting: deque[Send] = deque()
    for number, row in enumerate(rows):
        if number == plan.limit:
            break
        due = number / plan.rate if plan.rate else clock()
        while waiting and waiting[0].due <= due:
            yield waiting.popleft()
        event_id = f"{run_id}-{number}"
        yield Send(due, Topic.EVENTS, Event(event_id=event_id, text=row.text, ts=row.ts, task=plan.task, meta=row.meta))
        if row.label is not None and draw() < plan.label_fraction:
            label = Feedback(event_id=event_id, label=row.label, task=plan.task, source=LABEL_SOURCE)
            waiting.append(Send(due + plan.label_delay_s, Topic.FEEDBACK, label))
    yield from waiting


class Replay:
    """Sends one stream once. `sent` may be read from other threads meanwhile; `stop` ends it after the record in hand."""

    def __init__(self, *, kafka: str, topic_prefix: str, plan: Plan, run_id: str | None = None) -> None:
        """Prepare the run; `send` does it."""
        self.plan = plan
        self.sent = Sent(run_id=run_id or new_run_id(), started=time.time())
        self.stop = threading.Event()
        self._kafka = kafka
        self._prefix = topic_prefix
        self._failure: Exception | None = None

    def send(
        self,
        rows: Iterable[Row | BadLine],
        *,
        on_skip: Callable[[BadLine], None] = lambda _: None,
        on_progress: Callable[[Sent], None] = lambda _: None,
    ) -> Sent:
        """Send all rows and wait until Kafka has them.

        Raises:
            KafkaUnavailable: if no broker answers, or it has no such topics.
            DeliveryError: if Kafka does not take a record.
            SourceError: if the source breaks off.
        """
        # Asked first, because a send would wait a minute for a topic that does not exist.
        end_offsets(self._kafka, [self._prefix + t for t in (Topic.EVENTS, Topic.FEEDBACK)])
        producer = open_producer(self._kafka, at_full_speed=not self.plan.rate)
        try:
            self._send_all(producer, self._usable(rows, on_skip), on_progress)
            producer.flush()
        except KafkaError as error:
            raise DeliveryError(f"Kafka at {self._kafka} did not take the events: {error}") from error
        finally:
            producer.close(timeout=10)
        if self._failure:
            raise DeliveryError(f"Kafka at {self._kafka} refused {self.sent.refused} records, the first: {self._failure}")
        self.sent.complete = not self.stop.is_set()
        return self.sent

    def _usable(self, rows: Iterable[Row | BadLine], on_skip: Callable[[BadLine], None]) -> Iterator[Row]:
        for row in rows:
            if isinstance(row, BadLine):
                self.sent.skipped += 1
                on_skip(row)
            else:
                yield row

    def _send_all(self, producer: KafkaProducer, rows: Iterator[Row], on_progress: Callable[[Sent], None]) -> None:
        self.sent.started = time.time()
        began, told, sent = time.monotonic(), 0.0, self.sent
        for send in sends(rows, self.plan, sent.run_id, lambda: time.monotonic() - began):
            while not self.stop.is_set():
                now = time.monotonic() - began
                if now - told >= PROGRESS_S:
                    told = now
                    on_progress(sent)
                if send.due - now < _SHORTEST_SLEEP_S:
                    break
                self.stop.wait(min(send.due - now, PROGRESS_S / 2))
            if self.stop.is_set():
                return
            key = send.record.event_id.encode()
            producer.send(self._prefix + send.topic, encode(send.record), key=key).add_errback(self._refused)
            if send.topic is Topic.EVENTS:
                sent.events += 1
            else:
                sent.labels += 1

    def _refused(self, error: Exception) -> None:
        self._failure = self._failure or error
        self.sent.refused += 1


def open_producer(kafka: str, *, at_full_speed: bool) -> KafkaProducer:
    """Return a producer that sends at once, or in large batches if only speed counts.

    Raises:
        KafkaUnavailable: if no broker answers.
    """
    try:
        return KafkaProducer(
            bootstrap_servers=kafka.split(","),
            linger_ms=50 if at_full_speed else 5,
            batch_size=256 * 1024 if at_full_speed else 64 * 1024,
            allow_auto_create_topics=False,
            bootstrap_timeout_ms=10_000,
            metrics_enabled=False,
        )
    except (KafkaError, OSError) as error:
        raise kafka_unavailable(kafka, error) from error
