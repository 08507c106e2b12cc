"""`millrace dead-letters` on a real broker: records are refused as the jobs refuse them, then listed, shown and sent again."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import TopicPartition

from schemas.parsing import HEAD_BYTES, RejectRecord, dead_letter, encode, parse_event, parse_feedback
from schemas.records import Position
from schemas.topics import Topic
from stack.cli import main
from store.committed import read_committed

pytestmark = pytest.mark.integration

LONG = b'{"event_id": "long", "task": "mood", "text": "' + b"x" * (HEAD_BYTES + 100) + b'"}'
MOOD = b'{"event_id": "m1", "task": "mood", "text": "fine"}'
BROKEN = b'{"event_id": "b", "text": "\xff \x1b[31m"}'
HEADERS = [("trace", b"7"), ("replayed-from", b"no place of ours")]

Send = Callable[..., str]


class Installation:
    """The topics of a test, and the command on them."""

    def __init__(self, kafka: str, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.kafka, self.prefix, self._capsys = kafka, prefix, capsys
        self._producer = KafkaProducer(bootstrap_servers=kafka, max_request_size=8 * 1024 * 1024)

    def refuse(self, topic: Topic, value: bytes | None, *, key: bytes | None = None) -> str:
        """Send a record and refuse it, as the jobs do; returns its place."""
        at = self._producer.send(self.prefix + topic, value, key=key, headers=HEADERS).get(timeout=30)
        place = Position(partition=at.partition, offset=at.offset)
        try:
            if topic is Topic.EVENTS:
                parse_event(value, tasks={"default"}, max_text_bytes=10**6)
            else:
                parse_feedback(value, tasks={"default"}, max_text_bytes=10**6)
        except RejectRecord as error:
            letter = dead_letter(value, topic=at.topic, at=place, error=error, now=int(time.time() * 1000))
            self._producer.send(self.prefix + Topic.DEAD_LETTERS, encode(letter), key=b"0:0").get(timeout=30)
            return f"{at.topic}:{at.partition}:{at.offset}"
        raise AssertionError("it is not refused")

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the command; returns its exit code and output."""
        code = main(["dead-letters", *arguments, "--kafka", self.kafka])
        captured = self._capsys.readouterr()
        return code, captured.out + captured.err

    def records(self, topic: Topic) -> list[ConsumerRecord]:
        return [record for batch in read_committed(self.kafka, self.prefix + topic) for record in batch]

    def forget(self, topic: Topic) -> None:
        """Delete all that the topic holds, as retention does."""
        part = TopicPartition(self.prefix + topic, 0)
        end = max(record.offset for record in self.records(topic)) + 1
        with closing(KafkaAdminClient(bootstrap_servers=self.kafka)) as admin:
            admin.delete_records({part: end})

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def there(kafka: str, topic_prefix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("MILLRACE_TOPIC_PREFIX", topic_prefix)
    # Where no stack runs.
    monkeypatch.setenv("MILLRACE_DATA_DIR", str(tmp_path / "nobody"))
    installation = Installation(kafka, topic_prefix, capsys)
    yield installation
    installation.close()


def test_list_shows_the_newest_last_and_counts_reasons(there: Installation) -> None:
    assert there.run("list") == (0, "no dead letters\n")
    places = [there.refuse(Topic.EVENTS, MOOD), there.refuse(Topic.EVENTS, BROKEN), there.refuse(Topic.FEEDBACK, b"")]
    places.append(there.refuse(Topic.EVENTS, None, key=b"k"))
    code, out = there.run("list")
    lines = out.splitlines()
    assert code == 0
    assert [line.split("  ")[1].strip() for line in lines[:-1]] == places
    assert "unknown_task" in lines[0]
    assert lines[-1] == "unknown_task 1, not_utf8 1, not_json 1, null_value 1"
    assert there.run("list", "--limit", "1")[1].splitlines()[0].split("  ")[1].strip() == places[-1]
    assert len(there.run("list", "--topic", "events")[1].splitlines()) == 4
    assert there.run("list", "--topic", there.prefix + "feedback")[1].splitlines()[-1] == "not_json 1"
    assert there.run("list", "--reason", "not_utf8", "--since", "1h")[1].splitlines()[-1] == "not_utf8 1"
    assert there.run("list", "--since", "2099-01-01")[1] == "no dead letters\n"
    listed = json.loads(there.run("list", "--json", "--topic", "feedback")[1])
    assert (listed["total"], listed["reasons"], listed["dead_letters"][0]["length"]) == (1, {"not_json": 1}, 0)


def test_show_makes_every_byte_visible(there: Installation) -> None:
    place = there.refuse(Topic.EVENTS, BROKEN)
    long = there.refuse(Topic.EVENTS, LONG)
    code, out = there.run("show", place, long)
    assert code == 0
    assert r'{"event_id": "b", "text": "\xff \x1b[31m"}' in out
    assert "\x1b" not in out
    assert f"the first {HEAD_BYTES} of {len(LONG)} bytes" in out
    code, out = there.run("show", "--json", place)
    assert base64.b64decode(json.loads(out)["head"]) == BROKEN
    code, out = there.run("show", f"{there.prefix}events:0:99")
    assert (code, f"{there.prefix}events:0:99" in out) == (2, True)


def test_replay_sends_the_same_bytes_key_and_headers_once(there: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [there.refuse(Topic.EVENTS, MOOD, key=b"other key"), there.refuse(Topic.EVENTS, LONG)]
    places.append(there.refuse(Topic.FEEDBACK, b'{"event_id": "m1", "task": "mood", "label": "good"}', key=b"m1"))
    there.refuse(Topic.EVENTS, BROKEN)
    # The cause has not been mended yet.
    code, out = there.run("replay", "--all")
    assert (code, out.splitlines()[-1]) == (1, "0 replayed, 0 replayed before, 4 cannot be replayed")
    assert "refused again: unknown_task" in out
    monkeypatch.setenv("MILLRACE_TASKS", "default,mood")
    code, out = there.run("replay", "--reason", "unknown_task", "--dry-run")
    assert (code, out.splitlines()[-1]) == (0, "3 to replay, 0 replayed before, 0 cannot be replayed")
    assert (len(there.records(Topic.EVENTS)), len(there.records(Topic.FEEDBACK))) == (3, 1)
    code, out = there.run("replay", "--reason", "unknown_task")
    assert (code, out.splitlines()[-1]) == (0, "3 replayed, 0 replayed before, 0 cannot be replayed")
    again = there.records(Topic.EVENTS)[3:] + there.records(Topic.FEEDBACK)[1:]
    assert [(record.key, record.value) for record in again[:2]] == [(b"other key", MOOD), (None, LONG)]
    assert [record.headers for record in again] == [[("trace", b"7"), ("replayed-from", place.encode())] for place in places]
    assert f"{places[0]}: sent as {there.prefix}events:0:3" in out
    # Once is enough.
    code, out = there.run("replay", places[0])
    assert (code, out.splitlines()[-1]) == (1, "0 replayed, 1 replayed before, 0 cannot be replayed")
    assert f"replayed already, as {there.prefix}events:0:3" in out
    code, out = there.run("replay", "--all")
    assert (code, out.splitlines()[-1]) == (1, "0 replayed, 3 replayed before, 1 cannot be replayed")
    assert there.run("replay", "--reason", "unknown_task")[0] == 0
    assert there.run("replay", places[0], "--again")[0] == 0
    code, out = there.run("replay", "--reason", "not_utf8", "--unchecked")
    assert (code, there.records(Topic.EVENTS)[-1].value) == (0, BROKEN)


def test_what_the_topic_has_forgotten_comes_from_the_dead_letter_as_far_as_it_has_it(
    there: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.refuse(Topic.EVENTS, MOOD, key=b"other key")
    there.refuse(Topic.EVENTS, LONG, key=b"long")
    there.refuse(Topic.EVENTS, None, key=b"k")
    there.forget(Topic.EVENTS)
    monkeypatch.setenv("MILLRACE_TASKS", "default,mood")
    code, out = there.run("replay", "--all")
    assert (code, out.splitlines()[-1]) == (1, "1 replayed, 0 replayed before, 2 cannot be replayed")
    assert f"the dead letter has {HEAD_BYTES} of its {len(LONG)} bytes" in out
    assert "it has no value" in out
    [record] = there.records(Topic.EVENTS)
    assert (record.value, record.key, [name for name, _ in record.headers]) == (MOOD, b"m1", ["replayed-from"])


def test_a_record_that_is_another_than_the_letter_says_is_not_sent(there: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    place = there.refuse(Topic.EVENTS, LONG)
    letter = json.loads(there.run("show", "--json", place)[1])
    # As if the topic had been deleted and made anew: at the place lies another record.
    letter |= {"sha256": "0" * 64, "offset": 0}
    there._producer.send(there.prefix + Topic.DEAD_LETTERS, json.dumps(letter).encode()).get(timeout=30)
    monkeypatch.setenv("MILLRACE_TASKS", "default,mood")
    code, out = there.run("replay", f"{there.prefix}events:0:0")
    assert (code, "does not retain it" in out, len(there.records(Topic.EVENTS))) == (1, True, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay"], "say what to replay"),
        (["replay", "--all", "--reason", "not_json"], "say what to replay"),
        (["replay", "t:0:0", "--topic", "events"], "not among places"),
        (["replay", "events:0:0"], "there is no dead letter of events:0:0"),
        (["list", "--topic", "predictions"], "records are refused in"),
    ],
)
def test_what_is_asked_wrongly_is_said(there: Installation, arguments: list[str], says: str) -> None:
    code, out = there.run(*arguments)
    assert (code, says in out) == (2, True), out


def test_no_broker_is_said(there: Installation) -> None:
    there.kafka = "127.0.0.1:1"
    code, out = there.run("list")
    assert (code, "127.0.0.1:1" in out, "Traceback" in out) == (2, True, False)
