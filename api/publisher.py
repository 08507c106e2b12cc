"""Writes to Kafka: one producer for all threads, made when it is first needed, and made anew after it has failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from kafka.producer.future import FutureRecordMetadata

from api.asked_by import kafka_headers
from api.incoming import Outgoing
from store.connect import KAFKA_REQUEST_MS, connect_producer, kafka_unavailable

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class RecordTooLarge(Exception):
    """The broker does not take a record of this size; the others of the request may have been written."""

    def __init__(self, index: int, size_bytes: int) -> None:
        super().__init__(f"record {index} has {size_bytes} bytes, more than the broker accepts")
        self.index = index


class Publisher:
    """Sends records and waits until all replicas have them. Safe to use from several threads.

    Args:
        kafka: bootstrap servers.
        written: called with the topic and how many records of it Kafka has.
    """

    def __init__(self, kafka: str, written: Callable[[str, int], None] = lambda _topic, _records: None) -> None:
        self._kafka = kafka
        self._written = written
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None

    def publish(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Write the records, in order; their headers name the trace of the request that is being answered.

        Raises:
            KafkaUnavailable: if that fails; some may be written then.
            RecordTooLarge: if the broker refuses one for its size; others may be written then.
        """
        producer = self._get()
        try:
            self._wait(records, self._send(producer, topic, records))
        except RecordTooLarge:
            # kafka-python's idempotent producer takes the broker's refusal for fatal, and refuses all that follows.
            self._drop(producer)
            raise
        except KafkaError as error:
            self._drop(producer)
            raise kafka_unavailable(self._kafka, f"{type(error).__name__}: {error}; topic {topic}") from error
        self._written(topic, len(records))

    def _send(self, producer: KafkaProducer, topic: str, records: Sequence[Outgoing]) -> list[FutureRecordMetadata]:
        futures: list[FutureRecordMetadata] = []
        headers = kafka_headers()
        for index, record in enumerate(records):
            try:
                futures.append(producer.send(topic, record.value, key=record.key, headers=[*headers, *record.headers]))
            except _TOO_LARGE as error:
                raise RecordTooLarge(index, len(record.value)) from error
        return futures

    def _wait(self, records: Sequence[Outgoing], futures: Sequence[FutureRecordMetadata]) -> None:
        deadline = time.monotonic() + KAFKA_REQUEST_MS / 1000
        for index, future in enumerate(futures):
            try:
                future.get(timeout=max(0.1, deadline - time.monotonic()))
            except _TOO_LARGE as error:
                raise RecordTooLarge(index, len(records[index].value)) from error

    def close(self) -> None:
        """Close the producer, if there is one; what is in flight is written first."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _close(producer, timeout_s=5)

    def _get(self) -> KafkaProducer:
        with self._lock:
            if self._producer is None:
                self._producer = connect_producer(self._kafka)
            return self._producer

    def _drop(self, producer: KafkaProducer) -> None:
        """Forget a producer that has failed: what it still holds must not be written after the client was told that it failed."""
        with self._lock:
            if self._producer is producer:
                self._producer = None
        _close(producer, timeout_s=0)


def _close(producer: KafkaProducer, *, timeout_s: float) -> None:
    """Close it; what could not be written by then is given up (whoever sent it has been told, or is about to be)."""
    try:
        producer.close(timeout=timeout_s)
    except KafkaError:
        # kafka-python 3.0.12 gives up closing when its flush gives up or fails, and would go on sending.
        producer._sender.force_close()  # noqa: SLF001 - there is no public way
