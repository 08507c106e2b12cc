"""The audit trail: in order, at least once, bounded, and never in the way of whoever is audited."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from api.access import trail as module
from api.access.trail import Trail
from api.incoming import Outgoing
from schemas.audit import AuditRecord
from store.connect import KafkaUnavailable

pytestmark = pytest.mark.unit


class Broker:
    """Takes records, unless it is away."""

    def __init__(self) -> None:
        self.there = threading.Event()
        self.there.set()
        self.asked = threading.Semaphore(0)
        self.records: list[AuditRecord] = []
        self.keys: list[bytes] = []

    def publish(self, records: Sequence[Outgoing]) -> None:
        self.asked.release()
        if not self.there.is_set():
            raise KafkaUnavailable("Kafka is away")
        self.keys += [record.key for record in records]
        self.records += [msgspec.json.decode(record.value, type=AuditRecord) for record in records]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def trail(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trail]:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    trail = Trail(broker.publish)
    trail.start()
    yield trail
    trail.close()


def record(number: int = 0, *, name: str | None = "ana", action: str = "POST /v1/models/rollback", items: int = 1) -> AuditRecord:
    return AuditRecord(
        time=1000 + number, name=name, roles=["admin"], address="192.0.2.1", action=action, ids=("x",), items=items, status=202
    )


def test_records_are_written_in_order_under_the_name_of_their_key(trail: Trail, broker: Broker) -> None:
    futures = [trail.note(record(number, name="ana" if number % 2 else None)) for number in range(100)]
    for future in futures:
        future.result(10)
    assert [one.time for one in broker.records] == [1000 + number for number in range(100)]
    assert set(broker.keys) == {b"ana", b""}


def test_what_kafka_does_not_take_waits_and_is_told_of(trail: Trail, broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    broker.there.clear()
    futures = [trail.note(record(number)) for number in range(3)]
    for _ in range(3):
        assert broker.asked.acquire(timeout=10)
    part = trail.part()
    assert (part.ready, part.detail) == (False, "3 records wait: Kafka is away")
    assert not any(future.done() for future in futures)
    broker.there.set()
    futures[-1].result(10)
    assert [one.time for one in broker.records] == [1000, 1001, 1002]
    assert trail.part().ready is True
    assert len(caplog.records) == 1, "an outage is one line"


def test_many_of_a_kind_are_one_record(trail: Trail, broker: Broker) -> None:
    for number in range(50):
        trail.add_up(record(number, action="POST /v1/events", items=10))
    trail.add_up(record(7, name="bob", action="POST /v1/events", items=1))
    trail.close()
    ana, bob = broker.records
    assert (ana.requests, ana.items, ana.since, ana.time, ana.ids) == (50, 500, 1000, 1049, ())
    assert (bob.name, bob.requests, bob.items) == ("bob", 1, 1)


def test_they_are_written_after_a_while(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADDED_UP_S", 0.05)
    trail = Trail(broker.publish)
    trail.start()
    trail.add_up(record())
    assert broker.asked.acquire(timeout=10)
    trail.add_up(record())
    assert broker.asked.acquire(timeout=10)
    trail.close()
    assert [one.requests for one in broker.records] == [1, 1]


def test_memory_is_bounded_and_what_is_left_out_is_in_the_log(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "OPEN_MAX", 5)
    monkeypatch.setattr(module, "ADDED_UP_MAX", 3)
    broker.there.clear()
    trail = Trail(broker.publish)
    trail.start()
    with caplog.at_level(logging.ERROR, logger="api.audit"):
        for number in range(8):
            trail.note(record(number))
        for number in range(4):
            trail.add_up(record(100 + number, name=f"k{number}"))
        trail.close()
    assert broker.records == []
    left = [one.__dict__["audit"]["time"] for one in caplog.records if "audit" in one.__dict__]
    assert sorted(left) == [*range(1000, 1008), *range(1100, 1104)], "each is somewhere, once"


def test_all_is_written_before_it_ends(broker: Broker) -> None:
    trail = Trail(broker.publish)
    for number in range(1300):
        trail.note(record(number))
    trail.start()
    trail.close()
    assert len(broker.records) == 1300
