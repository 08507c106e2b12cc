"""What the refresh worker measures, and a small server that shows it to Prometheus, on loopback only.

The text format (version 0.0.4) is a few lines; a client library is not worth its memory in a process that shows a dozen gauges.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Mapping
from typing import Final

from schemas.metrics import REFRESH, Kind, metric

LOOPBACK: Final = "127.0.0.1"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

NAMES: Final[dict[str, tuple[Kind, str]]] = {known.name: (known.kind, known.help) for known in REFRESH}
"""Every metric: kind and meaning, from the one list of all."""


class Metrics:
    """The present values. Safe to use from several threads; a value that is None is left out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[tuple[str, str], ...], float]] = {name: {} for name in NAMES}

    def set(self, name: str, value: float | None, **labels: str) -> None:
        """Set a gauge, or a counter that is counted elsewhere."""
        key = _key(name, labels)
        with self._lock:
            if value is None:
                self._values[name].pop(key, None)
            else:
                self._values[name][key] = value

    def add(self, name: str, **labels: str) -> None:
        """Count one more."""
        key = _key(name, labels)
        with self._lock:
            self._values[name][key] = self._values[name].get(key, 0.0) + 1

    def text(self) -> str:
        """Return all of it in Prometheus's text format."""
        with self._lock:
            lines = []
            for name, (kind, meaning) in NAMES.items():
                if values := self._values[name]:
                    lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
                    lines += [f"{name}{_labels(key)} {value!r}" for key, value in sorted(values.items())]
        return "\n".join([*lines, ""])


def _key(name: str, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return labels as a key; a `KeyError` if the list does not have the name with just these."""
    if set(metric(REFRESH, name).labels) != set(labels):
        raise KeyError(f"{name} has the labels {metric(REFRESH, name).labels}")
    return tuple(sorted(labels.items()))


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    r"""Return labels as the format has them.

    >>> _labels((("task", 'a"b'),))
    '{task="a\\"b"}'
    """
    escaped = ((name, value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')) for name, value in labels)
    inside = ",".join(f'{name}="{value}"' for name, value in escaped)
    return f"{{{inside}}}" if inside else ""


class MetricsServer:
    """Serves `/metrics` and `/healthz` from one thread until it is closed; port 0 takes any free one."""

    def __init__(self, metrics: Metrics, port: int, host: str = LOOPBACK) -> None:
        """Listen, by default on the loopback.

        Raises:
            OSError: if the port is taken.
        """
        pages: dict[str, Callable[[], str]] = {"/metrics": metrics.text, "/healthz": lambda: "alive\n"}
        self._server = http.server.HTTPServer((host, port), _handler(pages))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(pages: Mapping[str, Callable[[], str]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 5
        """A client that says nothing for so long is left: one thread serves all."""

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            body = (page() if page else "there are /metrics and /healthz\n").encode()
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a scrape every few seconds is no news."""

    return Handler
