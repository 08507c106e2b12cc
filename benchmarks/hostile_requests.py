"""Requests that nobody should send: too large, broken, of wrong types, of wrong methods, from nobody. Each has one right answer: a 4xx."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

_MIB = 1024 * 1024
LINES = ("base", "nope", "..", "%2e%2e", "a%00b", "x" * 300)


class Attack(NamedTuple):
    """A request as bytes, and whether closing the connection without a word is right too: it is no HTTP, or no end of it is in sight."""

    kind: str
    data: bytes
    may_close: bool = False


def attacks(rng: random.Random) -> Iterator[Attack]:
    """Yield attacks without end, of all kinds in turn."""
    while True:
        for kind, make in _KINDS.items():
            data = make(rng)
            yield Attack(kind, data, may_close=kind in _NO_HTTP)


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a request as bytes; its length is announced."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    if body and not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _post(rng: random.Random, body: bytes) -> bytes:
    path = rng.choice(("/v1/events", "/v1/feedback", "/v1/models/base/promote", "/v1/models/rollback"))
    return request("POST", path, body, "Content-Type: application/json")


def _garbage(rng: random.Random) -> bytes:
    return rng.choice((
        rng.randbytes(rng.randrange(1, 4000)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(500),
        b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"get / http/1.1\r\n\r\n", b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ))  # fmt: skip


def _broken_heads(rng: random.Random) -> bytes:
    broken = rng.choice((
        "No-Colon", ": empty", "A b: c", "X: a\x00b", "Content-Length: -1", "Content-Length: 5x", "Content-Length: 99999999999999999999",
        "Content-Length: 3\r\nContent-Length: 4", "Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: nonsense",
    ))  # fmt: skip
    told = () if "Length" in broken else ("Content-Length: 2",)
    return request("POST", "/v1/events", b"{}", broken, *told)


def _broken_chunks(rng: random.Random) -> bytes:
    size = rng.choice((b"zz", b"-1", b"ffffffffffffffffff", b"3\r\nab", b""))
    return request("POST", "/v1/events", size + b"\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked")


def _giant_heads(rng: random.Random) -> bytes:
    return rng.choice((
        request("GET", "/v1/quality", b"", "X-Big: " + "a" * rng.randrange(40_000, 400_000)),
        request("GET", "/v1/quality", b"", *[f"X-{number}: {number}" for number in range(5000)]),
        request("GET", "/v1/quality?task=" + "a" * rng.randrange(40_000, 200_000)),
        request("GET", "/" + "a/" * 30_000),
    ))  # fmt: skip


def _no_json(rng: random.Random) -> bytes:
    return _post(rng, rng.choice((
        b"{", b"[1,", b"\xff\xfe", b'{"text": "\xc3\x28"}', b'{"text": "\\ud800"}', b'{"text": NaN}', b"\xef\xbb\xbf{}",
        rng.randbytes(3000), b"[" * 100_000, b'{"a":' * 20_000, b'{"text": "' + b"a" * 100_000,
        b"0" * 50_000, b"\x1f\x8b\x08\x00" + rng.randbytes(200),
    )))  # fmt: skip


def _wrong_types(rng: random.Random) -> bytes:
    wrong: tuple[object, ...] = (None, True, 5, -1.5, 1e300, "text", [], [[]], {}, {"text": 5}, {"text": None}, {"text": ["a"]},
             {"event_id": "", "text": "a"},
             {"event_id": {"a": 1}, "text": "a"}, {"text": "a", "ts": "now"}, {"text": "a", "ts": -1}, {"text": "a", "meta": [1]},
             {"text": "a", "meta": {"a": {"b": 1}}}, {"text": "a", "task": "nope"}, {"text": "a", "v": 99}, {"label": 5, "event_id": "e"},
             {"event_id": "e", "label": ""}, {"by": 5}, {"by": "", "why": 1}, {"by": "a", "share": 7, "x": 1})  # fmt: skip
    body: object = rng.choice(wrong)
    if rng.random() < 0.3:
        body = [body] * rng.choice((1, 3, 50))
    return _post(rng, json.dumps(body).encode())


def _too_large(rng: random.Random) -> bytes:
    return rng.choice((
        _post(rng, b" " * (8 * _MIB + 1)),
        request("POST", "/v1/events", b"a", f"Content-Length: {rng.randrange(9 * _MIB, 2**62)}"),
        request("POST", "/v1/events", b"900001\r\n" + b" " * 0x900001 + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        _post(rng, json.dumps([{"text": "a"}] * 1001).encode()),
        request("POST", "/v1/events", json.dumps({"text": "a" * (2 * _MIB)}).encode()),
        request("POST", "/v1/events", json.dumps({"text": "a", "meta": {"m": "x" * 100_000}}).encode()),
    ))  # fmt: skip


def _wrong_methods(rng: random.Random) -> bytes:
    path = rng.choice(("/v1/events", "/v1/predictions", "/v1/predictions/e1", "/v1/counts", "/healthz", "/v1/models/base", "/metrics"))
    return request(rng.choice(("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")), path, rng.choice((b"", b"x" * 1000)))


def _no_routes(rng: random.Random) -> bytes:
    path = rng.choice(("/v1/nothing", "/../../etc/passwd", "/v1/%2e%2e/%2e%2e/etc/passwd", "/%00", "/v1/predictions", "/.git/config", "//",
                       "/v1//quality", "/v1/models/at/", "/wp-login.php", "/v1/events/", "/%ff%fe", "/v1/quality;x",
                       "/" + "é" * 50))  # fmt: skip
    return request("POST" if path == "/v1/predictions" else "GET", path.encode().decode("latin-1"))


def _wrong_parameters(rng: random.Random) -> bytes:
    wrong = ("limit=0", "limit=-5", "limit=1e9", "limit=99999999999999999999999", "limit=x", "min_confidence=nan", "min_confidence=2",
             "cursor=%ff%00", "cursor=" + "A" * 1500, "task=nope", "task=%00", "task=" + "a" * 5000,
             "label=" + "x" * 300, "limit=%d0%b0")  # fmt: skip
    return rng.choice((
        request("GET", f"/v1/predictions?{rng.choice(wrong)}"),
        request("GET", f"/v1/counts?granularity={rng.choice(('week', '%00', 'total%20', 'x' * 1000))}"),
        request("GET", f"/v1/models/at?time={rng.choice(('yesterday', '-5', '9' * 40, '2026-13-40', '%00'))}"),
        request("GET", f"/v1/models/{rng.choice(LINES[1:])}"),
        request("GET", "/v1/predictions/" + "x" * 3000),
        request("GET", f"/v1/labels/nobody-{rng.randrange(10**9)}%00%0d%0a%3Cscript%3E"),
        request("POST", f"/v1/models/{rng.choice(LINES)}/promote?wait_s={rng.choice(('-1', 'nan', '9999', 'inf'))}", b'{"by":"a"}'),
    ))  # fmt: skip


def _wrong_keys(rng: random.Random) -> bytes:
    # Where no key is needed, what the request asks for is not there either.
    key = rng.choice(("Bearer ", "Bearer x", "Basic " + "QQ" * 2000, "Bearer " + "é" * 100, "Digest \x7f", "Bearer " + "a" * 8000))
    return request("GET", "/v1/labels/nobody", b"", rng.choice((f"Authorization: {key}", f"X-API-Key: {key[7:]}")))


_KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "garbage": _garbage,
    "broken heads": _broken_heads,
    "broken chunks": _broken_chunks,
    "giant heads": _giant_heads,
    "no JSON": _no_json,
    "wrong types": _wrong_types,
    "too large": _too_large,
    "wrong methods": _wrong_methods,
    "no routes": _no_routes,
    "wrong parameters": _wrong_parameters,
    "wrong keys": _wrong_keys,
}
_NO_HTTP = frozenset({"garbage", "broken heads", "giant heads", "too large"})
"""After these the connection may be closed before all was taken, so that the answer may not arrive."""
