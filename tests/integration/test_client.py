"""The typed client against a real API."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import redis

from client import ApiError, Client
from schemas.records import Aggregate, State
from schemas.settings import Settings
from stack.process import Part
from store.writer import RedisWriter
from tests.integration.played_learner import PlayedLearner, label, manifest, store, when_read
from tests.integration.test_api_models import until_seq
from tests.integration.test_api_reading import encode_all, prediction, state

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, artifacts=str(tmp_path))


@pytest.fixture
def writer(redis_client: redis.Redis, settings: Settings) -> RedisWriter:
    return RedisWriter(redis_client, recent=1000, topic_prefix=settings.topic_prefix)


def test_sending_and_what_is_refused(client: Client) -> None:
    assert client.send_events({"event_id": "e1", "text": "hi"}).ids == ["e1"]
    assert client.send_events({"text": "a"}, {"text": "b"}).accepted == 2
    assert client.send_feedback({"event_id": "e1", "label": "greeting"}).accepted == 1
    with pytest.raises(ApiError, match="invalid") as refused:
        client.send_events({"text": 5})
    assert (refused.value.status, refused.value.errors[0].field) == (422, "text")
    assert refused.value.request_id


@pytest.mark.parametrize("event_id", ["e1", "a/b", "a b?c#d", "ü☃", "%2F", "..", ".", "predictions/", "{x}"])
def test_one_prediction_whatever_its_id(client: Client, writer: RedisWriter, event_id: str) -> None:
    assert client.prediction(event_id) is None
    assert client.receipt(event_id) is None
    writer.write_predictions(encode_all([prediction(event_id, 1)]))
    writer.write_label_states([state(State.TRAINED, 3, event_id=event_id, seq=7)])
    found, receipt = client.prediction(event_id), client.receipt(event_id)
    assert found is not None
    assert receipt is not None
    assert (found.event_id, found.label, found.truth, receipt.state, receipt.seq) == (event_id, "a", "a", State.TRAINED, 7)


def test_reading_pages_counts_and_quality(client: Client, writer: RedisWriter) -> None:
    writer.write_predictions(encode_all([prediction(f"e{n}", n, p=n / 10) for n in range(10)]))
    writer.write_aggregates([Aggregate(name="predictions", task="default", label="a", granularity="total", start=0, count=10)])
    assert [p.event_id for p in client.all_predictions(limit=3, min_confidence=0.5)] == ["e9", "e8", "e7", "e6", "e5"]
    assert client.counts().buckets[0].counts == {"a": 10}
    assert client.quality().label_states["trained"] == 0
    with pytest.raises(ApiError) as refused:
        client.predictions(task="nope")
    assert refused.value.errors[0].field == "task"


def test_models_and_what_is_asked_of_the_learner(client: Client, api: httpx.Client, settings: Settings) -> None:
    learner = PlayedLearner(settings)
    with learner.answering():
        store(settings, manifest("r1-a"))
        learner.write(label(1), label(2))
        until_seq(api, 2)
        assert client.models.list().serving == "base"
        assert client.models.show("nope") is None
        done = client.models.shadow("r1-a", by="ann", why="to look at", wait_s=30)
        assert (done.state, done.answer.what if done.answer else "") == ("done", "r1-a watched as a shadow")
        assert client.models.command(done.command_id) == done
        assert client.models.split("r1-a", 0.5, by="ann", wait_s=30).state == "done"
        assert client.models.promote("r1-a", by="ann", wait_s=30).state == "done"
        assert client.models.rollback(by="ben", wait_s=30).state == "done"
        with pytest.raises(ApiError, match="not watched") as refused:
            client.models.drop("r1-a", by="ben", wait_s=30)
        assert refused.value.status == 409
        detail = client.models.show("r1-a")
        assert detail is not None
        assert [change.by for change in detail.history][:4] == ["ann", "ann", "ann", "ben"]
        assert client.models.at("9999-01-01").line == "base"
        assert client.models.history(limit=1).changes[0].kind == "refusal"


def test_how_the_api_is(client: Client, api: httpx.Client) -> None:
    when_read(api, "/v1/models")
    assert client.healthy()
    assert client.ready().parts["kafka"].ready
    assert "millrace_api_requests_total" in client.metrics()
