"""Ids of requests and traces that come from outside: taken if they are sane, else made."""

from __future__ import annotations

import re

import pytest

from api.asked_by import asked_by

pytestmark = pytest.mark.unit

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MADE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00")


def test_what_is_sane_is_kept() -> None:
    by = asked_by([(b"x-request-id", b"req-7_a.b:c"), (b"traceparent", TRACE)])
    assert (by.request_id, by.traceparent, by.trace_id) == ("req-7_a.b:c", TRACE.decode(), "4bf92f3577b34da6a3ce929d0e0e4736")


@pytest.mark.parametrize(
    "given",
    [
        b"", b"x", TRACE.upper(), TRACE[:-1], TRACE + b"0", b"ff" + TRACE[2:], b"00-" + b"0" * 32 + TRACE[35:],
        TRACE[:36] + b"0" * 16 + b"-01", b" " + TRACE, TRACE + b"\n", TRACE + b"-x", b"\xff" * 55,
    ],
)  # fmt: skip
def test_a_trace_that_is_not_valid_is_made_anew(given: bytes) -> None:
    assert MADE.fullmatch(asked_by([(b"traceparent", given)]).traceparent)


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 129, b"a\nb", b'"', b"\xc3\xa9", b"<script>"])
def test_an_id_that_is_not_sane_is_made_anew(given: bytes) -> None:
    assert re.fullmatch(r"[0-9a-f-]{36}", asked_by([(b"x-request-id", given)]).request_id)


def test_what_is_missing_or_given_twice_is_made_anew() -> None:
    one, other = (
        asked_by([]),
        asked_by([(b"x-request-id", b"a"), (b"x-request-id", b"b"), (b"traceparent", TRACE), (b"traceparent", TRACE)]),
    )
    assert one.request_id != other.request_id
    assert one.traceparent != other.traceparent
    assert TRACE.decode() not in (one.traceparent, other.traceparent)
