"""Texts classified at once, explained, and what the model knows and where it errs: by the replica of a real log."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import redis

from online_model.calibration_error import BINS
from online_model.replica import Replica
from schemas.log import LabelEntry
from schemas.parsing import encode
from schemas.records import ModelVersion, Position, Prediction, Served
from schemas.settings import Settings
from stack.process import Part
from store.writer import TEXT_SHOWN, RedisWriter
from tests.integration.played_learner import PlayedLearner, label, release, when_read

pytestmark = pytest.mark.integration

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]

TEXTS = ("good day to you", "pay me now", "where is my order")
SERVED_BY = ModelVersion(line="base", seq=0)


def lesson(seq: int, served: str | None = None, confidence: float = 0.75) -> LabelEntry:
    said = None if served is None else Served(label=served, proba={served: confidence}, classes=3, model=SERVED_BY)
    return msgspec.structs.replace(label(seq), text=f"{TEXTS[seq % 3]} {seq % 7}", label="abc"[seq % 3], served=said)


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, tasks=("default", "mood"), artifacts=str(tmp_path),
        model_memory_mib=1, max_text_bytes=10_000, proba_top=2,
    )  # fmt: skip


@pytest.fixture
def learner(settings: Settings) -> Iterator[PlayedLearner]:
    learner = PlayedLearner(settings)
    yield learner
    learner.producer.close()


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == body["status"] == status, body
    assert response.headers["content-type"] == "application/problem+json"
    return body


def until_seq(api: httpx.Client, seq: int) -> None:
    deadline = time.monotonic() + 30
    while when_read(api, "/v1/classes")["model"] != {"line": "base", "seq": seq}:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_texts_are_classified_as_the_jobs_would(api: httpx.Client, learner: PlayedLearner) -> None:
    learner.write(*(lesson(seq) for seq in range(1, 31)))
    until_seq(api, 30)
    expected = [msgspec.to_builtins(learner.replica.predict(text, top=2)) for text in TEXTS]
    body = api.post("/v1/classify", json={"texts": TEXTS}).json()
    assert (body["task"], body["model"], body["stale_since"]) == ("default", {"line": "base", "seq": 30}, None)
    for result, served in zip(body["results"], expected, strict=True):
        assert result == {
            "label": served["label"], "confidence": served["proba"][served["label"]], "proba": served["proba"], "model": body["model"],
        }  # fmt: skip
        assert list(result["proba"]) == list(served["proba"]), "the most probable first"
    [one] = api.post("/v1/classify", json={"text": TEXTS[1]}, params={"top": 1}).json()["results"]
    assert one["proba"] == {"b": body["results"][1]["proba"]["b"]}
    when_read(api, "/v1/classes", task="mood")
    [none] = api.post("/v1/classify", json={"text": ""}, params={"task": "mood"}).json()["results"]
    assert none == {"label": None, "confidence": 0.0, "proba": {}, "model": {"line": "base", "seq": 0}}
    assert api.get("/v1/classes").json()["classes"] == ["a", "b", "c"]


def test_each_answer_can_be_repeated_while_labels_come(api: httpx.Client, learner: PlayedLearner) -> None:
    """A thousand texts in a request, single ones beside it, 200 labels a second: every result is that of the model that it names."""
    lessons = [lesson(seq) for seq in range(1, 301)]
    learner.write(*lessons[:30])
    until_seq(api, 30)
    results: list[tuple[str, dict[str, Any]]] = []
    stop = threading.Event()

    def ask(count: int) -> None:
        texts = [TEXTS[number % 3] for number in range(count)]
        while not stop.is_set():
            response = api.post("/v1/classify", json={"texts": texts})
            assert response.status_code == 200, response.text
            results.extend(zip(texts, response.json()["results"], strict=True))

    threads = [threading.Thread(target=ask, args=(count,)) for count in (1000, 1)]
    for thread in threads:
        thread.start()
    for at in range(30, 300, 2):
        learner.write(*lessons[at : at + 2])
        time.sleep(0.01)
    until_seq(api, 300)
    stop.set()
    for thread in threads:
        thread.join(30)
    replica, by_seq = Replica.configured(learner.settings, "default"), dict[tuple[int, str], dict[str, float]]()
    for entry in lessons:
        replica.apply(entry)
        by_seq |= {(entry.seq, text): replica.predict(text, top=2).proba for text in TEXTS}
    assert len({result["model"]["seq"] for _, result in results}) > 10
    assert all(result["proba"] == by_seq[result["model"]["seq"], text] for text, result in results)


WRONG: list[tuple[str, int, list[tuple[str, str, int | None]]]] = [
    ("{", 400, [("body", "not_json", None)]),
    ('{"text": "\\ud800"}', 400, [("body", "not_json", None)]),
    ("{}", 422, [("body", "invalid_field", None)]),
    ('{"text": "a", "texts": ["a"]}', 422, [("body", "invalid_field", None)]),
    ('{"text": "a", "txt": 1}', 422, [("body", "invalid_field", None)]),
    ('["a"]', 422, [("body", "invalid_field", None)]),
    ('{"text": 5}', 422, [("text", "invalid_field", None)]),
    ('{"text": null}', 422, [("text", "invalid_field", None)]),
    ('{"texts": "a"}', 422, [("texts", "invalid_field", None)]),
    ('{"texts": ["a", 5, "b", null]}', 422, [("texts", "invalid_field", 1), ("texts", "invalid_field", 3)]),
    ('{"texts": []}', 422, [("texts", "list_length", None)]),
    (json.dumps({"texts": ["a"] * 1001}), 422, [("texts", "list_length", None)]),
    (json.dumps({"text": "é" * 5001}), 422, [("text", "text_too_long", None)]),
    (json.dumps({"texts": ["a", "x" * 10_001]}), 422, [("texts", "text_too_long", 1)]),
    (json.dumps({"text": "x" * 9_000_000}), 413, [("body", "too_large", None)]),
]


def test_what_is_wrong_is_named_by_field_and_place(api: httpx.Client) -> None:
    for body, status, expected in WRONG:
        errors = problem(api.post("/v1/classify", content=body), status)["errors"]
        assert [(error["field"], error["reason"], error.get("index")) for error in errors] == expected, body[:60]
    for query in ({"top": 0}, {"top": 501}, {"task": "nope"}, {"explain": "perhaps"}):
        [error] = problem(api.post("/v1/classify", json={"text": "a"}, params=query), 422)["errors"]
        assert error["field"] in query


def test_a_long_text_is_classified_and_explained_as_well(api: httpx.Client, learner: PlayedLearner) -> None:
    learner.write(*(lesson(seq) for seq in range(1, 31)))
    until_seq(api, 30)
    text = " ".join(f"word{number}" for number in range(1000))
    [result] = api.post("/v1/classify", json={"text": text}, params={"explain": True}).json()["results"]
    assert result["proba"] == learner.replica.predict(text, top=2).proba
    said = result["explanation"]
    assert len(said["contributions"]) == 100
    assert said["left_out"] > 1000
    assert sum(c["value"] for c in said["contributions"]) + said["left_out_value"] == pytest.approx(said["logit"], abs=1e-5)


def test_an_explanation_sums_to_the_logit_and_names_words(api: httpx.Client, learner: PlayedLearner) -> None:
    learner.write(*(lesson(seq) for seq in range(1, 61)))
    until_seq(api, 60)
    results = api.post("/v1/classify", json={"texts": TEXTS}, params={"explain": True}).json()["results"]
    for result in results:
        said = result["explanation"]
        assert (said["label"], said["model"], said["same_model"]) == (result["label"], result["model"], True)
        assert sum(c["value"] for c in said["contributions"]) == pytest.approx(said["logit"], abs=1e-5)
        assert (said["left_out"], said["left_out_value"], said["whole_text"]) == (0, 0, True)
    words = [c["text"] for c in results[2]["explanation"]["contributions"] if c["kind"] == "word" and c["value"] > 0]
    assert "order" in words


def prediction(event_id: str, text: str, label: str | None, model: ModelVersion) -> Prediction:
    return Prediction(
        event_id=event_id, task="default", text=text, meta={}, label=label, proba={} if label is None else {label: 0.9}, classes=3,
        model=model, event_ts=1, predicted_at=1, source=Position(partition=0, offset=0),
    )  # fmt: skip


def test_a_stored_prediction_is_explained(api: httpx.Client, settings: Settings, learner: PlayedLearner, redis_client: redis.Redis) -> None:
    learner.write(*(lesson(seq) for seq in range(1, 31)), release(31, "r1-a", time_ms=1, mode="shadow"), lesson(32))
    until_seq(api, 32)
    now = ModelVersion(line="base", seq=32)
    predictions = [
        prediction("now", TEXTS[0], "a", now),
        prediction("before", TEXTS[0], "a", ModelVersion(line="base", seq=7)),
        prediction("another line", TEXTS[0], "a", ModelVersion(line="r9-x", seq=32)),
        prediction("unknown", TEXTS[0], "never learned", now),
        prediction("no label", TEXTS[0], None, now),
        prediction("long", "good " * TEXT_SHOWN, "a", now),
    ]
    writer = RedisWriter(redis_client, recent=10, topic_prefix=settings.topic_prefix)
    writer.write_predictions([encode(p) for p in predictions])

    def explained(event_id: str) -> Any:
        return api.get(f"/v1/predictions/{event_id}", params={"explain": True}).json()["explanation"]

    assert (explained("now")["same_model"], explained("now")["model"]) == (True, {"line": "base", "seq": 32})
    assert (explained("before")["same_model"], explained("another line")["same_model"]) == (False, False)
    assert explained("another line")["model"] == explained("now")["model"]
    assert (explained("unknown"), explained("no label")) == (None, None)
    assert (explained("long")["whole_text"], explained("now")["whole_text"]) == (False, True)
    assert api.get("/v1/predictions/now").json()["explanation"] is None


def test_a_model_that_cannot_explain(serve: Serve, settings: Settings, learner: PlayedLearner, redis_client: redis.Redis) -> None:
    river = msgspec.structs.replace(settings, model="river:naive_bayes.MultinomialNB")
    learner.write(*(lesson(seq) for seq in range(1, 31)))
    RedisWriter(redis_client, recent=10, topic_prefix=settings.topic_prefix).write_predictions(
        [encode(prediction("e", TEXTS[0], "a", ModelVersion(line="base", seq=30)))]
    )
    with serve(river) as api:
        until_seq(api, 30)
        [result] = api.post("/v1/classify", json={"text": TEXTS[0]}, params={"explain": True}).json()["results"]
        assert (result["label"], result["explanation"]) == ("a", None)
        assert api.get("/v1/predictions/e", params={"explain": True}).json()["explanation"] is None


def test_confusions_and_calibration_of_what_was_served(api: httpx.Client, learner: PlayedLearner) -> None:
    # Truths a, b, c in turn. Served: right for b and c; for a it was "b" at first, later "a".
    entries = [
        lesson(seq, "b" if seq % 3 == 0 and seq <= 9 else "abc"[seq % 3], confidence=0.65 if seq <= 9 else 0.95) for seq in range(1, 19)
    ]
    learner.write(*entries, lesson(19), lesson(20, "c", 0.65))
    until_seq(api, 20)
    found = api.get("/v1/quality/confusion").json()
    assert (found["task"], found["model"], found["other"]) == ("default", {"line": "base", "seq": 20}, 0)
    cells = {(cell["truth"], cell["label"]): cell["count"] for cell in found["cells"]}
    assert cells == {("b", "b"): 6, ("a", "a"): 3, ("a", "b"): 3, ("c", "c"): 7}
    assert found["labels"] == ["b", "c", "a"]
    few = api.get("/v1/quality/confusion", params={"limit": 1}).json()
    assert (few["labels"], few["cells"], few["other"]) == (["b"], [{"truth": "b", "label": "b", "count": 6}], 13)
    found = api.get("/v1/quality/calibration").json()
    assert (found["labels"], found["window_size"], len(found["bins"])) == (19, 1000, BINS)
    filled = [(b["labels"], round(b["confidence"], 6), round(b["accuracy"], 6)) for b in found["bins"] if b["labels"]]
    assert filled == [(10, 0.65, 0.7), (9, 0.95, 1.0)]
    assert found["ece"] == pytest.approx((10 * 0.05 + 9 * 0.05) / 19)
    nothing = when_read(api, "/v1/quality/calibration", task="mood")
    assert isinstance(nothing["bins"], list)
    assert (nothing["labels"], nothing["ece"], nothing["bins"][0]["accuracy"]) == (0, None, None)
    assert api.get("/v1/quality/confusion", params={"task": "mood"}).json()["labels"] == []


def test_without_kafka_it_is_a_503_that_says_what_is_missing(serve: Serve, redis_part: Part) -> None:
    with serve(Settings(redis=f"redis://{redis_part.address}/0", kafka="127.0.0.1:1")) as api:
        asked = [api.post("/v1/classify", json={"text": "a"})]
        asked += [api.get(f"/v1/{path}") for path in ("classes", "quality/confusion", "quality/calibration")]
        for response in asked:
            assert "the model of task default is loaded as soon as" in problem(response, 503)["detail"]
            assert response.headers["retry-after"]
        assert api.get("/healthz").status_code == 200


def test_without_kafka_it_goes_on_and_says_since_when(
    serve: Serve, redis_part: Part, kafka_part: Part, topics: Callable[[str, str], None], tmp_path: Path
) -> None:
    topics(kafka_part.address, "")
    settings = Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka_part.address, artifacts=str(tmp_path), model_memory_mib=1)
    learner = PlayedLearner(settings)
    learner.write(*(lesson(seq) for seq in range(1, 31)))
    learner.producer.close()
    with serve(settings) as api:
        until_seq(api, 30)
        before = api.post("/v1/classify", json={"text": TEXTS[0]}).json()
        kafka_part.stop()
        deadline = time.monotonic() + 30
        while (body := api.post("/v1/classify", json={"text": TEXTS[0]}).json())["stale_since"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert body["results"] == before["results"]
        assert api.get("/v1/classes").json()["stale_since"] == body["stale_since"]
