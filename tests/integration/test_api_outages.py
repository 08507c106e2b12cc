"""Redis, Kafka and the jobs go away and come back: the API says which part is stale since when, and answers what it can meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import readiness
from schemas.settings import Settings
from stack.process import Part
from store.connect import connect_redis
from store.writer import RedisWriter
from stream.sign_of_life import SignOfLife
from tests.integration.played_learner import PlayedLearner, release, when_read
from tests.integration.test_api_writing import until_parts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]
JOBS = ("classify", "learn", "publish")
ALL = dict.fromkeys(("kafka", "redis", *JOBS, "model_log"), True)


@contextmanager
def signs_of_life(settings: Settings) -> Iterator[None]:
    """Those that the operators of running jobs give."""
    alive = [SignOfLife(settings, job) for job in JOBS]
    try:
        yield
    finally:
        for one in alive:
            one.close()


@contextmanager
def hanging(part: Part) -> Iterator[None]:
    """A part that takes connections and answers nothing."""
    assert part.process is not None
    part.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        part.process.send_signal(signal.SIGCONT)


def parts(api: httpx.Client, **not_ready: bool | None) -> dict[str, Any]:
    return until_parts(api, {**ALL, **not_ready})


def statuses(api: httpx.Client) -> dict[str, int]:
    """What each kind of route answers; nothing may take long."""
    found = {}
    asked = (("GET", "/healthz", None), ("GET", "/readyz", None), ("GET", "/metrics", None), ("GET", "/v1/quality", None),
             ("GET", "/v1/models", None), ("POST", "/v1/events", {"text": "a"}))  # fmt: skip
    for method, path, body in asked:
        found[path] = api.request(method, path, json=body).status_code
    return found


def test_each_part_goes_and_comes_back(
    serve: Serve, redis_part: Part, kafka_part: Part, topics: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "STALE_MS", 4000)
    topics(kafka_part.address, "")
    settings = Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka_part.address, artifacts=str(tmp_path))
    learner = PlayedLearner(settings)
    learner.write(release(1, "r1-a", time_ms=1000))
    well = {"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/quality": 200, "/v1/models": 200, "/v1/events": 202}
    with serve(settings) as api, connect_redis(settings.redis) as client:
        RedisWriter(client, recent=10).mark()
        when_read(api, "/v1/models")
        with signs_of_life(settings):
            began = time.time() * 1000
            shown = parts(api)
            assert shown["publish"]["since"] > began - 60_000
            assert statuses(api) == well

            redis_part.stop()
            gone = time.time() * 1000
            shown = parts(api, redis=False, **dict.fromkeys(JOBS))
            assert began < shown["redis"]["since"] <= gone
            assert shown["learn"]["since"] <= gone, "what is served is as old as the last sign of life"
            assert statuses(api) == {**well, "/readyz": 503, "/v1/quality": 503}
            redis_part.start()
            redis_part.wait_healthy()
            shown = parts(api)
            assert shown["redis"]["since"] > gone
            assert statuses(api) == well

            kafka_part.stop()
            gone = time.time() * 1000
            shown = parts(api, kafka=False, model_log=False)
            assert began < shown["kafka"]["since"] <= gone
            assert shown["model_log"]["since"] == shown["kafka"]["since"]
            assert "seq 1 of default" in shown["model_log"]["detail"]
            assert statuses(api) == {**well, "/readyz": 503, "/v1/events": 503}
            kafka_part.start()
            kafka_part.wait_healthy()
            parts(api)
            assert statuses(api) == well

        stopped = time.time() * 1000
        shown = parts(api, **dict.fromkeys(JOBS, False))
        assert all(stopped - 4000 < shown[job]["since"] <= stopped + 4000 for job in JOBS)
        assert statuses(api) == well, "what was published is served on, and what comes waits in Kafka for the jobs"
        with signs_of_life(settings):
            parts(api)
    learner.producer.close()


def test_parts_that_hang_hold_up_nobody_who_does_not_need_them(
    serve: Serve, redis_part: Part, kafka_part: Part, topics: Callable[[str, str], None]
) -> None:
    topics(kafka_part.address, "")
    settings = Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka_part.address)
    with serve(settings) as api:
        until_parts(api, {**ALL, **dict.fromkeys(JOBS)})
        with hanging(redis_part), hanging(kafka_part):
            deadline = time.monotonic() + 60
            while api.get("/readyz").json()["ready"] or api.get("/readyz").json()["parts"]["redis"]["ready"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            began = time.monotonic()
            answers = [api.get(path) for path in ("/healthz", "/readyz", "/metrics") for _ in range(5)]
            assert time.monotonic() - began < 5
            assert {answer.status_code for answer in answers} == {200, 503}
            assert "has not answered for" in api.get("/readyz").text
        until_parts(api, {**ALL, **dict.fromkeys(JOBS)})
