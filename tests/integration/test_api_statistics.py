"""What the API shows of what is counted over time."""

from __future__ import annotations

import time

import httpx
import msgspec
import pytest
import redis

from schemas.records import Aggregate
from schemas.settings import Settings
from schemas.trending import Trending, TrendingName
from stack.process import Part
from store.writer import RedisWriter

pytestmark = pytest.mark.integration

HOUR_MS = 3_600_000
NOW = int(time.time() * 1000)


@pytest.fixture
def settings(redis_part: Part) -> Settings:
    return Settings(
        redis=f"redis://{redis_part.address}/0",
        kafka="127.0.0.1:1",
        tasks=("default", "mood"),
        trending_slide_s=30,
        trending_window_slides=4,
    )


@pytest.fixture
def writer(redis_client: redis.Redis) -> RedisWriter:
    return RedisWriter(redis_client, recent=100)


def test_trending(api: httpx.Client, writer: RedisWriter) -> None:
    nothing = {"total": 0, "total_before": 0, "missed": 0, "late": 0, "lost": 0, "items": [], "start": None, "end": None}
    assert api.get("/v1/trending").json() == {**nothing, "task": "default", "kind": "hashtag", "window_ms": 120_000, "slide_ms": 30_000}
    items = [TrendingName(name=name, count=5, before=7, change=-2) for name in ("été", "東京")]
    window = Trending(
        task="mood", kind="word", start=NOW - 60_000, end=NOW, slide_ms=20_000, items=items, total=9, total_before=8, late=3, lost=1
    )  # fmt: skip
    writer.write_trending([window])
    shown = api.get("/v1/trending", params={"task": "mood", "kind": "word", "limit": 1}).json()
    assert shown == {
        "task": "mood", "kind": "word", "window_ms": 60_000, "slide_ms": 20_000, "start": NOW - 60_000, "end": NOW,
        "items": [{"name": "été", "count": 5, "before": 7, "change": -2}], "total": 9, "total_before": 8, "missed": 0, "late": 3, "lost": 1,
    }  # fmt: skip
    assert api.get("/v1/trending", params={"task": "mood", "kind": "mention"}).json()["items"] == []
    # What was written is a value of its own: a limit cuts only what is shown.
    assert api.get("/v1/trending", params={"task": "mood", "kind": "word"}).json()["items"] == msgspec.to_builtins(items)


def test_score_history(api: httpx.Client, writer: RedisWriter) -> None:
    assert api.get("/v1/quality/history").json() == {"task": "default", "granularity": "hour", "buckets": []}
    hour = NOW - NOW % HOUR_MS
    counts = [("correct", hour, 3), ("wrong", hour, 1), ("wrong", hour - HOUR_MS, 2)]
    writer.write_aggregates(
        [Aggregate(name="scores", task="default", label=label, granularity="hour", start=start, count=n) for label, start, n in counts]
    )
    shown = api.get("/v1/quality/history", params={"granularity": "hour", "limit": 2}).json()["buckets"]
    assert shown == [
        {"start": hour, "labels": 4, "correct": 3, "accuracy": 0.75},
        {"start": hour - HOUR_MS, "labels": 2, "correct": 0, "accuracy": 0.0},
    ]
    assert api.get("/v1/quality/history", params={"granularity": "minute"}).json()["buckets"] == []
    assert api.get("/v1/quality").json()["label_states"]["trained"] == 0, "scores are no states"


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/v1/trending", {"kind": "emoji"}, "kind"),
        ("/v1/trending", {"limit": 0}, "limit"),
        ("/v1/trending", {"task": "nope"}, "task"),
        ("/v1/quality/history", {"granularity": "week"}, "granularity"),
        ("/v1/quality/history", {"limit": 1001}, "limit"),
    ],
)
def test_wrong_parameters_name_the_field(api: httpx.Client, path: str, query: dict[str, str], field: str) -> None:
    answer = api.get(path, params=query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
