"""Around every request: its id and trace, its measures, and one line in the log. Bodies, texts and query strings are in none of them."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.asked_by import CURRENT, REQUEST_ID, TRACEPARENT, AskedBy, asked_by
from api.measures import Measures
from store.logs import place

log = logging.getLogger("api.requests")

NO_ROUTE = "none"
KEY_NAME = "key_name"
"""Where whoever checks keys puts the name of the key into the scope's state."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: they are in the log only when they fail."""


class Observed:
    """The application, observed from outside: also what no route answers is counted and logged."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and note how it did."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        by = asked_by(scope["headers"])
        answer = _Answer(send, by)
        token, began = CURRENT.set(by), time.perf_counter()
        self._measures.in_flight.inc()
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:
            # Its text may hold what a user wrote: the log gets the kind and the place. Whoever asked has a problem by now.
            log.error("request failed", extra={"request_id": by.request_id, "error": type(error).__name__, "at": place(error)})  # noqa: TRY400 - as said above
            if not answer.whole:
                raise
        finally:
            CURRENT.reset(token)
            self._measures.in_flight.dec()
            self._note(scope, by, answer, time.perf_counter() - began)

    def _note(self, scope: Scope, by: AskedBy, answer: _Answer, seconds: float) -> None:
        route, method = _route(scope), scope["method"] if scope["method"] in _METHODS else "other"
        self._measures.answered(route, method, answer.status, seconds)
        quiet = route in _PROBES and answer.status < 400
        fields: dict[str, Any] = {
            "request_id": by.request_id,
            "route": route,
            "method": method,
            "status": answer.status,
            "duration_ms": round(seconds * 1000, 3),
            "key": scope.get("state", {}).get(KEY_NAME),
            "trace_id": by.trace_id,
        }
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra=fields)


class _Answer:
    """What is sent: gets the headers that name request and trace, and is remembered by its status."""

    def __init__(self, send: Send, by: AskedBy) -> None:
        self._send, self._by = send, by
        self.status = 499
        """Until something is sent: whoever asked has left."""
        self.whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = ((REQUEST_ID, self._by.request_id), (TRACEPARENT, self._by.traceparent))
            message = {**message, "headers": [*message.get("headers", ()), *((name, value.encode()) for name, value in named)]}
        elif message["type"] == "http.response.body":
            self.whole = not message.get("more_body", False)
        await self._send(message)


def _route(scope: Scope) -> str:
    """Return the template of the route that a path belongs to, never the path."""
    return getattr(scope.get("route"), "path", NO_ROUTE)
