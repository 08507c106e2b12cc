"""Alerts reach a real webhook, also one that is away at first, and the metrics a real client."""

from __future__ import annotations

import http.server
import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from batch_model.alerts import FIRST_WAIT_S, TRIES, Alert, Alerts, post
from batch_model.worker_metrics import Metrics, MetricsServer
from stack.ports import free_ports

pytestmark = pytest.mark.integration

TOKEN = "s3cr3t-t0k3n"


class Webhook:
    """A server that notes what it is sent, and answers with the status that the test wants."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook/{TOKEN}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    yield hook
    hook.close()


def test_raised_once_and_taken_back(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, str]] = []
    alerts = Alerts(webhook.url, lambda task, outcome: told.append((task, outcome)))
    alerts.set("labels_stale", "default", None, now=1.0)
    for now in (10.0, 11.0):
        alerts.set("labels_stale", "default", f"no label for {now:.0f} s", now=now)
        alerts.tick(now)
    alerts.set("labels_stale", "default", None, now=12.0)
    alerts.tick(12.0)
    alerts.tick(13.0)
    assert webhook.bodies == [
        {"alert": "labels_stale", "task": "default", "state": "raised", "why": "no label for 10 s", "time": 10_000, "source": "millrace"},
        {
            "alert": "labels_stale", "task": "default", "state": "resolved", "why": "no longer: no label for 10 s", "time": 12_000,
            "source": "millrace",
        },
    ]  # fmt: skip
    assert told == [("default", "sent")] * 2
    assert alerts.is_raised == frozenset()
    assert TOKEN not in caplog.text


def test_an_absent_or_refusing_webhook_is_tried_again_and_its_url_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (port,) = free_ports(1)
    told: list[tuple[str, str]] = []
    alerts = Alerts(f"http://me:{TOKEN}@127.0.0.1:{port}/{TOKEN}", lambda task, outcome: told.append((task, outcome)))
    alerts.set("refresh_failed", "default", "it crashed", now=0.0)
    alerts.tick(0.0)
    hook = Webhook(port)
    try:
        alerts.tick(FIRST_WAIT_S - 1)
        assert hook.bodies == []
        hook.status = 503
        alerts.tick(FIRST_WAIT_S)
        hook.status = 204
        alerts.tick(FIRST_WAIT_S * 3)
    finally:
        hook.close()
    assert [body["why"] for body in hook.bodies] == ["it crashed"] * 2
    assert told == [("default", "sent")]
    assert f"http://127.0.0.1:{port}" in caplog.text
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records if record.name == "batch_model.alerts")


@pytest.mark.parametrize("url", ["http://127.0.0.1:t0k3n/hook", "http://[t0k3n/hook", "http://a..b/t0k3n", "http://h:99999/t0k3n"])
def test_an_address_that_is_none_is_a_failed_try(url: str, caplog: pytest.LogCaptureFixture) -> None:
    alerts = Alerts(url)
    alerts.set("labels_stale", "default", "none for long", now=0.0)
    alerts.tick(0.0)
    assert "tried again" in caplog.text
    assert "t0k3n" not in caplog.text


def test_an_answer_with_defective_headers_does_not_bring_the_url_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nno header at all\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        alerts = Alerts(f"http://127.0.0.1:{port}/hook/{TOKEN}")
        alerts.set("labels_stale", "default", "none for long", now=0.0)
        alerts.tick(0.0)
        thread.join()
    assert TOKEN not in caplog.text


def test_in_the_end_it_is_given_up() -> None:
    (port,) = free_ports(1)
    told: list[tuple[str, str]] = []
    alerts = Alerts(f"http://127.0.0.1:{port}/", lambda task, outcome: told.append((task, outcome)))
    alerts.set("refresh_failed", "default", "it crashed", now=0.0)
    for number in range(TRIES):
        assert told == []
        alerts.tick(FIRST_WAIT_S * 2.0**number)
    assert told == [("default", "given_up")]


def test_a_redirect_is_not_followed(webhook: Webhook) -> None:
    alerts = Alerts("")
    alerts.set("refresh_failed", "default", "it crashed", now=0.0)
    alerts.tick(1.0)  # without a URL there is nobody to tell
    webhook.status = 302
    alert = Alert(alert="refresh_failed", task="t", state="raised", why="", time=0)
    assert post(webhook.url, alert) == "answers 302"


def test_metrics_over_http() -> None:
    metrics = Metrics()
    metrics.set("millrace_worker_up", 1.0)
    server = MetricsServer(metrics, 0)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            response = client.get("/metrics")
            assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert "millrace_worker_up 1.0" in response.text.splitlines()
            assert client.get("/healthz").status_code == 200
            assert client.get("/nothing").status_code == 404
    finally:
        server.close()
