"""What the API shows of a real Redis."""

from __future__ import annotations

import time

import httpx
import msgspec
import pytest
import redis

from schemas.drift import Drift
from schemas.parsing import encode
from schemas.records import (
    Aggregate,
    ClassQuality,
    FeedbackRef,
    LabelState,
    ModelVersion,
    Position,
    Prediction,
    Quality,
    Score,
    Scores,
    State,
)
from schemas.settings import Settings
from stack.process import Part
from store.writer import TEXT_SHOWN, RedisWriter

pytestmark = pytest.mark.integration

NOW = int(time.time() * 1000)


def encode_all(batch: list[Prediction]) -> list[bytes]:
    return [encode(prediction) for prediction in batch]


def prediction(
    event_id: str, number: int, *, label: str | None = "a", p: float = 0.9, task: str = "default", text: str = "hi"
) -> Prediction:
    return Prediction(
        event_id=event_id,
        task=task,
        text=text,
        meta={"n": number},
        label=label,
        proba={} if label is None else {label: p, "z": round(1 - p, 6)},
        classes=2,
        model=ModelVersion(line="base", seq=number),
        event_ts=NOW,
        predicted_at=NOW + number,
        source=Position(partition=0, offset=number),
    )


def state(
    kind: State,
    offset: int,
    *,
    event_id: str = "e1",
    seq: int | None = None,
    label: str | None = "a",
    served: str | None = None,
    score: Score | None = None,
) -> LabelState:
    ref = FeedbackRef(at=Position(partition=0, offset=offset), feedback_id=f"f{offset}")
    return LabelState(
        event_id=event_id, task="default", state=kind, feedback=ref, label=label, seq=seq, served=served, score=score, time=NOW + offset
    )


@pytest.fixture
def settings(redis_part: Part) -> Settings:
    return Settings(redis=f"redis://{redis_part.address}/0", kafka="127.0.0.1:1", tasks=("default", "mood"))


@pytest.fixture
def writer(redis_client: redis.Redis) -> RedisWriter:
    return RedisWriter(redis_client, recent=1000)


def problem(response: httpx.Response, status: int) -> dict[str, object]:
    body: dict[str, object] = response.json()
    assert response.status_code == body["status"] == status, body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["title"]
    assert body["detail"]
    return body


def test_predictions_with_filters(api: httpx.Client, writer: RedisWriter) -> None:
    nothing = api.get("/v1/predictions").json()
    assert (nothing["task"], nothing["predictions"], nothing["next"], nothing["indexed"]["events"]) == ("default", [], None, 0)
    writer.write_predictions(encode_all([prediction(f"e{n}", n, label=["a", "b", None][n % 3], p=0.1 * n) for n in range(9)]))
    writer.write_predictions(encode_all([prediction("m", 1, task="mood")]))
    shown = api.get("/v1/predictions").json()["predictions"]
    assert [p["event_id"] for p in shown] == [f"e{n}" for n in range(8, -1, -1)]
    assert (shown[0]["label"], shown[0]["confidence"], shown[0]["proba"]) == (None, 0, {})
    assert shown[1]["confidence"] == pytest.approx(0.7)
    assert shown[1]["model"] == {"line": "base", "seq": 7}

    def ids(**query: str | float) -> list[str]:
        return [p["event_id"] for p in api.get("/v1/predictions", params=query).json()["predictions"]]

    assert ids(label="a") == ["e6", "e3", "e0"]
    assert ids(label="") == ["e8", "e5", "e2"]
    assert ids(label="b", min_confidence=0.3) == ["e7", "e4"]
    assert ids(min_confidence=0.65) == ["e7"]
    assert ids(limit=2) == ["e8", "e7"]
    assert ids(task="mood") == ["m"]
    assert ids(label="nobody") == []


def test_pages_do_not_shift_while_predictions_arrive(api: httpx.Client, writer: RedisWriter) -> None:
    writer.write_predictions(encode_all([prediction(f"e{n:03}", n // 4) for n in range(100)]))
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 9}
    for number in range(100):
        page = api.get("/v1/predictions", params=query).json()
        seen += [p["event_id"] for p in page["predictions"]]
        writer.write_predictions(encode_all([prediction(f"new{number}", 1000 + number)]))
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [f"e{n:03}" for n in sorted(range(100), key=lambda n: (n // 4, n), reverse=True)]


@pytest.mark.parametrize("event_id", ["e1", "a/b", "a b?c#d", "ü☃", "%2F", "..", "predictions/"])
def test_one_prediction_with_its_label(api: httpx.Client, writer: RedisWriter, event_id: str) -> None:
    url = "/v1/predictions/" + "".join(f"%{byte:02X}" for byte in event_id.encode())
    problem(api.get(url), 404)
    writer.write_predictions(encode_all([prediction(event_id, 1)]))
    shown = api.get(url).json()
    assert (shown["event_id"], shown["label_state"], shown["label_seq"], shown["truth"], shown["correct"]) == (
        event_id,
        None,
        None,
        None,
        None,
    )
    writer.write_label_states([state(State.WAITING, 3, event_id=event_id), state(State.TRAINED, 3, event_id=event_id, seq=7)])
    shown = api.get(url, params={"task": "default"}).json()
    assert (shown["label_state"], shown["label_seq"], shown["truth"], shown["correct"]) == ("trained", 7, "a", True)
    problem(api.get(url, params={"task": "mood"}), 404)


def test_long_texts_are_shown_cut(api: httpx.Client, writer: RedisWriter) -> None:
    writer.write_predictions(encode_all([prediction("long", 1, text="x" * 5000), prediction("fits", 2, text="x" * TEXT_SHOWN)]))
    shown = {p["event_id"]: p for p in api.get("/v1/predictions").json()["predictions"]}
    assert (len(shown["long"]["text"]), shown["long"]["text_truncated"]) == (TEXT_SHOWN, True)
    assert (len(shown["fits"]["text"]), shown["fits"]["text_truncated"]) == (TEXT_SHOWN, False)


def test_receipts(api: httpx.Client, writer: RedisWriter) -> None:
    problem(api.get("/v1/labels/e1"), 404)
    score = Score(correct=False, log_loss=1.5)
    trained = state(State.TRAINED, 1, seq=4, served="z", score=score)
    writer.write_label_states([state(State.WAITING, 1), trained])
    shown = api.get("/v1/labels/e1").json()
    assert (shown["state"], shown["seq"], shown["label"], shown["served"]) == ("trained", 4, "a", "z")
    assert shown["score"] == {"correct": False, "log_loss": 1.5}
    writer.write_label_states([state(State.CORRECTED, 2, seq=9, label="b", served="z")])
    shown = api.get("/v1/labels/e1").json()
    assert (shown["state"], shown["seq"], shown["label"], shown["truth"]) == ("corrected", 9, "b", "b")
    assert (shown["served"], shown["score"]) == ("z", None)
    assert [(s["state"], s["seq"], s["feedback"]["feedback_id"], s["served"], s["score"]) for s in shown["history"]] == [
        ("waiting", None, "f1", None, None),
        ("trained", 4, "f1", "z", {"correct": False, "log_loss": 1.5}),
        ("corrected", 9, "f2", "z", None),
    ]


def test_a_wrong_shows_until_a_label_comes(api: httpx.Client, writer: RedisWriter) -> None:
    writer.write_predictions(encode_all([prediction("e1", 1, label="z", p=0.9)]))
    score = Score(correct=False, log_loss=2.3)
    writer.write_label_states([state(State.MARKED, 1, seq=4, label=None, served="z", score=score)])
    shown = api.get("/v1/labels/e1").json()
    assert (shown["state"], shown["seq"], shown["label"], shown["truth"], shown["served"]) == ("marked", 4, None, None, "z")
    assert (shown["score"], shown["marked_wrong"]) == ({"correct": False, "log_loss": 2.3}, True)
    detail = api.get("/v1/predictions/e1").json()
    assert (detail["label_state"], detail["truth"], detail["correct"], detail["marked_wrong"]) == ("marked", None, None, True)
    writer.write_label_states([state(State.TRAINED, 2, seq=5, label="b", served="z")])
    shown = api.get("/v1/labels/e1").json()
    assert (shown["state"], shown["truth"], shown["score"], shown["marked_wrong"]) == ("trained", "b", None, False)
    assert api.get("/v1/predictions/e1").json()["correct"] is False


def test_receipt_of_a_self_contained_label_says_its_seq_and_no_score(api: httpx.Client, writer: RedisWriter) -> None:
    writer.write_label_states([state(State.TRAINED, 1, event_id="import-1", seq=7)])
    shown = api.get("/v1/labels/import-1").json()
    assert (shown["state"], shown["seq"], shown["truth"], shown["served"], shown["score"]) == ("trained", 7, "a", None, None)
    problem(api.get("/v1/predictions/import-1"), 404)


@pytest.mark.parametrize("kind", [kind for kind in State if kind not in {State.TRAINED, State.CORRECTED}])
def test_receipt_shows_every_state(api: httpx.Client, writer: RedisWriter, kind: State) -> None:
    writer.write_label_states([state(kind, 1)])
    shown = api.get("/v1/labels/e1").json()
    assert (shown["state"], shown["seq"], shown["truth"], shown["score"]) == (kind.value, None, None, None)
    assert [s["state"] for s in shown["history"]] == [kind.value]


def test_counts(api: httpx.Client, writer: RedisWriter) -> None:
    assert api.get("/v1/counts").json() == {"task": "default", "granularity": "total", "buckets": []}
    hour = NOW - NOW % 3_600_000
    for label, count, start in (("a", 2, hour), ("", 1, hour), ("b", 5, hour - 3_600_000)):
        writer.write_aggregates(
            [Aggregate(name="predictions", task="default", label=label, granularity="hour", start=start, count=count)],
        )
    shown = api.get("/v1/counts", params={"granularity": "hour"}).json()["buckets"]
    running, past = shown
    seconds = running.pop("seconds")
    assert (NOW - hour) / 1000 <= seconds <= 3600
    assert running.pop("per_second") == {"a": 2 / seconds, "": 1 / seconds}
    assert running == {"start": hour, "total": 3, "counts": {"a": 2, "": 1}}
    assert past == {"start": hour - 3_600_000, "total": 5, "counts": {"b": 5}, "per_second": {"b": 5 / 3600}, "seconds": 3600}
    assert len(api.get("/v1/counts", params={"granularity": "hour", "limit": 1}).json()["buckets"]) == 1
    writer.write_aggregates([Aggregate(name="predictions", task="default", label="a", granularity="total", start=0, count=9)])
    (total,) = api.get("/v1/counts").json()["buckets"]
    assert total == {"start": 0, "total": 9, "counts": {"a": 9}, "per_second": {}, "seconds": None}, "nobody knows since when"


def test_quality(api: httpx.Client, writer: RedisWriter) -> None:
    nothing = api.get("/v1/quality").json()
    assert (nothing["model"], nothing["overall"], nothing["label_states"]["trained"]) == (None, None, 0)
    per_class = {"a": ClassQuality(precision=1, recall=0.5, f1=2 / 3, support=4)}
    scores = Scores(labels=4, accuracy=0.75, macro_f1=0.7, log_loss=0.4, per_class=per_class)
    version = ModelVersion(line="base", seq=12)
    drift = Drift(number=3, seq=9, detector="adwin", errors_before=0.1, labels_before=90, errors_after=0.5, labels_after=8)
    quality = Quality(task="default", time=NOW, model=version, model_time=NOW - 5000, overall=scores, window=scores, window_size=1000)
    writer.write_quality(msgspec.structs.replace(quality, alarms=3, last_alarm=drift))
    writer.write_aggregates([Aggregate(name="label_states", task="default", label="trained", granularity="total", start=0, count=4)])
    shown = api.get("/v1/quality").json()
    assert shown["model"].pop("age_ms") >= 5000
    assert shown["model"] == {"line": "base", "seq": 12, "updated_at": NOW - 5000}
    assert shown["overall"]["per_class"]["a"] == {"precision": 1, "recall": 0.5, "f1": 2 / 3, "support": 4}
    assert (shown["window"]["accuracy"], shown["window_size"]) == (0.75, 1000)
    assert (shown["alarms"], shown["last_alarm"]) == (3, msgspec.to_builtins(drift))
    assert (shown["label_states"]["trained"], set(shown["label_states"])) == (4, {state.value for state in State})


def test_quality_has_no_scores_while_nothing_was_scored(api: httpx.Client, writer: RedisWriter) -> None:
    none = Scores(labels=0, accuracy=0, macro_f1=0, log_loss=0, per_class={})
    version = ModelVersion(line="base", seq=5)
    writer.write_quality(Quality(task="default", time=NOW, model=version, model_time=NOW, overall=none, window=none, window_size=1000))
    shown = api.get("/v1/quality").json()
    assert (shown["model"]["seq"], shown["overall"], shown["window"], shown["window_size"]) == (5, None, None, 1000)


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/v1/predictions", {"limit": 0}, "limit"),
        ("/v1/predictions", {"limit": 1001}, "limit"),
        ("/v1/predictions", {"limit": "x"}, "limit"),
        ("/v1/predictions", {"min_confidence": 1.1}, "min_confidence"),
        ("/v1/predictions", {"min_confidence": "nan"}, "min_confidence"),
        ("/v1/predictions", {"label": "x" * 257}, "label"),
        ("/v1/predictions", {"cursor": "rubbish"}, "cursor"),
        ("/v1/predictions", {"cursor": "é☃"}, "cursor"),
        ("/v1/predictions", {"cursor": "x" * 3000}, "cursor"),
        ("/v1/predictions", {"task": "nope"}, "task"),
        ("/v1/predictions/e1", {"task": "nope"}, "task"),
        ("/v1/predictions/" + "x" * 257, {}, "event_id"),
        ("/v1/labels/e1", {"task": ""}, "task"),
        ("/v1/counts", {"granularity": "week"}, "granularity"),
        ("/v1/counts", {"limit": -1}, "limit"),
        ("/v1/quality", {"task": "no\x00pe"}, "task"),
    ],
)
def test_wrong_parameters_name_the_field(api: httpx.Client, path: str, query: dict[str, str], field: str) -> None:
    errors = problem(api.get(path, params=query), 422)["errors"]
    assert isinstance(errors, list)
    assert [error["field"] for error in errors] == [field]
    assert all(error["reason"] and error["detail"] for error in errors)


def test_unknown_paths_and_methods_are_problems(api: httpx.Client) -> None:
    problem(api.get("/v1/nothing"), 404)
    problem(api.get("/v1/predictions/"), 422)
    assert problem(api.post("/v1/predictions"), 405)
    assert api.post("/v1/predictions").headers["allow"] == "GET"


def test_redis_away_is_a_503_with_advice_and_passes(api: httpx.Client, redis_part: Part, writer: RedisWriter) -> None:
    writer.write_predictions(encode_all([prediction("e1", 1)]))
    assert api.get("/v1/predictions/e1").status_code == 200
    redis_part.stop()
    for path in ("predictions/e1", "labels/e1", "counts", "quality"):
        response = api.get(f"/v1/{path}")
        assert "MILLRACE_REDIS" in str(problem(response, 503)["detail"])
        assert response.headers["retry-after"]
    redis_part.start()
    redis_part.wait_healthy()
    assert api.get("/v1/predictions/e1").status_code == 200


def test_documentation_needs_nothing_from_elsewhere(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    description = api.get("/openapi.json").json()
    schemas = description["components"]["schemas"]
    assert set(schemas["NewEvent"]["required"]) == {"text"}
    referred = {part.split('"')[0] for part in api.get("/openapi.json").text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas)
    assert {
        "/v1/predictions",
        "/v1/predictions/{event_id}",
        "/v1/labels/{event_id}",
        "/v1/counts",
        "/v1/quality",
        "/v1/events",
        "/v1/feedback",
    } <= set(description["paths"])
