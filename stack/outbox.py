"""Hands records to Kafka in order and once each, with bounded memory, through outages of the broker, and notes what became of each."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import BrokerResponseError, KafkaError, KafkaTimeoutError

from schemas.kafka_address import servers_of
from schemas.parsing import encode
from schemas.records import Event, Feedback
from stack.sent_ledger import RefusedLine, SentLedger, SentLine
from store.connect import Producer, connect

OUTAGE_S = 30 * 60
"""A broker may be away for so long; then what it did not take counts as refused."""
OPEN_RECORDS = 20_000
OPEN_BYTES = 32 * 1024 * 1024
"""So much may wait for acknowledgement; then sending waits. kafka-python itself would take in more and more."""
STOP_S = 10.0
"""How long what is under way may take once sending is to stop."""
_LOOK_S = 0.5


class DeliveryError(Exception):
    """Kafka did not take what was sent; whoever runs the broker must act."""


class Outbox:
    """A producer that is idempotent, so that a record that is tried again lies in its topic once and in its place.

    A context: leaving it in good order waits until everything is acknowledged. Setting `stop` ends every wait.
    """

    def __init__(
        self,
        kafka: str,
        *,
        at_full_speed: bool,
        stop: threading.Event,
        ledger: SentLedger | None = None,
        on_taken: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Connect; `on_taken` is told partition and offset of each record that was acknowledged, in the producer's thread.

        Raises:
            KafkaUnavailable: if no broker answers.
        """
        self._kafka = kafka
        self._stop = stop
        self._ledger = ledger
        self._on_taken = on_taken
        self._producer = open_producer(kafka, at_full_speed=at_full_speed)
        self._room = threading.Condition()
        self._open_records = self._open_bytes = 0
        self.refused = 0
        self.failure: Exception | None = None

    def put(self, topic: str, record: Event | Feedback) -> bool:
        """Hand over a record; False if `stop` came before there was room.

        Raises:
            DeliveryError: if the record is too large, or the topic has gone.
            LedgerError: if the ledger cannot be written.
        """
        if self._ledger:
            self._ledger.check()
        value = encode(record)
        size = len(value)
        if not self._wait(lambda: self._open_records < OPEN_RECORDS and self._open_bytes < OPEN_BYTES):
            return False
        with self._room:
            self._open_records += 1
            self._open_bytes += size
        future = self._send(topic, value, record.event_id.encode())
        if future is None:
            self._settled(size)
            return False
        line = self._line(topic, record, value) if self._ledger else None
        future.add_callback(self._taken, size, line).add_errback(self._not_taken, size, line)
        return True

    def _send(self, topic: str, value: bytes, key: bytes) -> Any:
        deadline = time.monotonic() + OUTAGE_S
        while not self._stop.is_set():
            try:
                # Asked first: a send without it gives a future that has failed, for an error that may pass.
                self._producer.partitions_for(topic)
                return self._producer.send(topic, value, key=key)
            except KafkaError as error:
                passing = isinstance(error, (KafkaTimeoutError, BrokerResponseError)) and error.retriable
                if not passing or time.monotonic() > deadline:
                    raise DeliveryError(f"Kafka at {servers_of(self._kafka)} did not take the events: {error}") from error
                self._stop.wait(_LOOK_S)
        return None

    def _line(self, topic: str, record: Event | Feedback, value: bytes) -> SentLine:
        label = record.label if isinstance(record, Feedback) else None
        return SentLine(
            topic=topic, partition=None, offset=None, event_id=record.event_id, label=label, sha256=hashlib.sha256(value).hexdigest(), ms=0
        )

    def _taken(self, size: int, line: SentLine | None, metadata: Any) -> None:
        """Run in the producer's thread for each record that was acknowledged."""
        self._on_taken(metadata.partition, metadata.offset)
        if self._ledger and line:
            self._ledger.add(_with(line, SentLine, partition=metadata.partition, offset=metadata.offset, ms=metadata.timestamp))
        self._settled(size)

    def _not_taken(self, size: int, line: SentLine | None, error: Exception) -> None:
        """Run in the producer's thread for each record that will not be acknowledged any more."""
        self.failure = self.failure or error
        self.refused += 1
        if self._ledger and line:
            self._ledger.add(_with(line, RefusedLine, ms=int(time.time() * 1000), error=f"{type(error).__name__}: {error}"))
        self._settled(size)

    def _settled(self, size: int) -> None:
        with self._room:
            self._open_records -= 1
            self._open_bytes -= size
            self._room.notify()

    def _wait(self, ready: Callable[[], bool], *, after_stop_s: float = 0.0) -> bool:
        """Wait until it is ready; False if `stop` is set, or has been for so long."""
        stopped_at: float | None = None
        with self._room:
            while not ready():
                if self._stop.is_set():
                    stopped_at = stopped_at or time.monotonic()
                    if time.monotonic() - stopped_at >= after_stop_s:
                        return False
                self._room.wait(_LOOK_S)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._wait(lambda: self._open_records == 0, after_stop_s=STOP_S)
        _close(self._producer)


def _with(line: SentLine, kind: Callable[..., SentLine], **changes: object) -> SentLine:
    return kind(**{name: getattr(line, name) for name in SentLine.__struct_fields__} | changes)


def _close(producer: KafkaProducer) -> None:
    """Close at once; what is still open is refused."""
    try:
        producer.close(timeout=1)
    except KafkaError:
        # Its close gives up, before it ends its thread, when something is still open.
        sender = producer._sender  # noqa: SLF001 - there is no other way to end its thread
        sender.force_close()
        sender.join(STOP_S)


def open_producer(kafka: str, *, at_full_speed: bool) -> KafkaProducer:
    """Return a producer that sends at once, or in large batches if only speed counts.

    Raises:
        KafkaUnavailable: if no broker answers.
    """
    options: dict[str, object] = {
        # Said, though it is the default: refused with settings that would break it, and with it order and "once".
        "enable_idempotence": True,
        "delivery_timeout_ms": OUTAGE_S * 1000,
        "max_block_ms": 5_000,
        "reconnect_backoff_max_ms": 1_000,
        "linger_ms": 50 if at_full_speed else 5,
        "batch_size": (256 if at_full_speed else 64) * 1024,
    }
    return connect(Producer, kafka, options)
