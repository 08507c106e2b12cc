"""`millrace mirror` against a real broker: everything once, in order, as it was; through a kill; and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.serializer import Serializer

from schemas.topics import Topic
from stack.mirror import TOPICS, AsItWas, Mirror, MirrorError
from stack.process import Part
from store.committed import open_transactions, read_committed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PARTITIONS = 3


class Kept(NamedTuple):
    """What must be the same of a record and its copy."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


def make_topics(kafka: str, prefix: str, partitions: int = PARTITIONS) -> None:
    """Create the two topics as the jobs do: stamped by the broker."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    with closing(admin):
        config = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(prefix + t, num_partitions=partitions, replication_factor=1, topic_configs=config) for t in TOPICS])
        admin.wait_for_topics([prefix + t for t in TOPICS], timeout_ms=30_000)


@pytest.fixture
def prefixes() -> tuple[str, str]:
    name = uuid.uuid4().hex[:8]
    return f"a{name}-", f"b{name}-"


def fill(kafka: str, prefix: str, count: int, first: int = 0) -> None:
    """Send records, some of them strange: no key, no value, headers, an aborted transaction between them."""
    with closing(KafkaProducer(bootstrap_servers=kafka, linger_ms=20)) as producer:
        for number in range(first, first + count):
            key = None if number % 7 == 3 else f"e{number}".encode()
            value = None if number % 11 == 5 and key else b"{%d}" % number
            headers = [("traceparent", b"00-%d" % number), ("traceparent", b"")] if number % 3 == 0 else None
            for topic in TOPICS:
                producer.send(prefix + topic, value, key=key, headers=headers, partition=number % PARTITIONS)


def abort_some(kafka: str, prefix: str) -> None:
    """Leave records in the source that no committed reader sees."""
    with closing(KafkaProducer(bootstrap_servers=kafka, transactional_id=f"{prefix}aborts")) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        for partition in range(PARTITIONS):
            producer.send(prefix + Topic.EVENTS, b"never", partition=partition)
        producer.flush()
        producer.abort_transaction()


def records(kafka: str, topic: str) -> dict[int, list[Kept]]:
    """Return what a committed reader sees, by partition, in order."""
    found: dict[int, list[Kept]] = {}
    for batch in read_committed(kafka, topic):
        for r in batch:
            found.setdefault(r.partition, []).append(Kept(r.key, r.value, tuple(r.headers), r.timestamp))
    return found


def assert_same(kafka: str, prefixes: tuple[str, str]) -> int:
    """Check that both prefixes hold the same, and return how many records that are."""
    source, target = prefixes
    total = 0
    for topic in TOPICS:
        originals = records(kafka, source + topic)
        assert records(kafka, target + topic) == originals
        total += sum(map(len, originals.values()))
    return total


@contextmanager
def running(mirror: Mirror) -> Iterator[list[BaseException]]:
    """Run it in a thread; what it raised is in the list."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            mirror.run()
        except MirrorError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield raised
    finally:
        mirror.stop.set()
        thread.join(60)
    assert not thread.is_alive()


def await_true(condition: Callable[[], object], timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_everything_is_copied_once_in_order_as_it_was(kafka: str, prefixes: tuple[str, str]) -> None:
    source, target = prefixes
    for prefix in prefixes:
        make_topics(kafka, prefix)
    fill(kafka, source, 300)
    abort_some(kafka, source)
    fill(kafka, source, 300, first=300)
    time.sleep(0.05)  # The broker's clock moves on: a copy that it stamped anew would show.
    said: list[str] = []
    assert Mirror(kafka, source, target, say=said.append).run(until_end=True)
    assert assert_same(kafka, prefixes) == 1200

    again = Mirror(kafka, source, target, say=said.append)
    assert again.run(until_end=True)
    assert again.copied.records == {Topic.EVENTS: 0, Topic.FEEDBACK: 0}
    fill(kafka, source, 30, first=600)
    assert again.run(until_end=True)
    assert assert_same(kafka, prefixes) == 1260
    assert again.summary() == f"copied 30 of {source}events, 30 of {source}feedback"


class NoEmptyKey(Serializer):  # type: ignore[misc]  # kafka-python has no types
    """Lets a record without key and value be sent, as other clients do."""

    def serialize(self, _topic: str, _headers: object, data: bytes) -> bytes | None:
        return data or None


def test_a_record_without_key_and_value_is_copied_too(kafka: str, prefixes: tuple[str, str]) -> None:
    source, target = prefixes
    for prefix in prefixes:
        make_topics(kafka, prefix)
    with closing(KafkaProducer(bootstrap_servers=kafka, key_serializer=NoEmptyKey())) as producer:
        producer.send(source + Topic.EVENTS, None, key=b"", headers=[("full", b"x")], partition=1)
    assert Mirror(kafka, source, target, say=lambda _: None).run(until_end=True)
    assert assert_same(kafka, prefixes) == 1
    ((copy,),) = records(kafka, target + Topic.EVENTS).values()
    assert copy[:3] == (None, None, (("full", b"x"),))

    headers: list[tuple[str, bytes]] = []
    assert AsItWas().serialize("t", headers, SimpleNamespace(key=b"k", headers=[("empty", None)])) == b"k"
    assert headers == [("empty", b"")]


def start(
    kafka: str, prefixes: tuple[str, str], folder: Path, *more: str, program: Sequence[str] = ("-m", "stack")
) -> subprocess.Popen[str]:
    """Start the command as a process of its own; no stack runs in its data folder."""
    source, target = prefixes
    command = [sys.executable, *program, "mirror", "--kafka", kafka, "--from-prefix", source, "--to-prefix", target, *more]
    environment = {**os.environ, "MILLRACE_DATA_DIR": str(folder)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


STOPS = """
import sys, time
from kafka import KafkaProducer
from stack.cli import main

point, calls = sys.argv[1], 0
really = getattr(KafkaProducer, point)

def stops(self, *arguments):
    global calls
    calls += 1
    if calls == 2:
        print("here", flush=True)
        time.sleep(600)
    return really(self, *arguments)

setattr(KafkaProducer, point, stops)
sys.exit(main(sys.argv[2:]))
"""
"""Runs the command, which stands still where the second transaction calls a method of the producer."""


def test_killed_in_the_middle_it_goes_on_and_nothing_is_there_twice(kafka: str, prefixes: tuple[str, str], tmp_path: Path) -> None:
    source, target = prefixes
    for prefix in prefixes:
        make_topics(kafka, prefix)
    fill(kafka, source, 6_000)
    targets = [target + topic for topic in TOPICS]
    # Between two transactions; with all records of one written; and with the offsets written, too.
    for point, is_open in (("begin_transaction", False), ("send_offsets_to_transaction", True), ("commit_transaction", True)):
        process = start(kafka, prefixes, tmp_path, program=("-c", STOPS, point))
        assert process.stdout is not None
        line = next(iter(process.stdout))
        assert line == "here\n", line
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert any(open_transactions(kafka, targets).values()) is is_open
    process = start(kafka, prefixes, tmp_path, "--until-end")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert "all there was" in out
    assert assert_same(kafka, prefixes) == 12_000


def test_a_signal_ends_it_in_good_order(kafka: str, prefixes: tuple[str, str], tmp_path: Path) -> None:
    source, target = prefixes
    for prefix in prefixes:
        make_topics(kafka, prefix)
    fill(kafka, source, 10)
    process = start(kafka, prefixes, tmp_path, "--alive", str(tmp_path / "alive"))
    await_true(lambda: sum(map(len, records(kafka, target + Topic.FEEDBACK).values())) == 10)
    fill(kafka, source, 10, first=10)
    await_true(lambda: sum(map(len, records(kafka, target + Topic.FEEDBACK).values())) == 20)
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert out.splitlines()[-1].startswith(f"copied 20 of {source}events, 20 of {source}feedback: stopped"), out
    assert (tmp_path / "alive").exists()
    assert assert_same(kafka, prefixes) == 40


def test_it_waits_for_topics(kafka: str, prefixes: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = prefixes
    monkeypatch.setattr("stack.mirror.PROGRESS_S", 0.2)
    make_topics(kafka, source)
    fill(kafka, source, 30)
    said: list[str] = []
    mirror = Mirror(kafka, source, target, say=said.append)
    with running(mirror) as raised:
        await_true(lambda: any(line.startswith("waiting for topics") for line in said))
        assert said[0] == f"waiting for topics that the jobs make: {target}events, {target}feedback"
        make_topics(kafka, target)
        await_true(lambda: sum(mirror.copied.records.values()) == 60)
        await_true(lambda: any("0 behind" in line for line in said))
    assert not raised
    assert assert_same(kafka, prefixes) == 60


def test_fewer_partitions_are_refused(kafka: str, prefixes: tuple[str, str], tmp_path: Path) -> None:
    source, target = prefixes
    make_topics(kafka, source)
    make_topics(kafka, target, partitions=PARTITIONS - 1)
    process = start(kafka, prefixes, tmp_path)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"{target}events has 2 partitions, {source}events has 3" in out
    assert "MILLRACE_TOPIC_PARTITIONS=3" in out


def test_a_target_that_was_made_anew_is_filled_from_the_beginning(kafka: str, prefixes: tuple[str, str]) -> None:
    source, target = prefixes
    for prefix in prefixes:
        make_topics(kafka, prefix)
    fill(kafka, source, 30)
    assert Mirror(kafka, source, target, say=lambda _: None).run(until_end=True)
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        admin.delete_topics([target + topic for topic in TOPICS])
        await_true(lambda: not {target + topic for topic in TOPICS} & set(admin.list_topics()))
    make_topics(kafka, target)
    assert Mirror(kafka, source, target, say=lambda _: None).run(until_end=True)
    assert assert_same(kafka, prefixes) == 60


def test_it_outlasts_a_broker_that_goes_away(kafka_part: Part, prefixes: tuple[str, str]) -> None:
    kafka, (source, target) = kafka_part.address, prefixes
    for prefix in prefixes:
        make_topics(kafka, prefix)
    fill(kafka, source, 300)
    mirror = Mirror(kafka, source, target, say=lambda _: None)
    with running(mirror) as raised:
        await_true(lambda: sum(mirror.copied.records.values()) > 0)
        kafka_part.stop()
        time.sleep(3)
        kafka_part.start()
        kafka_part.wait_healthy()
        fill(kafka, source, 300, first=300)
        await_true(lambda: sum(map(len, records(kafka, target + Topic.FEEDBACK).values())) == 600, 120)
        await_true(lambda: sum(map(len, records(kafka, target + Topic.EVENTS).values())) == 600, 120)
    assert not raised
    assert assert_same(kafka, prefixes) == 1200
