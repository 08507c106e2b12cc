"""What the API says of drift alarms: those of the topic, newest first, and since when it may be out of date."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import Any

import httpx
import msgspec
import pytest

from schemas.drift import Drift
from schemas.parsing import encode
from schemas.records import Alarm, ModelVersion
from schemas.settings import Settings
from schemas.topics import Topic
from store import alarm_feed
from store.connect import connect_producer

pytestmark = pytest.mark.integration

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]


def alarm(number: int, task: str = "default") -> Alarm:
    drift = Drift(number=number, seq=number, detector="adwin", errors_before=0.1, labels_before=90, errors_after=0.5, labels_after=8)
    return Alarm(task=task, time=1000 + number, model=ModelVersion(line="base", seq=number), drift=drift)


def answered(api: httpx.Client, is_right: Callable[[dict[str, Any]], bool], **query: str | int) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        body: dict[str, Any] = api.get("/v1/alarms", params=query).json()
        if is_right(body):
            return body
        assert time.monotonic() < deadline, body
        time.sleep(0.05)


def test_alarms_newest_first_and_as_they_come(kafka: str, topic_prefix: str, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_feed, "ALARMS_KEPT", 4)
    settings = Settings(kafka=kafka, redis="redis://127.0.0.1:1/0", topic_prefix=topic_prefix, tasks=("default", "mood"))
    with serve(settings) as api, closing(connect_producer(kafka)) as producer:

        def send(*alarms: Alarm) -> None:
            for one in alarms:
                producer.send(topic_prefix + Topic.ALARMS, encode(one), key=one.task.encode())
            producer.flush()

        assert answered(api, lambda body: "alarms" in body) == {"task": "default", "alarms": [], "stale_since": None}
        send(alarm(1), alarm(1, "mood"), alarm(2))
        body = answered(api, lambda body: len(body.get("alarms", [])) == 2)
        assert body["alarms"] == msgspec.to_builtins([alarm(2), alarm(1)])
        assert len(api.get("/v1/alarms", params={"limit": 1}).json()["alarms"]) == 1
        assert [a["task"] for a in api.get("/v1/alarms", params={"task": "mood"}).json()["alarms"]] == ["mood"]
        send(*(alarm(number) for number in range(3, 9)))
        body = answered(api, lambda body: body["alarms"][0]["drift"]["number"] == 8)
        assert [a["drift"]["number"] for a in body["alarms"]] == [8, 7, 6, 5]
        assert api.get("/v1/alarms", params={"limit": 0}).status_code == 422


def test_without_kafka_it_says_what_to_do(serve: Serve) -> None:
    with serve(Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1/0")) as api:
        answered(api, lambda body: body["status"] == 503 and "MILLRACE_KAFKA" in body["detail"])
