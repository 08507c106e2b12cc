"""The load of the campaign: events and labels sent to Kafka, with a ledger of what the broker has acknowledged, and nothing else."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import RecordMetadata

from schemas.parsing import encode
from schemas.records import Event, Feedback
from schemas.settings import Settings
from schemas.topics import Topic
from stack.generator import generate
from stack.schedule import Plan, Send, sends
from stack.sender import new_run_id

BROKEN = (b'{"event_id": "broken", "text": 5}', b"\xff\xfe", b'{"event_id": "broken", "label": ""}', b"", None)
OUTAGE_S = 600.0
_ENDLESS = 10**7


class Acknowledged(msgspec.Struct, frozen=True):
    """A record that the broker has taken: where it lies, whose it is, which label it carries; `broken` ones cannot be read."""

    topic: Topic
    partition: int
    offset: int
    event_id: str
    label: str | None
    broken: bool


class Load:
    """Sends at a steady rate from a thread until it is stopped; every fortieth record is followed by one that cannot be read."""

    def __init__(self, settings: Settings, plan: Plan, *, seed: int) -> None:
        self.run_id = new_run_id()
        self.ledger: list[Acknowledged] = []
        self.failures: list[BaseException] = []
        self._settings = settings
        self._plan = plan
        self._rows = generate(_ENDLESS, seed=seed, drift_at=1.0)
        self._stop = threading.Event()
        self._sent = 0
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until the broker has everything; the labels of the last events are sent at once."""
        self._stop.set()
        self._thread.join(OUTAGE_S)
        assert not self._thread.is_alive(), "the broker did not take the last records"
        assert not self.failures, self.failures[0]
        assert len(self.ledger) == self._sent, f"{self._sent - len(self.ledger)} records were neither acknowledged nor refused"

    def abandon(self) -> None:
        """End without waiting for the broker; nothing is sent any more. Does nothing after `stop`."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            producer = _producer(self._settings.kafka)
            began = time.monotonic()
            for send in self._sends(lambda: time.monotonic() - began):
                while not self._stop.is_set() and (wait := send.due - (time.monotonic() - began)) > 0.0005:
                    self._stop.wait(wait)
                self._send(producer, send.topic, send.record.event_id, encode(send.record), send.record)
                if self._sent % 40 == 0:
                    self._send(producer, send.topic, "broken", BROKEN[self._sent // 40 % len(BROKEN)], None)
            producer.flush(OUTAGE_S)
            producer.close(OUTAGE_S)
        except (KafkaError, AssertionError) as error:
            self.failures.append(error)

    def _sends(self, clock: object) -> Iterator[Send]:
        """Yield what is to be sent; once it is stopped no event follows, only the labels of those that were sent."""
        assert callable(clock)
        rows = itertools.takewhile(lambda _: not self._stop.is_set(), self._rows)
        return sends(rows, self._plan, self.run_id, clock)

    def _send(self, producer: KafkaProducer, topic: Topic, event_id: str, value: bytes | None, record: Event | Feedback | None) -> None:
        label = record.label if isinstance(record, Feedback) else None

        def acknowledged(at: RecordMetadata) -> None:
            self.ledger.append(Acknowledged(topic, at.partition, at.offset, event_id, label, record is None))

        future = producer.send(self._settings.topic_prefix + topic, value, key=event_id.encode())
        future.add_callback(acknowledged).add_errback(self.failures.append)
        self._sent += 1


def _producer(kafka: str) -> KafkaProducer:
    """Return a producer that outlasts an outage of the broker without losing or repeating a record, or changing their order."""
    return KafkaProducer(
        bootstrap_servers=kafka.split(","),
        enable_idempotence=True,
        acks="all",
        linger_ms=5,
        delivery_timeout_ms=int(OUTAGE_S * 1000),
        max_block_ms=int(OUTAGE_S * 1000),
        reconnect_backoff_max_ms=1000,
        metrics_enabled=False,
    )
