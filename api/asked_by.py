"""Who asks: the id and the trace of the request that is being answered, for whatever is done on its behalf."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar

import msgspec

from api.ids import new_id

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

_SANE_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class AskedBy(msgspec.Struct, frozen=True):
    """A request: its id, and the W3C trace context (`traceparent`) that it belongs to."""

    request_id: str
    traceparent: str

    @property
    def trace_id(self) -> str:
        """The id of the trace, 32 hexadecimal digits."""
        return self.traceparent.split("-")[1]


CURRENT: ContextVar[AskedBy | None] = ContextVar("asked_by", default=None)
"""The request that is being answered; threads of `run_in_threadpool` see it too. None: nobody's."""


def asked_by(headers: Iterable[tuple[bytes, bytes]]) -> AskedBy:
    """Return who asks, by the headers of a request; what is missing, given twice or not sane is made anew."""
    ids, traces = [], []
    for name, value in headers:
        if name == REQUEST_ID:
            ids.append(value)
        elif name == TRACEPARENT:
            traces.append(value)
    request_id = ids[0].decode() if len(ids) == 1 and _SANE_ID.fullmatch(ids[0]) else new_id()
    traceparent = traces[0].decode() if len(traces) == 1 and _TRACE.fullmatch(traces[0]) else new_traceparent(os.urandom(24))
    return AskedBy(request_id, traceparent)


def new_traceparent(noise: bytes) -> str:
    """Return the `traceparent` of a new trace from 24 random bytes; it is not sampled, since nothing here records spans.

    >>> new_traceparent(bytes(range(24)))
    '00-000102030405060708090a0b0c0d0e0f-1011121314151617-00'
    """
    return f"00-{noise[:16].hex()}-{noise[16:].hex()}-00"


def kafka_headers() -> list[tuple[str, bytes]]:
    """Return the headers that tell a record which trace it belongs to; none outside of a request."""
    current = CURRENT.get()
    return [("traceparent", current.traceparent.encode())] if current else []
