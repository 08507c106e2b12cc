"""What the API says of models, from a real log, and what it asks of the learner."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import msgspec
import pytest
import redis

from schemas.parsing import parse_command
from schemas.records import ModelVersion, Quality, Trial
from schemas.settings import Settings
from schemas.topics import Topic
from stack.process import Part
from store.committed import read_committed
from store.writer import RedisWriter
from tests.integration.played_learner import SCORES, PlayedLearner, label, manifest, release, snapshot, store, when_read

pytestmark = pytest.mark.integration

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, tasks=("default", "mood"), artifacts=str(tmp_path)
    )


@pytest.fixture
def learner(settings: Settings) -> Iterator[PlayedLearner]:
    learner = PlayedLearner(settings)
    with learner.answering():
        yield learner


def problem(response: httpx.Response, status: int) -> dict[str, object]:
    body: dict[str, object] = response.json()
    assert response.status_code == body["status"] == status, body
    assert response.headers["content-type"] == "application/problem+json"
    return body


def until_seq(api: httpx.Client, seq: int) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while (found := when_read(api, "/v1/models"))["seq"] != seq:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_lines_with_their_trials(api: httpx.Client, settings: Settings, learner: PlayedLearner, redis_client: redis.Redis) -> None:
    assert when_read(api, "/v1/models")["serving"] == "base"
    store(settings, manifest("r1-a", passed=True))
    store(settings, manifest("r2-b", passed=False))
    store(settings, manifest("r1-a", task="mood"))
    came = release(3, "r1-a", time_ms=2000), release(4, "r0-c", mode="split", share=0.25, time_ms=3000)
    learner.write(label(1), snapshot(2), *came, label(5))
    trial = Trial(line="r0-c", role="split", champion="r1-a", since_seq=4, share=0.25, labels=7, line_correct=5, champion_correct=4)
    quality = Quality(
        task="default", time=1, model=ModelVersion(line="r1-a", seq=5), model_time=1, overall=SCORES, window=SCORES, window_size=10,
        trials=[trial],
    )  # fmt: skip
    RedisWriter(redis_client, recent=10, topic_prefix=settings.topic_prefix).write_quality(quality)
    found = msgspec.convert(until_seq(api, 5), dict)
    places = [(line["line"], line["place"], line["share"], line["passed"]) for line in found["lines"]]
    assert places == [
        ("r1-a", "serving", None, True),
        ("r0-c", "split", 0.25, None),
        ("base", "former", None, None),
        ("r2-b", "stored", None, False),
    ]
    assert found["serving"] == "r1-a"
    assert [line["trial"] for line in found["lines"]] == [None, msgspec.to_builtins(trial), None, None]
    assert found["lines"][0]["last_change"]["by"] == "ann"
    assert api.get("/v1/quality").json()["trials"] == [msgspec.to_builtins(trial)]
    # The other task has a log of its own, and a release of the same name.
    mood = api.get("/v1/models", params={"task": "mood"}).json()
    assert (mood["serving"], mood["seq"], [line["line"] for line in mood["lines"]]) == ("base", 0, ["base", "r1-a"])


def test_one_line_with_manifest_and_history(api: httpx.Client, settings: Settings, learner: PlayedLearner) -> None:
    made = store(settings, manifest("r1-a"))
    learner.write(release(1, "r1-a", time_ms=1000), release(2, "r2-b", time_ms=2000), label(3))
    until_seq(api, 3)
    found = api.get("/v1/models/r1-a").json()
    assert (found["line"]["place"], found["line"]["since_seq"], found["manifest"]) == ("former", 2, msgspec.to_builtins(made))
    assert [(c["seq"], c["what"], c["why"], c["metrics"], c["data"]) for c in found["history"]] == [
        (1, "r1-a released, serves", "better", {"gain": 0.01}, "f00d")
    ]
    problem(api.get("/v1/models/nope"), 404)
    problem(api.get("/v1/models/No.pe"), 422)
    problem(api.get("/v1/models/r1-a", params={"task": "other"}), 422)


def test_which_model_was_live_at_a_time(api: httpx.Client, learner: PlayedLearner) -> None:
    learner.write(release(1, "r1-a", time_ms=1_000_000), label(2), release(3, "r2-b", time_ms=2_000_000))
    until_seq(api, 3)

    def live(at: str) -> tuple[str, int]:
        body = api.get("/v1/models/at", params={"time": at}).json()
        return body["line"], body["since_seq"]

    assert live("999999") == ("base", 0)
    assert live("1000000") == ("r1-a", 1)
    assert live("1999999") == ("r1-a", 1)
    assert live("1970-01-01T00:33:19.999") == ("r1-a", 1)
    assert live("1970-01-01T01:33:20+01:00") == ("r2-b", 3)
    assert live("9999-01-01") == ("r2-b", 3)
    for wrong in ("yesterday", "-5", "99999999999999999", ""):
        assert problem(api.get("/v1/models/at", params={"time": wrong}), 422)["detail"] == "invalid: time"
    problem(api.get("/v1/models/at"), 422)


def test_commands_and_their_answers(api: httpx.Client, settings: Settings, learner: PlayedLearner) -> None:
    made = store(settings, manifest("r1-a"))
    learner.write(label(1), label(2))
    until_seq(api, 2)
    response = api.post("/v1/models/r1-a/shadow", json={"by": "ann", "why": "to look at"}, params={"wait_s": 30})
    assert (response.status_code, response.json()["state"]) == (200, "done")
    answer = response.json()["answer"]
    assert (answer["seq"], answer["kind"], answer["by"], answer["why"], answer["data"]) == (3, "release", "ann", "to look at", "f00d")
    assert api.get(response.headers["location"]).json() == response.json()
    topic = settings.topic_prefix + Topic.MODEL_COMMANDS
    (sent,) = [parse_command(record.value, tasks=settings.tasks) for batch in read_committed(settings.kafka, topic) for record in batch]
    assert (sent.do, sent.line, sent.origin, sent.metrics) == ("shadow", "r1-a", made.origin, {"gain": 0.02})

    def done(path: str, **body: object) -> str:
        answered = api.post(f"/v1/models/{path}", json={"by": "ben", **body}, params={"wait_s": 30})
        assert answered.status_code == 200, answered.text
        return str(answered.json()["answer"]["what"])

    assert done("r1-a/split", share=0.5) == "r1-a serves 50.0% of the events"
    assert done("r1-a/promote") == "r1-a promoted, replaces base"
    assert done("rollback") == "rolled back to base from r1-a"
    refused = problem(api.post("/v1/models/r1-a/drop", json={"by": "ben"}, params={"wait_s": 30}), 409)
    assert "r1-a is not watched" in str(refused["detail"])
    shown = api.get("/v1/models/history", params={"limit": 2}).json()["changes"]
    assert [(c["kind"], c["by"]) for c in shown] == [("refusal", "ben"), ("rollback", "ben")]


def test_a_command_without_waiting(api: httpx.Client, settings: Settings, learner: PlayedLearner) -> None:
    learner.write(release(1, "r1-a", time_ms=1000))
    until_seq(api, 1)
    response = api.post("/v1/models/base/promote", json={"by": "ann", "against": "r1-a"})
    assert (response.status_code, response.json()["answer"]) == (202, None)
    deadline = time.monotonic() + 30
    while (found := api.get(response.headers["location"]).json())["state"] == "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (found["state"], found["answer"]["kind"]) == ("done", "promote")
    problem(api.get("/v1/models/commands/never-sent"), 404)
    stale = problem(api.post("/v1/models/r1-a/promote", json={"by": "ann", "against": "r1-a"}, params={"wait_s": 30}), 409)
    assert "it was meant to replace r1-a, but base serves" in str(stale["detail"])


WRONG: list[tuple[str, object, str]] = [
    ("base/promote", {}, "by"),
    ("base/promote", {"by": ""}, "by"),
    ("base/promote", {"by": "x" * 257}, "by"),
    ("base/promote", {"by": 5}, "by"),
    ("base/promote", {"by": "a", "share": 0.5}, "body"),
    ("base/promote", [], "body"),
    ("base/split", {"by": "a"}, "share"),
    ("base/split", {"by": "a", "share": 1}, "share"),
    ("base/shadow", {"by": "a", "against": "NO"}, "against"),
    ("rollback", {"by": "a", "line": "../x"}, "line"),
    ("base/drop?wait_s=9999", {"by": "a"}, "wait_s"),
    ("UPPER/drop", {"by": "a"}, "line"),
]


def test_what_is_wrong_is_named(api: httpx.Client) -> None:
    when_read(api, "/v1/models")
    for path, body, field in WRONG:
        errors = problem(api.post(f"/v1/models/{path}", json=body), 422)["errors"]
        assert isinstance(errors, list)
        assert [error["field"] for error in errors] == [field], path


def test_unknown_lines_and_broken_bodies(api: httpx.Client, settings: Settings) -> None:
    when_read(api, "/v1/models")
    assert "nope" in str(problem(api.post("/v1/models/nope/promote", json={"by": "ann"}), 404)["detail"])
    problem(api.post("/v1/models/base/promote", content=b"{"), 400)
    problem(api.post("/v1/models/base/promote", content=b"\xff"), 400)
    assert list(read_committed(settings.kafka, settings.topic_prefix + Topic.MODEL_COMMANDS)) == []


def test_without_kafka_it_is_a_503_with_advice(serve: Serve, redis_part: Part) -> None:
    with serve(Settings(redis=f"redis://{redis_part.address}/0", kafka="127.0.0.1:1")) as api:
        for response in (api.get("/v1/models"), api.get("/v1/models/history"), api.post("/v1/models/base/promote", json={"by": "a"})):
            assert problem(response, 503)["detail"]
            assert response.headers["retry-after"]


def test_an_outage_of_kafka_passes(serve: Serve, redis_part: Part, kafka_part: Part, topics: Callable[[str, str], None]) -> None:
    topics(kafka_part.address, "")
    settings = Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka_part.address)
    learner = PlayedLearner(settings)
    learner.write(release(1, "r1-a", time_ms=1000))
    with serve(settings) as api:
        assert until_seq(api, 1)["serving"] == "r1-a"
        kafka_part.stop()
        assert api.get("/v1/models").json()["serving"] == "r1-a"
        kafka_part.start()
        kafka_part.wait_healthy()
        learner.write(release(2, "r2-b", time_ms=2000))
        assert until_seq(api, 2)["serving"] == "r2-b"
    learner.producer.close()
