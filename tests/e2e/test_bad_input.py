"""Every kind of bad input on both topics of a whole stack, between good records of the same partitions, seen from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import cycle
from typing import Any, NamedTuple

import httpx
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import MessageSizeTooLargeError

from online_model.ledger import WAITING_MAX
from schemas.parsing import HEAD_BYTES
from schemas.records import Reason
from schemas.topics import MAX_RECORD_BYTES, Topic
from stack.embedded import Stack
from stack.running_stack import restart_counters
from store.committed import read_committed
from tests.bad_input import EVENTS, FEEDBACK, Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PARTITIONS = 4
WAIT_S = 60
HOT = 1500
HOT_LABELS = 900
"""As many as may wait: they may come before the predictions."""

LONGEST_MS = 2**63 - 1

Place = tuple[str, int, int]


class Sent(NamedTuple):
    """A record that Kafka has taken."""

    topic: Topic
    partition: int
    offset: int
    case: Case

    @property
    def place(self) -> Place:
        return (self.topic, self.partition, self.offset)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    ports = dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0)
    settings = {"topic_prefix": "bad-", "trending_slide_s": 1, "trending_window_slides": 300, "trending_idle_ms": 1000}
    stack = Stack(tmp_path_factory.mktemp("stack") / "data", settings, ports=ports)
    stack.start(print)
    yield stack
    stack.stop(savepoint=False)


def stamp_by_sender(stack: Stack) -> None:
    """Make the topics such as others may have made them before us: each record has its sender's time, whatever that is."""
    config = {
        "message.timestamp.type": "CreateTime",
        "message.timestamp.before.max.ms": str(LONGEST_MS),
        "message.timestamp.after.max.ms": str(LONGEST_MS),
    }
    names = [stack.settings.topic_prefix + topic for topic in (Topic.EVENTS, Topic.FEEDBACK)]
    with closing(KafkaAdminClient(bootstrap_servers=stack.settings.kafka)) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=config) for name in names])


KEYS = (b"x", None, b"", b"\xff\xfe\x00", b"another-id", b"k" * 20_000)
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HEADERS: tuple[list[tuple[str, bytes | None]], ...] = (
    [],
    [("task", None), ("label", None)],
    [("task", b"unheard"), ("task", b"\xff"), ("label", b""), ("", b"no name")],
    [(f"h{number}", b"x" * 1000) for number in range(50)],
    [("traceparent", TRACE)],
    [("traceparent", b"\xff\xfe\x00" + TRACE)],
)
NOW_MS = int(time.time() * 1000)
TIMES = (None, -1, 0, NOW_MS - 10 * 365 * 86_400_000, NOW_MS + 86_400_000, 253_402_300_800_000, LONGEST_MS)
"""Kafka's own timestamps: now, none, 1970, ten years ago, tomorrow, after the year 9999, the last there is."""


class Headers(list[tuple[str, bytes | None]]):
    """Headers of which one may be null: kafka-python adds up their sizes if they are true, and cannot with a null."""

    def __bool__(self) -> bool:
        return False


class Sender:
    """Sends records with any key, headers and time: kafka-python's `send` would refuse some that other clients write."""

    def __init__(self, stack: Stack) -> None:
        self._prefix = stack.settings.topic_prefix
        self._producer = KafkaProducer(bootstrap_servers=stack.settings.kafka, max_request_size=MAX_RECORD_BYTES, linger_ms=5)
        self._pending: list[tuple[Topic, Case, Any]] = []
        self._keys, self._headers, self._times = cycle(KEYS), cycle(HEADERS), cycle(TIMES)
        for topic in (Topic.EVENTS, Topic.FEEDBACK):
            assert len(self._producer.partitions_for(self._prefix + topic)) == PARTITIONS

    def send(self, topic: Topic, case: Case, partition: int, *, strange: bool = True, time_ms: int | None = None) -> None:
        key, headers = (next(self._keys), next(self._headers)) if strange else (b"x", [])
        part = TopicPartition(self._prefix + topic, partition)
        future, *_ = self._producer._accumulator.append(part, next(self._times) if strange else time_ms, key, case.value, Headers(headers))
        self._producer._sender.wakeup()
        self._pending.append((topic, case, future))

    def sent(self) -> list[Sent]:
        self._producer.flush()
        done = [(topic, case, future.get(timeout=30)) for topic, case, future in self._pending]
        self._pending.clear()
        return [Sent(topic, at.partition, at.offset, case) for topic, case, at in done]

    def close(self) -> None:
        self._producer.close()


def event(event_id: str, text: str) -> Case:
    return Case("good", json.dumps({"event_id": event_id, "text": text}).encode())


def label(event_id: str, label: str) -> Case:
    return Case("good", json.dumps({"event_id": event_id, "label": label}).encode())


def send_everything(sender: Sender) -> list[Sent]:
    """Send the table to every topic, a good record after each, and what else there is; one partition gets the hot key."""
    for number, case in enumerate(EVENTS):
        sender.send(Topic.EVENTS, case, number % PARTITIONS)
        sender.send(Topic.EVENTS, event(f"good-{number}", "play a #song"), number % PARTITIONS)
    for text in ("the first text", "the first text", "another text"):
        sender.send(Topic.EVENTS, event("twin", text), 1, strange=False)
    for _ in range(HOT):
        sender.send(Topic.EVENTS, event("hot", "one key"), 2, strange=False)
    for number, case in enumerate(FEEDBACK):
        sender.send(Topic.FEEDBACK, case, number % PARTITIONS)
        sender.send(Topic.FEEDBACK, label(f"good-{number % len(EVENTS)}", f"label-{number % 3}"), number % PARTITIONS)
    for number in range(HOT_LABELS):
        sender.send(Topic.FEEDBACK, label("hot", f"label-{number % 3}"), 2, strange=False)
    for number in range(HOT):
        sender.send(Topic.FEEDBACK, label("nobody", f"label-{number % 3}"), 3, strange=False)
    for given in ("label-0", "label-0", "label-1"):
        sender.send(Topic.FEEDBACK, label("twin", given), 1, strange=False)
    return sender.sent()


def read(stack: Stack, topic: Topic) -> list[ConsumerRecord]:
    batches = read_committed(stack.settings.kafka, stack.settings.topic_prefix + topic)
    return [record for batch in batches for record in batch]


def parsed(stack: Stack, topic: Topic) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in read(stack, topic)]


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_S} s until {what}"
        time.sleep(0.3)


def places(stack: Stack, records: list[dict[str, Any]], topic: Topic) -> Counter[Place]:
    """Count the records about each place of `topic`: predictions by their source, states by their feedback."""
    found = (record["source"] if topic is Topic.EVENTS else record["feedback"]["at"] for record in records)
    return Counter((topic, at["partition"], at["offset"]) for at in found)


def test_bad_input_becomes_dead_letters_and_nothing_else_is_lost(stack: Stack) -> None:
    stamp_by_sender(stack)
    with closing(Sender(stack)) as sender:
        sent = send_everything(sender)
        check_too_large_for_the_broker(stack)
        bad = {record.place: record for record in sent if record.case.reason}
        good = {topic: {r.place for r in sent if r.topic is topic and not r.case.reason} for topic in (Topic.EVENTS, Topic.FEEDBACK)}
        wait_until(lambda: len(read(stack, Topic.DEAD_LETTERS)) >= len(bad), "all bad records are dead letters")
        wait_until(lambda: len(read(stack, Topic.PREDICTIONS)) >= len(good[Topic.EVENTS]), "all good events are predicted")
        check_dead_letters(stack, bad)
        predictions = parsed(stack, Topic.PREDICTIONS)
        assert places(stack, predictions, Topic.EVENTS) == Counter(good[Topic.EVENTS])
        wait_until(lambda: labels_are_settled(stack, sent), "each label has a state")
        check_labels(stack, sent)
        check_redis(stack, predictions)
        check_traces(stack)
        check_what_is_counted_over_time(stack, predictions)
        check_partitions_go_on(stack, sender)
    assert set(restart_counters(stack.state()).values()) == {0}, restart_counters(stack.state())
    assert stack.state().troubles() == []


def check_too_large_for_the_broker(stack: Stack) -> None:
    """Its sender is told; it never gets into the topic."""
    with closing(KafkaProducer(bootstrap_servers=stack.settings.kafka, max_request_size=4 * MAX_RECORD_BYTES)) as producer:
        future = producer.send(stack.settings.topic_prefix + Topic.EVENTS, b"x" * (MAX_RECORD_BYTES + 1), partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            future.get(timeout=30)


def check_dead_letters(stack: Stack, bad: dict[Place, Sent]) -> None:
    letters = parsed(stack, Topic.DEAD_LETTERS)
    prefix = stack.settings.topic_prefix
    assert Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters) == Counter(
        (prefix + topic, partition, offset) for topic, partition, offset in bad
    )
    for letter in letters:
        record = bad[letter["topic"].removeprefix(prefix), letter["partition"], letter["offset"]]
        value, said = record.case.value or b"", (record.topic, record.case.name)
        assert (letter["reason"], letter["length"]) == (record.case.reason, len(value)), said
        assert letter["sha256"] == hashlib.sha256(value).hexdigest(), said
        assert base64.b64decode(letter["head"]) == value[:HEAD_BYTES], said
        assert record.case.says in letter["detail"], said
    assert {letter["reason"] for letter in letters} == set(Reason)


def label_states(stack: Stack) -> dict[Place, list[str]]:
    """The states of each feedback record, in their order."""
    found: dict[Place, list[str]] = defaultdict(list)
    for state in parsed(stack, Topic.LABEL_STATES):
        at = state["feedback"]["at"]
        found[Topic.FEEDBACK, at["partition"], at["offset"]].append(state["state"])
    return found


def labels_are_settled(stack: Stack, sent: list[Sent]) -> bool:
    """Whether each label has a state, and only those wait that wait for an event that never comes."""
    found = label_states(stack)
    waiting = sum(states[-1] == "waiting" for states in found.values())
    return len(found) == sum(record.topic is Topic.FEEDBACK for record in sent) and waiting == WAITING_MAX


def check_labels(stack: Stack, sent: list[Sent]) -> None:
    found = label_states(stack)
    for record in sent:
        if record.topic is Topic.FEEDBACK:
            assert (found[record.place] == ["rejected"]) == bool(record.case.reason), (record.case.name, found[record.place])
    counts = Counter(states[-1] for states in found.values())
    assert set(counts) == {"trained", "duplicate", "corrected", "rejected", "waiting", "orphan"}, "a strange time expires no label"
    assert counts["orphan"] == HOT - WAITING_MAX, "a hot key without an event keeps only so many labels waiting"
    entries = [entry for entry in parsed(stack, Topic.MODEL_LOG) if entry["kind"] == "label"]
    assert {entry["text"] for entry in entries if entry["event_id"] == "twin"} == {"the first text"}
    assert [(e["label"], e["corrects"]) for e in entries if e["event_id"] == "twin"] == [("label-0", None), ("label-1", "label-0")]
    assert sum(entry["event_id"] == "hot" for entry in entries) == HOT_LABELS
    assert len(entries) == counts["trained"] + counts["corrected"]


def check_redis(stack: Stack, predictions: list[dict[str, Any]]) -> None:
    """The job publish has taken in everything too: the counts of the API are those of Kafka."""
    api = stack.addresses["api"]

    def counted() -> int:
        answer = httpx.get(f"{api}/v1/counts", params={"granularity": "total"}).json()
        return sum(bucket["total"] for bucket in answer["buckets"])

    wait_until(lambda: counted() == len(predictions), f"Redis counts {len(predictions)} predictions")
    states = httpx.get(f"{api}/v1/quality").json()["label_states"]
    assert states["rejected"] == sum(case.reason is not None for case in FEEDBACK)


def check_traces(stack: Stack) -> None:
    """A prediction has the trace context of its event, in its record and as a header, if that is a valid one."""
    traces = [(json.loads(r.value)["traceparent"], dict(r.headers).get("traceparent")) for r in read(stack, Topic.PREDICTIONS)]
    assert set(traces) == {(None, None), (TRACE.decode(), TRACE)}


def check_what_is_counted_over_time(stack: Stack, predictions: list[dict[str, Any]]) -> None:
    api = stack.addresses["api"]
    scores = [state["score"]["correct"] for state in parsed(stack, Topic.LABEL_STATES) if state["score"]]
    wait_until(lambda: sum(b["labels"] for b in _history(api, "minute")) == len(scores), "all scores are counted")
    for granularity in ("minute", "hour", "day"):
        assert sum(bucket["correct"] for bucket in _history(api, granularity)) == sum(scores)
    texts = sum(prediction["text"] == "play a #song" for prediction in predictions)

    def song() -> list[int]:
        shown = httpx.get(f"{api}/v1/trending", params={"kind": "hashtag"}).json()
        return [item["count"] for item in shown["items"] if item["name"] == "song"]

    wait_until(lambda: song() == [texts], f"a window of hashtags closes with {texts} songs")


def _history(api: str, granularity: str) -> list[dict[str, Any]]:
    buckets: list[dict[str, Any]] = httpx.get(f"{api}/v1/quality/history", params={"granularity": granularity}).json()["buckets"]
    return buckets


def check_partitions_go_on(stack: Stack, sender: Sender) -> None:
    api = stack.addresses["api"]
    for partition in range(PARTITIONS):
        sender.send(Topic.EVENTS, event(f"after-{partition}", "play a song"), partition, strange=False)
        sender.send(Topic.FEEDBACK, label(f"after-{partition}", "label-0"), partition, strange=False)
    sender.sent()
    for partition in range(PARTITIONS):
        url = f"{api}/v1/labels/after-{partition}"
        wait_until(lambda url=url: httpx.get(url).json().get("state") == "trained", f"{url} is trained")  # type: ignore[misc]  # a lambda's default is untyped
        assert httpx.get(f"{api}/v1/predictions/after-{partition}").status_code == 200
