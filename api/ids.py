"""Ids for records that come without one: new ones sort by time of creation, derived ones are the same for the same request (RFC 9562)."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable

import msgspec

MakeId = Callable[[int, object], str]
"""Returns the id of the item at a place of a list, 0 for one that came alone."""

_NAMESPACE = uuid.UUID("6f0d2a52-8a54-5d1e-9c1b-6d696c6c7261")


def new_id() -> str:
    """Return a new id."""
    return str(uuid7(time.time_ns() // 1_000_000, os.urandom(10)))


def new_ids(_: int, __: object) -> str:
    """Return a new id for any item."""
    return new_id()


def derived_ids(key: str, route: str) -> MakeId:
    """Return what derives ids from an idempotency key, the route, and each item with its place (UUID version 5).

    The item belongs to it: if a key is used for something else while nobody can notice, nothing is taken for a repetition that is none.

    >>> derived = derived_ids("k", "events")
    >>> derived(0, {"text": "a", "n": 1}) == derived(0, {"n": 1, "text": "a"}) == derived_ids("k", "events")(0, {"text": "a", "n": 1})
    True
    >>> len({derived(0, "a"), derived(1, "a"), derived(0, "b"), derived_ids("k", "feedback")(0, "a"), derived_ids("l", "events")(0, "a")})
    5
    """

    def derived(place: int, item: object) -> str:
        name = msgspec.json.encode([key, route, place, item], order="deterministic")
        return str(uuid.uuid5(_NAMESPACE, name.decode()))

    return derived


def uuid7(time_ms: int, noise: bytes) -> uuid.UUID:
    """Return the UUID of a time (epoch ms) and 10 random bytes.

    >>> str(uuid7(0x017F22E279B0, bytes(10)))
    '017f22e2-79b0-7000-8000-000000000000'
    """
    value = bytearray(time_ms.to_bytes(6, "big") + noise)
    value[6] = 0x70 | value[6] & 0x0F
    value[8] = 0x80 | value[8] & 0x3F
    return uuid.UUID(bytes=bytes(value))
