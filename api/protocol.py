"""HTTP as we serve it: uvicorn's protocol, with limits on what a client may send before it has asked for anything, and on how slowly.

uvicorn bounds neither the head of a request nor the time that it may take, and answers in plain text what is no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import MEDIA_TYPE, Problem, answer

log = logging.getLogger("api.protocol")

HEAD_MAX_BYTES = 32 * 1024
"""Request line and headers together."""
HEAD_S = 10.0
"""So long may a connection take to send a head, from when it is made or from its first byte."""
REQUEST_S = 70.0
"""So long may a whole request take to come; a route that reads a body gives up a little earlier, and says so (`api.bodies`)."""
UNREAD_S = 30.0
"""So long may a client not take what is sent to it."""
CONNECTIONS_MAX = 1000
ON_SHUTDOWN = "on_shutdown"
"""Where an answer that has no end by itself puts into the scope's state what ends it."""
PIPELINED_MAX = 64
"""Requests that one connection may send ahead."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. What is too large, too slow or no HTTP gets a problem, where one can still be sent, and is closed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = self._answering = False
        self.waits_since: float | None = None
        """When it began to wait for a head (loop's time); None while a request is being read or answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begin; if there are too many, the one that has waited longest for a request goes."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > CONNECTIONS_MAX and not self._make_room():
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"there are {CONNECTIONS_MAX} connections, all of them busy")

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nothing is waited for any more."""
        super().connection_lost(exc)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, unless the head has become too long."""
        if self._in_head or self.waits_since is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self.waits_since is None:
            # It follows on another in the same data.
            self._head_bytes = 0
            self._limit(HEAD_S, self._head_is_late)
        self._in_head, self.waits_since = True, None

    def on_headers_complete(self) -> None:
        """The head is whole: the request is answered, unless it is too long."""
        self._in_head = False
        if self.transport.is_closing():
            return
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_MAX_BYTES:
            self._refuse_head()
            return
        if len(self.pipeline) >= PIPELINED_MAX:
            self.refuse(HTTPStatus.TOO_MANY_REQUESTS, f"more than {PIPELINED_MAX} requests at once on one connection")
            return
        self._limit(REQUEST_S, self._request_is_late)
        self._answering = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; what was refused is not listened to any more."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: from here on the time is ours."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._head_bytes = 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, uvicorn's time for that; of one whose body is still coming, the time goes on."""
        self._answering = bool(self.pipeline)
        super().on_response_complete()
        if not self._answering and not self.cycle.more_body:
            self.waits_since = self.loop.time()

    def pause_writing(self) -> None:
        """The client does not take what is sent: it may do so for a while."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client goes on."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def shutdown(self) -> None:
        """End what would go on for ever: the server is told to stop. A client that does not take even that is not waited for."""
        super().shutdown()
        end = self.scope["state"].get(ON_SHUTDOWN) if self._answering else None
        if end is not None:
            end()
            if self.flow.write_paused:
                self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self.refuse(HTTPStatus.BAD_REQUEST, msg)

    def refuse(self, status: HTTPStatus, detail: str) -> None:
        """Send a problem, unless something else is being sent, and close the connection."""
        if self.transport.is_closing():
            return
        log.info("refused", extra={"status": int(status), "reason": detail})
        if self._answering and not (self.pipeline or self.cycle.response_started):
            # Whoever would answer hears that the client has left: the answer is this one.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._answering = False
        if not self._answering:
            self.transport.write(_raw(status, detail))
        self.transport.close()

    def _await_head(self) -> None:
        self.waits_since = self.loop.time()
        self._limit(HEAD_S, self._head_is_late)

    def _limit(self, seconds: float, then: Any) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, then)

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"the head of the request was not complete after {HEAD_S:.0f} s")
        else:
            self.transport.close()

    def _request_is_late(self) -> None:
        if self._answering:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"the request was not complete after {REQUEST_S:.0f} s")
        else:
            # It has its answer, and goes on sending.
            self.transport.close()

    def _refuse_head(self) -> None:
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"request line and headers have more than {HEAD_MAX_BYTES} bytes")

    def _make_room(self) -> bool:
        others = [other for other in self.connections if isinstance(other, GuardedProtocol) and other is not self]
        idle = [other for other in others if other.waits_since is not None]
        if not idle:
            return False
        min(idle, key=lambda other: other.waits_since or 0.0).transport.abort()
        return True


def _raw(status: HTTPStatus, detail: str) -> bytes:
    """Return a problem as it goes over the wire."""
    response = answer(Problem(status, detail))
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(response.body)), "connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {int(status)} {status.phrase}\r\n{head}\r\n".encode() + bytes(response.body)
