"""What the API writes to a real Kafka, what it refuses, and how it stands an outage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.cluster import ClusterMetadata

from api.watch import ASK_AGAIN_S
from schemas.parsing import parse_event, parse_feedback
from schemas.settings import Settings, as_environment
from schemas.topics import Topic
from stack.ports import free_ports
from stack.process import Part
from store.committed import read_committed
from store.connect import connect_redis
from store.writer import RedisWriter

pytestmark = pytest.mark.integration

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]
MakeTopics = Callable[[str, str], None]


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str) -> Settings:
    return Settings(
        redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, tasks=("default", "mood"), max_text_bytes=1000
    )


def written(settings: Settings, topic: Topic) -> list[tuple[bytes, bytes]]:
    return [(r.key, r.value) for batch in read_committed(settings.kafka, settings.topic_prefix + topic) for r in batch]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == body["status"] == status, body
    assert response.headers["content-type"] == "application/problem+json"
    return body


def test_events_reach_kafka(api: httpx.Client, settings: Settings) -> None:
    response = api.post("/v1/events", json={"event_id": "e1", "text": "hi", "meta": {"n": 2**70, "x": None}})
    assert (response.status_code, response.json()) == (202, {"accepted": 1, "ids": ["e1"]})
    response = api.post(
        "/v1/events", json=[{"text": "☃", "task": "mood", "ts": 5}, {"event_id": None, "text": ""}, {"event_id": "e2", "text": "b"}]
    )
    ids = response.json()["ids"]
    assert response.status_code == 202
    assert len(set(ids)) == 3
    assert ids[2] == "e2"
    records = written(settings, Topic.EVENTS)
    events = [parse_event(value, tasks=settings.tasks, max_text_bytes=1000) for _, value in records]
    assert [event.event_id for event in events] == ["e1", *ids]
    assert [key.decode() for key, _ in records] == ["e1", *ids]
    assert (events[0].meta, events[1].text, events[1].task, events[1].ts) == ({"n": 2**70, "x": None}, "☃", "mood", 5)


def test_feedback_reaches_kafka(api: httpx.Client, settings: Settings) -> None:
    response = api.post(
        "/v1/feedback",
        json=[
            {"event_id": "e1", "label": "a"},
            {"event_id": "e1", "label": "b", "feedback_id": "f", "weight": 2, "text": "☃"},
            {"event_id": "e1", "verdict": "wrong", "comment": "no"},
        ],
    )
    ids = response.json()["ids"]
    assert response.status_code == 202
    assert ids[1] == "f"
    records = written(settings, Topic.FEEDBACK)
    labels = [parse_feedback(value, tasks=settings.tasks, max_text_bytes=1000) for _, value in records]
    assert [(label.event_id, label.label, label.feedback_id, label.weight, label.text) for label in labels] == [
        ("e1", "a", ids[0], 1, None),
        ("e1", "b", "f", 2, "☃"),
        ("e1", None, ids[2], 1, None),
    ]
    assert (labels[2].verdict, labels[2].comment) == ("wrong", "no")
    assert [key for key, _ in records] == [b"e1", b"e1", b"e1"]


def test_a_thousand_at_once(api: httpx.Client, settings: Settings) -> None:
    response = api.post("/v1/events", json=[{"event_id": f"e{n}", "text": "x" * 900} for n in range(1000)])
    assert response.json() == {"accepted": 1000, "ids": [f"e{n}" for n in range(1000)]}
    assert [key.decode() for key, _ in written(settings, Topic.EVENTS)] == [f"e{n}" for n in range(1000)]


@pytest.mark.parametrize(
    ("path", "body", "field", "reason"),
    [
        ("events", {}, "text", "invalid_field"),
        ("events", {"text": 5}, "text", "invalid_field"),
        ("events", {"text": "a", "event_id": ""}, "event_id", "invalid_field"),
        ("events", {"text": "a", "event_id": "x" * 257}, "event_id", "invalid_field"),
        ("events", {"text": "a", "task": "nope"}, "task", "unknown_task"),
        ("events", {"text": "a", "task": "A"}, "task", "invalid_field"),
        ("events", {"text": "x" * 1001}, "text", "text_too_long"),
        ("events", {"text": "a", "v": 2}, "v", "unknown_version"),
        ("events", {"text": "a", "ts": -1}, "ts", "invalid_field"),
        ("events", {"text": "a", "meta": {"a": [1]}}, "meta[...]", "invalid_field"),
        ("events", "text", "body", "invalid_field"),
        ("events", None, "body", "invalid_field"),
        ("events", 5, "body", "invalid_field"),
        ("feedback", {"event_id": "e"}, "label", "invalid_field"),
        ("feedback", {"label": "a"}, "event_id", "invalid_field"),
        ("feedback", {"event_id": "e", "label": "a", "verdict": "right"}, "verdict", "invalid_field"),
        ("feedback", {"event_id": "e", "verdict": "maybe"}, "verdict", "invalid_field"),
        ("feedback", {"event_id": "e", "verdict": "wrong", "text": "t"}, "verdict", "invalid_field"),
        ("feedback", {"event_id": "e", "verdict": None}, "label", "invalid_field"),
        ("feedback", {"event_id": "e", "label": ""}, "label", "invalid_field"),
        ("feedback", {"event_id": "e", "label": "a", "weight": 0}, "weight", "invalid_field"),
        ("feedback", {"event_id": "e", "label": "a", "task": "nope"}, "task", "unknown_task"),
        ("feedback", {"event_id": "e", "label": "a", "text": ""}, "text", "invalid_field"),
        ("feedback", {"event_id": "e", "label": "a", "text": 5}, "text", "invalid_field"),
        ("feedback", {"event_id": "e", "label": "a", "text": "é" * 501}, "text", "text_too_long"),
    ],
)
def test_one_wrong_record_names_field_and_reason(api: httpx.Client, path: str, body: object, field: str, reason: str) -> None:
    [error] = problem(api.post(f"/v1/{path}", content=json.dumps(body)), 422)["errors"]
    assert (error["field"], error["reason"]) == (field, reason)
    assert "index" not in error


def test_of_a_list_what_is_right_is_accepted(api: httpx.Client, settings: Settings) -> None:
    response = api.post("/v1/events", json=[{"event_id": "e1", "text": "a"}, {"text": 1}, {"text": "b"}, 7])
    body = response.json()
    assert (response.status_code, body["accepted"]) == (207, 2)
    assert [(error["index"], error["field"]) for error in body["errors"]] == [(1, "text"), (3, "body")]
    assert (body["ids"][0], body["ids"][1], body["ids"][3]) == ("e1", None, None)
    assert [key.decode() for key, _ in written(settings, Topic.EVENTS)] == ["e1", body["ids"][2]]
    response = api.post("/v1/feedback", json=[{"event_id": "e1"}, {"event_id": "e1", "label": "a", "feedback_id": "f"}])
    assert (response.status_code, response.json()["ids"]) == (207, [None, "f"])


def test_a_list_without_anything_right_is_refused(api: httpx.Client, settings: Settings) -> None:
    body = problem(api.post("/v1/events", json=[{"text": 1}, 7]), 422)
    assert [(error["index"], error["field"]) for error in body["errors"]] == [(0, "text"), (1, "body")]
    assert "all of 2" in body["detail"]
    assert written(settings, Topic.EVENTS) == []


@pytest.mark.parametrize("count", [0, 1001])
def test_too_few_and_too_many(api: httpx.Client, count: int) -> None:
    [error] = problem(api.post("/v1/events", json=[{"text": "a"}] * count), 422)["errors"]
    assert error["reason"] == "list_length"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"text": "\xff"}', b'{"text": "\\ud800"}', b"[" * 200_000, b'{"text": NaN}', b'{"a":' * 5000]
)
def test_what_is_no_json(api: httpx.Client, body: bytes) -> None:
    [error] = problem(api.post("/v1/feedback", content=body), 400)["errors"]
    assert error["reason"] == "not_json"


def test_too_large_bodies(api: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * 1024 * 1024

    problem(api.post("/v1/events", content=b" " * (8 * 1024 * 1024 + 1)), 413)
    problem(api.post("/v1/events", content=chunks()), 413)


def test_a_record_that_the_broker_finds_too_large(api: httpx.Client, settings: Settings) -> None:
    topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic_prefix + Topic.EVENTS, configs={"max.message.bytes": "2000"})
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka)) as admin:
        admin.alter_configs([topic])
    body = problem(api.post("/v1/events", json=[{"text": 1}, {"text": "a"}, {"text": "b", "meta": {"m": "x" * 3000}}]), 413)
    assert [(error["index"], error["field"]) for error in body["errors"]] == [(2, "body"), (0, "text")]
    assert [made is None for made in body["ids"]] == [True, False, False]
    response = api.post("/v1/events", json={"text": "a"})
    assert response.status_code == 202, response.text


def test_kafka_away_is_a_503_with_advice_and_passes(
    serve: Serve, redis_part: Part, kafka_part: Part, topics: Callable[[str, str], None]
) -> None:
    topics(kafka_part.address, "")
    settings = Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka_part.address)
    with serve(settings) as api:
        assert api.post("/v1/events", json={"event_id": "before", "text": "a"}).status_code == 202
        kafka_part.stop()
        started = time.monotonic()
        body = problem(api.post("/v1/events", json={"text": "a"}), 503)
        assert "MILLRACE_KAFKA" in body["detail"]
        assert len(body["ids"]) == 1
        assert time.monotonic() - started < 20
        again = problem(api.post("/v1/events", json={"text": "a"}), 503)
        assert "nothing listens" in again["detail"]
        kafka_part.start()
        kafka_part.wait_healthy()
        assert api.post("/v1/events", json={"event_id": "after", "text": "a"}).status_code == 202
    keys = [key for key, _ in written(settings, Topic.EVENTS)]
    assert keys[0] == b"before"
    assert keys[-1] == b"after"


def test_a_missing_topic_is_a_503(serve: Serve, redis_part: Part, kafka: str) -> None:
    settings = Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix="nobody-made-these-")
    with serve(settings) as api:
        assert "nobody-made-these-events" in problem(api.post("/v1/events", json={"text": "a"}), 503)["detail"]
        view = api.get("/readyz").json()
        assert "nobody-made-these-events" in view["parts"]["kafka"]["detail"]


def test_a_topic_out_of_sight_while_it_is_written_to_is_a_503_and_passes(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when metadata come from a broker that is just starting, between the two looks that the producer takes at them."""
    assert api.post("/v1/events", json={"text": "a"}).status_code == 202
    with monkeypatch.context() as patched:
        patched.setattr(ClusterMetadata, "topics", lambda *_, **__: set())
        body = problem(api.post("/v1/events", json={"text": "b"}), 503)
        assert "LeaderNotAvailableError" in body["detail"]
        assert len(body["ids"]) == 1
    assert api.post("/v1/events", json={"text": "c"}).status_code == 202


def until_parts(api: httpx.Client, wanted: dict[str, bool | None]) -> dict[str, Any]:
    """The parts as soon as they are as wanted; each is asked every two seconds. The audit has tests of its own."""
    deadline = time.monotonic() + 10 * ASK_AGAIN_S
    while True:
        parts: dict[str, Any] = api.get("/readyz").json()["parts"]
        if {name: part["ready"] for name, part in parts.items() if name != "audit"} == wanted:
            return parts
        assert time.monotonic() < deadline, parts
        time.sleep(0.05)


def test_ready_tells_the_parts_apart(api: httpx.Client, settings: Settings, redis_part: Part) -> None:
    assert api.get("/healthz").status_code == 200
    response = api.get("/readyz")
    assert (response.status_code, response.json()["ready"]) == (200, True)
    assert response.json()["parts"]["classify"]["ready"] is None
    with connect_redis(settings.redis) as client:
        writer = RedisWriter(client, recent=5, topic_prefix=settings.topic_prefix)
        writer.mark_job("classify", now=int(time.time() * 1000))
        writer.mark_job("learn", now=int(time.time() * 1000) - 100_000)
    parts = until_parts(api, {"kafka": True, "redis": True, "classify": True, "learn": False, "publish": None, "model_log": True})
    redis_ready = parts["redis"]["since"]
    redis_part.stop()
    stopped = time.time() * 1000
    known = {"kafka": True, "redis": False, "classify": None, "learn": None, "publish": None, "model_log": True}
    parts = until_parts(api, known)
    assert "MILLRACE_REDIS" in parts["redis"]["detail"]
    assert redis_ready < parts["redis"]["since"] <= stopped
    response = api.get("/readyz")
    assert (response.status_code, response.json()["ready"]) == (503, False)
    assert api.get("/healthz").status_code == 200


def test_ready_says_that_kafka_is_away(serve: Serve, redis_part: Part) -> None:
    with serve(Settings(redis=f"redis://{redis_part.address}/0", kafka="127.0.0.1:1")) as api:
        response = api.get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"]["kafka"] == {
        "ready": False,
        "since": None,
        "detail": "Kafka at 127.0.0.1:1 does not answer (nothing listens there): start it, or set MILLRACE_KAFKA to the one to use",
    }


def test_served_as_a_program_it_ends_on_sigterm(settings: Settings, tmp_path: Path) -> None:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "api", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "api.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | as_environment(settings), stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                if httpx.get(url + "/healthz").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        # An encoded slash is part of the id, also behind a real server.
        assert httpx.get(url + "/v1/predictions/a%2Fb").status_code == 404
        assert httpx.post(url + "/v1/events", json={"event_id": "a/b", "text": "x"}).status_code == 202
        assert problem(httpx.post(url + "/v1/events", content=b" " * (9 * 1024 * 1024)), 413)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait(10)
    assert "Traceback" not in (tmp_path / "api.log").read_text()
    assert [key for key, _ in written(settings, Topic.EVENTS)] == [b"a/b"]


def test_wrong_settings_are_a_message(tmp_path: Path) -> None:
    environment = os.environ | {"MILLRACE_REDIS": "nonsense", "MILLRACE_TASKS": "A"}
    result = subprocess.run([sys.executable, "-m", "api"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert "MILLRACE_TASKS" in result.stderr
    result = subprocess.run(
        [sys.executable, "-m", "api"], env=environment | {"MILLRACE_TASKS": "a"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert json.dumps("MILLRACE_REDIS")[1:-1] in result.stderr
