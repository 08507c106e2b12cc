"""Hostile requests get a clear 4xx, cost no memory, and leave good ones alone; slow clients are let go of."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from api import bodies, protocol
from benchmarks import hostile
from schemas.settings import Settings
from stack.ports import LOOPBACK, free_ports
from stack.process import Part

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]
GROWTH_MIB = 48
"""What the allocator may keep of more large requests at once than before; ten times as many requests leave no more."""


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, artifacts=str(tmp_path))


def test_hostile_requests_are_refused_and_harm_nobody(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [port] = free_ports(1)
    with hostile.serving(settings, port, tmp_path / "api.log") as pid:
        outcome = hostile.run(f"http://{LOOPBACK}:{port}", pid, 1500, rate=100, slow=20, seed=1, good_alone_s=3)
    with capsys.disabled():
        hostile.show(outcome)
    assert outcome.wrong == []
    assert {"400", "404", "405", "413", "422", "431"} <= {status for _, status in outcome.answers}, "each is refused for what it is"
    assert outcome.good > 50
    assert outcome.good_failed == 0
    assert outcome.rss_after < outcome.rss_before + GROWTH_MIB
    assert '"level": "error"' not in (tmp_path / "api.log").read_text()


def answer(connection: socket.socket) -> bytes:
    """All that comes until the connection is closed."""
    connection.settimeout(30)
    found = b""
    try:
        while more := connection.recv(65536):
            found += more
    except ConnectionResetError:
        pass  # Closed while more was on its way.
    return found


@pytest.fixture
def where(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Where the API listens; its patience is short."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    monkeypatch.setattr(protocol, "REQUEST_S", 0.9)
    monkeypatch.setattr(bodies, "BODY_S", 0.4)
    yield str(api.base_url.host), api.base_url.port or 0
    answer = api.get("/healthz")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"GET /v1/qua", b"408"),
        (b"GET /v1/quality HTTP/1.1\r\nHost: 127.0.0.1\r\nX-", b"408"),
        (b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{", b"408"),
        (b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"408"),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{", b"200"),
    ],
)
def test_what_never_ends_is_ended(where: tuple[str, int], sent: bytes, status: bytes) -> None:
    with socket.create_connection(where) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        found = answer(connection)
    assert time.monotonic() - began < 10
    assert found[9:12] == status
    assert (b"application/problem+json" in found) == (status == b"408")


def sends_until_closed(connection: socket.socket, data: bytes, *, pause_s: float) -> bool:
    """Send something again and again; whether the other side has had enough within 20 s."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            connection.sendall(data)
        except OSError:
            return True
        time.sleep(pause_s)
    return False


def test_a_byte_now_and_then_does_not_help(where: tuple[str, int]) -> None:
    with socket.create_connection(where) as connection:
        began = time.monotonic()
        assert sends_until_closed(connection, b"X", pause_s=0.02)
    assert time.monotonic() - began < 10


def test_a_head_is_bounded_also_if_it_comes_in_pieces(where: tuple[str, int]) -> None:
    with socket.create_connection(where) as connection:
        connection.sendall(b"GET /v1/quality HTTP/1.1\r\n")
        try:
            for number in range(protocol.HEAD_MAX_BYTES // 100):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 200))
        except OSError:
            pass  # It has been refused before all was sent.
        found = answer(connection)
    assert found[9:12] in (b"431", b""), found


def test_one_that_takes_no_answer_is_let_go_of(where: tuple[str, int], api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_S", 0.3)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(where)
        # More answers than fit into the buffers of both sides.
        assert sends_until_closed(connection, b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", pause_s=0.002)


def test_too_many_connections_cost_the_idle_ones(where: tuple[str, int], api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 10)
    monkeypatch.setattr(protocol, "HEAD_S", 30.0)
    idle = [socket.create_connection(where) for _ in range(30)]
    try:
        assert httpx.get(f"{api.base_url}/healthz").status_code == 200
        closed = 0
        for connection in idle:
            connection.settimeout(0.2)
            try:
                closed += connection.recv(1) == b""
            except ConnectionResetError:
                closed += 1
            except TimeoutError:
                pass
        assert closed >= 20
    finally:
        for connection in idle:
            connection.close()
