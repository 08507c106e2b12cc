"""What is seen of a request from outside: its id and trace, its line in the log, the metrics; never what a user wrote."""

from __future__ import annotations

import logging
import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.settings import Settings
from schemas.topics import Topic
from stack.process import Part
from store.committed import read_committed
from tests.integration.played_learner import when_read

pytestmark = pytest.mark.integration

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str) -> Settings:
    return Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """What was logged of requests; nothing of what users wrote."""
    assert "SECRET" not in caplog.text
    assert not any("SECRET" in str(record.__dict__) for record in caplog.records)
    return [record.__dict__ for record in caplog.records if record.name == "api.requests"]


def values(api: httpx.Client, name: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(api.get("/metrics").text)
    # The labels come in the order of their names.
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_ids_and_traces_go_through_to_the_records(api: httpx.Client, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "httpx")
    caplog.set_level(logging.INFO, "api.requests")
    given = {"X-Request-ID": "req-1", "traceparent": TRACE}
    answer = api.post("/v1/events", json={"event_id": "e1", "text": "SECRET"}, headers=given)
    assert (answer.status_code, answer.headers["x-request-id"], answer.headers["traceparent"]) == (202, "req-1", TRACE)
    made = api.post("/v1/feedback", json={"event_id": "e1", "label": "SECRET"})
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", made.headers["traceparent"])
    for topic, traceparent in ((Topic.EVENTS, TRACE), (Topic.FEEDBACK, made.headers["traceparent"])):
        [record] = [r for batch in read_committed(settings.kafka, settings.topic_prefix + topic) for r in batch]
        assert dict(record.headers)["traceparent"] == traceparent.encode()
    first, second = lines(caplog)
    assert float(str(first["duration_ms"])) > 0
    named = ("request_id", "route", "method", "status", "key", "trace_id")
    assert [first[name] for name in named] == ["req-1", "/v1/events", "POST", 202, None, TRACE.split("-")[1]]
    assert second["request_id"] == made.headers["x-request-id"]


def test_problems_name_their_request_and_the_log_no_path_and_no_query(api: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    # The client of this test is in the same process, and names every address that it asks.
    caplog.set_level(logging.WARNING, "httpx")
    caplog.set_level(logging.INFO, "api.requests")
    for path, route, status in (
        ("/v1/predictions/SECRET?task=SECRET", "/v1/predictions/{event_id:path}", 422),
        ("/v1/labels/SECRET", "/v1/labels/{event_id:path}", 404),
        ("/SECRET?q=SECRET", "none", 404),
    ):
        answer = api.get(path)
        assert answer.status_code == status
        assert answer.json()["request_id"] == answer.headers["x-request-id"] == lines(caplog)[-1]["request_id"]
        assert lines(caplog)[-1]["route"] == route
    api.get("/healthz")
    assert len(lines(caplog)) == 3, "probes that succeed are no news"


def test_metrics_of_requests_parts_and_records(api: httpx.Client) -> None:
    assert api.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    api.get("/v1/labels/SECRET")
    api.request("PROPFIND", "/v1/counts")
    api.post("/v1/events", json=[{"text": "a"}, {"text": "b"}])
    requests = values(api, "millrace_api_requests_total")
    assert requests["GET", "/v1/labels/{event_id:path}", "404"] == 1
    assert requests["other", "/v1/counts", "405"] == 1
    assert values(api, "millrace_api_records_total") == {("events",): 2}
    assert values(api, "millrace_api_request_seconds_count")["POST", "/v1/events"] == 1
    assert values(api, "millrace_api_requests_in_flight") == {(): 1}, "the one that asks"
    when_read(api, "/v1/models")
    api.get("/readyz")
    assert values(api, "millrace_api_part_up") == {("kafka",): 1, ("redis",): 1, ("model_log",): 1, ("audit",): 1}
    assert values(api, "millrace_label_states")["trained", "default"] == 0
    assert "SECRET" not in api.get("/metrics").text
