"""Live events over a real connection: what comes, going on after a break, slow clients, too many of them, and a server that stops."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
import redis
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.live import hub as hub_module
from api.live.client import QUEUE_BYTES, QUEUE_EVENTS
from api.live.hub import Hub
from api.server import server_config
from schemas.parsing import encode
from schemas.records import Aggregate, FeedbackRef, LabelState, ModelVersion, Position, Quality, Scores, State
from schemas.settings import Settings
from stack.process import Part
from store.recent.index import RecentIndex
from store.writer import RedisWriter
from tests.recent_rows import prediction

pytestmark = pytest.mark.integration

NOW = int(time.time() * 1000)


class Served(NamedTuple):
    url: str
    port: int
    hub: Hub
    recent: RecentIndex
    server: uvicorn.Server
    thread: threading.Thread


class Event(NamedTuple):
    id: str
    kind: str
    data: dict[str, Any]


@pytest.fixture
def settings(redis_part: Part) -> Settings:
    return Settings(redis=f"redis://{redis_part.address}/0", kafka="127.0.0.1:1", tasks=("default", "mood"))


@pytest.fixture
def writer(redis_client: redis.Redis) -> RedisWriter:
    return RedisWriter(redis_client, recent=1000)


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    app: FastAPI = create_app(settings)
    server = uvicorn.Server(server_config(app, "127.0.0.1", 0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "started")
        port = server.servers[0].sockets[0].getsockname()[1]
        services = app.state.services
        wait_until(lambda: all(map(services.recent.is_filled, settings.tasks)), "filled")
        yield Served(f"http://127.0.0.1:{port}/v1/live", port, services.live, services.recent, server, thread)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with serving(settings) as it:
        yield it


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


@contextmanager
def listening(served: Served, headers: dict[str, str] | None = None, **query: str | float) -> Iterator[Iterator[Event]]:
    with httpx.Client(timeout=60) as client, client.stream("GET", served.url, params=query, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield parsed(response.iter_lines())


def write(writer: RedisWriter, *numbers: int, label: str = "a", text: str = "hi", task: str = "default") -> None:
    batch = [prediction(f"e{n}", NOW + n, proba={label: 0.5 + n / 1000}, text=text, task=task) for n in numbers]
    writer.write_predictions([encode(made) for made in batch])


def wait_until_indexed(served: Served, event_id: str, state: State | None = None) -> None:
    """Wait until the index, from which live clients are served, has it: what comes after a client has come is new to it."""

    def has_it() -> bool:
        found = served.recent.some("default", [event_id]).get(event_id)
        return found is not None and found.marks.state is state

    wait_until(has_it, f"{event_id} is indexed")


def take(events: Iterator[Event], count: int) -> list[Event]:
    return list(itertools.islice(events, count))


def test_predictions_come_as_they_are_made(served: Served, writer: RedisWriter) -> None:
    write(writer, 1)
    wait_until_indexed(served, "e1")
    with (
        listening(served, kinds="prediction") as everything,
        listening(served, kinds="prediction", label="b", min_confidence=0.505) as chosen,
        listening(served, kinds="prediction", task="mood") as mood,
    ):
        write(writer, 2, 3)
        write(writer, 4, 6, label="b")
        write(writer, 5, task="mood")
        found = take(everything, 4)
        assert [e.data["event_id"] for e in found] == ["e2", "e3", "e4", "e6"]
        assert [(e.kind, e.data["passed_over"], e.data["reviewed"]) for e in found] == [("prediction", 0, False)] * 4
        assert [e.data["event_id"] for e in take(chosen, 1)] == ["e6"]
        assert [e.data["event_id"] for e in take(mood, 1)] == ["e5"]
    wait_until(lambda: not served.hub.clients, "a client that leaves is forgotten")


def test_counts_and_quality_come_at_once_and_when_they_change(served: Served, writer: RedisWriter) -> None:
    def counted(count: int) -> None:
        writer.write_aggregates([Aggregate(name="predictions", task="default", label="a", granularity="total", start=0, count=count)])

    counted(3)
    with listening(served, kinds="counts,quality") as events:
        first = {e.kind: e.data for e in take(events, 2)}
        assert (first["counts"]["total"], first["counts"]["counts"], first["counts"]["per_second"]) == (3, {"a": 3}, 0)
        assert (first["quality"]["model"], first["quality"]["label_states"]["trained"]) == (None, 0)
        counted(503)
        (changed,) = take(events, 1)
        assert (changed.kind, changed.data["total"], changed.data["per_second"] > 0) == ("counts", 503, True)
        none = Scores(labels=0, accuracy=0, macro_f1=0, log_loss=0, per_class={})
        version = ModelVersion(line="base", seq=5)
        writer.write_quality(Quality(task="default", time=NOW, model=version, model_time=NOW, overall=none, window=none, window_size=9))
        quality = next(e for e in events if e.kind == "quality")
        assert quality.data["model"]["seq"] == 5


def test_a_client_goes_on_where_it_was(served: Served, writer: RedisWriter) -> None:
    with listening(served, kinds="prediction") as events:
        write(writer, 1, 2)
        last = take(events, 2)[-1].id
    write(writer, 3, label="b")
    write(writer, *range(4, 7))
    feedback = FeedbackRef(at=Position(partition=0, offset=1))
    writer.write_label_states(
        [LabelState(event_id="e4", task="default", state=State.TRAINED, feedback=feedback, label="a", served="a", time=NOW)]
    )
    wait_until_indexed(served, "e6")
    wait_until_indexed(served, "e4", State.TRAINED)
    with listening(served, kinds="prediction", label="a", headers={"Last-Event-ID": last}) as events:
        resumed, *missed = take(events, 4)
        assert (resumed.kind, resumed.data) == ("resumed", {"complete": True, "sent": 3, "passed_over": 0})
        assert [e.data["event_id"] for e in missed] == ["e4", "e5", "e6"]
        write(writer, 7)
        assert [e.data["event_id"] for e in take(events, 1)] == ["e7"]
    with listening(served, kinds="prediction", last_event_id=last, max_per_second=2) as events:
        resumed, *missed = take(events, 3)
        assert resumed.data == {"complete": True, "sent": 2, "passed_over": 3}
        assert [e.data["event_id"] for e in missed] == ["e6", "e7"]


def test_what_is_gone_is_said(served: Served, writer: RedisWriter, redis_client: redis.Redis) -> None:
    write(writer, 1)
    for last in ("rubbish", "5.another-redis"):
        with listening(served, kinds="prediction", last_event_id=last) as events:
            assert take(events, 1)[0].data == {"complete": False, "sent": 0, "passed_over": 0}
    with listening(served, kinds="prediction") as events:
        write(writer, 2)
        (before,) = take(events, 1)
    write(writer, *range(3, 40))
    redis_client.xtrim("millrace:default:predictions:arrived", maxlen=3, approximate=False)
    wait_until(lambda: served.hub._index._followers["default"].first > int(before.id.split(".")[0]), "noticed")
    with listening(served, kinds="prediction", last_event_id=before.id) as events:
        assert take(events, 1)[0].data["complete"] is False


def test_more_than_a_page_can_show_is_sampled_and_counted(served: Served, writer: RedisWriter) -> None:
    done = threading.Event()

    def go_on() -> None:
        for start in itertools.count(0, 100):
            write(writer, *range(start, start + 100))
            if done.wait(0.1):
                return

    writing = threading.Thread(target=go_on)
    with listening(served, kinds="prediction", max_per_second=5) as events:
        writing.start()
        try:
            found = take(events, 8)
        finally:
            done.set()
            writing.join()
    numbers = [int(e.data["event_id"][1:]) for e in found]
    gaps = [after - before - 1 for before, after in itertools.pairwise([-1, *numbers])]
    assert gaps == [e.data["passed_over"] for e in found]
    assert sum(gaps) > 100


def test_a_client_that_does_not_read_is_told_and_let_go(served: Served, writer: RedisWriter) -> None:
    """A real socket that is not read from: what the server keeps for it stays within the bounds, and the others go on."""
    # What the kernel keeps for a connection is bounded too, but takes long to fill.
    served.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", served.port))
    slow.sendall(b"GET /v1/live?kinds=prediction&max_per_second=100 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    wait_until(lambda: served.hub.clients, "joined")
    (client,) = served.hub.clients
    most = (0, 0)
    with listening(served, kinds="prediction", label="other") as others:
        for start in range(0, 100_000, 50):
            write(writer, *range(start, start + 50), text="東" * 4096)
            most = max(most[0], client.queued[0]), max(most[1], client.queued[1])
            if client.is_over:
                break
            time.sleep(0.1)
        assert client.is_over
        assert 0 < most[0] <= QUEUE_EVENTS
        assert 0 < most[1] <= QUEUE_BYTES
        assert client.queued[0] <= 1, "only the notice waits now"
        write(writer, 200_000, label="other")
        assert take(others, 1)[0].data["event_id"] == "e200000"
    slow.settimeout(60)
    tail = b""
    while chunk := slow.recv(65536):
        tail = (tail + chunk)[-1000:]
    assert b"event: dropped" in tail
    assert b"too slow" in tail
    slow.close()
    wait_until(lambda: not served.hub.clients, "let go")


def test_too_many_clients_are_refused_for_a_while(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "CLIENTS_MAX", 1)
    with listening(served, kinds="counts"):
        refused = httpx.get(served.url)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert refused.headers["retry-after"]
    wait_until(lambda: not served.hub.clients, "left")
    with listening(served, kinds="counts") as events:
        assert take(events, 1)[0].kind == "counts"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"kinds": "everything"}, "kinds"),
        ({"kinds": "counts,"}, "kinds"),
        ({"kinds": ""}, "kinds"),
        ({"max_per_second": 0}, "max_per_second"),
        ({"max_per_second": 101}, "max_per_second"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"task": "nope"}, "task"),
    ],
)
def test_what_cannot_be_asked_is_named(api: httpx.Client, query: dict[str, str | float], field: str) -> None:
    answer = api.get("/v1/live", params=query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_server_that_stops_ends_the_streams_at_once(settings: Settings, writer: RedisWriter) -> None:
    with serving(settings) as served, listening(served, kinds="prediction") as events:
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", served.port))
        stuck.sendall(b"GET /v1/live?kinds=prediction&label=b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        wait_until(lambda: len(served.hub.clients) == 2, "joined")
        write(writer, 1)
        take(events, 1)
        began = time.monotonic()
        served.server.should_exit = True
        assert list(events) == [], "a clean end, no error"
        served.thread.join(15)
        assert not served.thread.is_alive()
        assert time.monotonic() - began < 10
        stuck.close()
