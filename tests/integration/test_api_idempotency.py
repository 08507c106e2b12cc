"""Requests that are repeated with their key: the same records, sent once where Redis answers, harmless where it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from api.access.key_file import KeyFile, new_key, write_key_file
from schemas.api_settings import ApiSettings
from schemas.settings import Settings
from schemas.topics import Topic
from stack.process import Part
from store.committed import read_committed
from store.connect import RedisUnavailable, connect_redis
from store.idempotency import KeyReused, SentKeys
from store.keys import IDEMPOTENCY_LIFETIME_S

pytestmark = pytest.mark.integration

Serve = Callable[..., AbstractContextManager[httpx.Client]]
EVENTS = [{"text": "a"}, {"text": "b", "task": "mood"}, {"event_id": "mine", "text": "c"}]


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str) -> Settings:
    return Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, tasks=("default", "mood"))


def written(settings: Settings, topic: Topic) -> list[str]:
    return [r.key.decode() for batch in read_committed(settings.kafka, settings.topic_prefix + topic) for r in batch]


def post(api: httpx.Client, body: object, key: str, route: str = "events") -> httpx.Response:
    return api.post(f"/v1/{route}", json=body, headers={"Idempotency-Key": key})


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == body["status"] == status, body
    return body


def test_a_repetition_is_answered_the_same_and_not_sent_again_by_any_process(
    api: httpx.Client, serve: Serve, settings: Settings, redis_client: redis.Redis
) -> None:
    first = post(api, EVENTS, "k1")
    assert (first.status_code, first.json()["accepted"], "idempotency-replayed" in first.headers) == (202, 3, False)
    with serve(settings) as another:
        for client in (api, another):
            again = post(client, EVENTS, "k1")
            assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (202, first.content, "true")
    assert written(settings, Topic.EVENTS) == first.json()["ids"]
    # Other keys, and other routes, are other requests.
    assert set(post(api, EVENTS, "k2").json()["ids"]) & set(first.json()["ids"]) == {"mine"}
    label = {"event_id": "e", "label": "x"}
    given = post(api, label, "k1", "feedback")
    assert (given.status_code, "idempotency-replayed" in given.headers) == (202, False)
    assert post(api, label, "k1", "feedback").json() == given.json()
    assert len(written(settings, Topic.FEEDBACK)) == 1
    noted: Any = redis_client.keys("*:idempotency:*")
    left: Any = [redis_client.ttl(name) for name in noted]
    assert len(left) == 3
    assert all(0 < seconds <= IDEMPOTENCY_LIFETIME_S for seconds in left)


def test_a_key_with_another_body_is_refused(api: httpx.Client, settings: Settings) -> None:
    first = post(api, EVENTS, "k")
    body = problem(post(api, [*EVENTS, {"text": "d"}], "k"), 422)
    assert [(error["field"], error["reason"]) for error in body["errors"]] == [("Idempotency-Key", "key_reused")]
    assert written(settings, Topic.EVENTS) == first.json()["ids"]


def test_callers_do_not_get_into_each_others_way(serve: Serve, settings: Settings, tmp_path: Path) -> None:
    now = time.time_ns() // 1_000_000
    made = [new_key(name, ("write",), now=now) for name in ("ann", "ben")]
    write_key_file(tmp_path / "keys.json", KeyFile(keys=tuple(entry for entry, _ in made)))
    with serve(settings, ApiSettings(keys=str(tmp_path / "keys.json"))) as api:
        for _, key in made:
            for replayed in (None, "true"):
                response = api.post("/v1/events", json={"text": key[:4]}, headers={"Idempotency-Key": "k", "X-API-Key": key})
                assert (response.status_code, response.headers.get("idempotency-replayed")) == (202, replayed)
    assert len(set(written(settings, Topic.EVENTS))) == 2


def test_what_was_refused_binds_no_key_and_what_was_accepted_in_part_does(api: httpx.Client, settings: Settings) -> None:
    problem(post(api, {"text": 5}, "k"), 422)
    part = post(api, [{"text": "a"}, {"text": 5}], "k")
    again = post(api, [{"text": "a"}, {"text": 5}], "k")
    assert (part.status_code, again.status_code, again.content, again.headers["idempotency-replayed"]) == (207, 207, part.content, "true")
    assert len(written(settings, Topic.EVENTS)) == 1


def test_without_redis_a_repetition_has_the_same_ids(api: httpx.Client, redis_part: Part, settings: Settings) -> None:
    redis_part.stop()
    first, again, other = post(api, EVENTS, "k"), post(api, EVENTS, "k"), post(api, [{"text": "z"}], "k")
    assert first.json() == again.json()
    assert "idempotency-replayed" not in again.headers
    assert other.json()["ids"][0] not in first.json()["ids"], "another body is not taken for a repetition"
    assert len(set(written(settings, Topic.EVENTS))) == 4


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve", "a\tb"])
def test_a_header_that_is_no_key(api: httpx.Client, key: str) -> None:
    response = api.post("/v1/events", json=EVENTS, headers={b"Idempotency-Key": key.encode("latin-1")})
    [error] = problem(response, 422)["errors"]
    assert error["field"] == "Idempotency-Key"


def test_two_headers_are_one_too_many(api: httpx.Client) -> None:
    response = api.post("/v1/events", json=EVENTS, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert problem(response, 422)["errors"][0]["reason"] == "repeated"


def test_those_that_come_at_once_agree(settings: Settings, redis_client: redis.Redis) -> None:
    """Of many with two bodies one body wins; nobody is told that it was sent before it was."""
    keys = SentKeys(redis_client)
    answers: list[tuple[bytes, object]] = []
    start = threading.Barrier(8)

    def claim(body: bytes) -> None:
        start.wait()
        try:
            answers.append((body, keys.claim("events", "k", body)))
        except KeyReused:
            answers.append((body, "refused"))

    threads = [threading.Thread(target=claim, args=(b"ab"[n % 2 : n % 2 + 1],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    [winner] = {body for body, answer in answers if answer is False}
    assert sorted(answers, key=str) == sorted(
        [(body, False if body == winner else "refused") for body in (b"a", b"b") for _ in range(4)], key=str
    )
    keys.sent("events", "k", winner)
    assert keys.claim("events", "k", winner)


def test_a_redis_that_is_away_is_said() -> None:
    with connect_redis("redis://127.0.0.1:1/0") as client, pytest.raises(RedisUnavailable):
        SentKeys(client).claim("events", "k", b"")
    with connect_redis("redis://127.0.0.1:1/0") as client, pytest.raises(RedisUnavailable):
        SentKeys(client).sent("events", "k", b"")
