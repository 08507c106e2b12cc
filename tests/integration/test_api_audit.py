"""Every change leaves a record in the topic `audit`: who, what, how it was answered. With a real Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import msgspec
import pytest

from api.access import trail
from api.access.key_file import KeyFile, new_key, write_key_file
from schemas.api_settings import ApiSettings
from schemas.audit import AuditRecord
from schemas.records import KeyRole
from schemas.settings import Settings
from schemas.topics import Topic
from store.committed import read_committed

pytestmark = pytest.mark.integration

Serve = Callable[..., AbstractContextManager[httpx.Client]]
PROMOTE = "POST /v1/models/{line}/promote"


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> Settings:
    # Redis is not there: nothing that is changed here needs it.
    return Settings(kafka=kafka, redis="redis://127.0.0.1:1/0", topic_prefix=topic_prefix)


def audited(settings: Settings) -> list[AuditRecord]:
    batches = read_committed(settings.kafka, settings.topic_prefix + Topic.AUDIT)
    return [msgspec.json.decode(record.value, type=AuditRecord) for batch in batches for record in batch]


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, dict[str, str]]]:
    now = time.time_ns() // 1_000_000
    wanted: dict[str, KeyRole] = {"ana": "admin", "wim": "write", "rob": "read"}
    made = {name: new_key(name, (role,), now=now) for name, role in wanted.items()}
    write_key_file(tmp_path / "keys.json", KeyFile(keys=tuple(entry for entry, _ in made.values())))
    return tmp_path / "keys.json", {name: {"X-API-Key": key} for name, (_, key) in made.items()}


@pytest.fixture
def client(serve: Serve, settings: Settings, keys: tuple[Path, object]) -> Iterator[httpx.Client]:
    with serve(settings, ApiSettings(keys=str(keys[0]))) as client:
        wait_until(lambda: client.get("/v1/models", headers=keys[1]["ana"]).status_code == 200)  # type: ignore[index]  # as the fixture gives it
        yield client


def test_a_change_is_in_kafka_before_its_answer(
    client: httpx.Client, settings: Settings, keys: tuple[Path, dict[str, dict[str, str]]]
) -> None:
    _, send = keys
    change = {"by": "ana", "why": "better"}
    asked = client.post(
        "/v1/models/rollback?task=default", json={"by": "ana", "line": "base"}, headers=send["ana"] | {"X-Request-ID": "r-1"}
    )
    assert asked.status_code == 202, asked.text
    [record] = audited(settings)
    assert (record.name, record.roles, record.action, record.task) == (
        "ana",
        ["read", "write", "review", "admin"],
        "POST /v1/models/rollback",
        "default",
    )
    assert (record.ids, record.status, record.request_id, record.items) == ((asked.json()["command_id"],), 202, "r-1", 1)
    assert record.address == "127.0.0.1"
    assert client.get("/v1/models", headers=send["ana"]).status_code == 200
    assert client.post("/v1/models/none-such/promote", json=change, headers=send["ana"]).status_code == 404
    for _ in range(3):
        assert client.post("/v1/models/none-such/promote", json=change, headers=send["wim"]).status_code == 403
    assert client.post("/v1/models/rollback", json=change).status_code == 401
    assert len(audited(settings)) == 1, "reads, and what was refused, are not written at once"


def test_who_sent_how_many_and_who_was_refused(
    serve: Serve, settings: Settings, keys: tuple[Path, dict[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, send = keys
    with serve(settings, ApiSettings(keys=str(path))) as client:
        for number in range(5):
            assert client.post("/v1/events", json=[{"text": f"t{number}"}] * 20, headers=send["wim"]).status_code == 202
        assert client.post("/v1/feedback", json={"event_id": "e", "label": "a"}, headers=send["ana"]).status_code == 202
        assert client.post("/v1/events", json={"nonsense": 1}, headers=send["wim"]).status_code == 422
        for _ in range(3):
            assert client.post("/v1/models/a/promote", json={"by": "x"}, headers=send["wim"]).status_code == 403
    found = {(one.name, one.action, one.status): (one.requests, one.items) for one in audited(settings)}
    assert found == {
        ("wim", "POST /v1/events", 202): (5, 100),
        ("ana", "POST /v1/feedback", 202): (1, 1),
        ("wim", "POST /v1/events", 422): (1, 0),
        ("wim", PROMOTE, 403): (3, 0),
    }


def test_without_keys_the_address_is_noted(serve: Serve, settings: Settings) -> None:
    with serve(settings) as client:
        assert client.post("/v1/events", json={"text": "a"}).status_code == 202
    [record] = audited(settings)
    assert (record.name, record.address, record.items) == (None, "127.0.0.1", 1)


def test_changed_keys_are_noted(client: httpx.Client, settings: Settings, keys: tuple[Path, dict[str, dict[str, str]]]) -> None:
    path, send = keys
    new, _ = new_key("eve", ("read",), now=1)
    write_key_file(path, KeyFile(keys=(new,)))
    wait_until(lambda: client.get("/v1/me", headers=send["rob"]).status_code == 401)
    wait_until(lambda: bool(audited(settings)))
    [record] = audited(settings)
    assert record.action == "keys changed"
    assert record.details[0] == f"+ eve {new.id} (read)"
    assert len(record.details) == 4


def test_kafka_away_does_not_hold_up_those_who_read(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "ADDED_UP_S", 0.05)
    away = Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1/0")
    with serve(away) as client:
        assert client.post("/v1/events", json={"text": "a"}).status_code == 503
        wait_until(lambda: client.get("/readyz").json()["parts"]["audit"]["ready"] is False)
        started = time.monotonic()
        assert client.get("/v1/me").status_code == 200
        assert time.monotonic() - started < 2
        assert "1 records wait" in client.get("/readyz").json()["parts"]["audit"]["detail"]
