"""Ids for records that come without one: they sort by time of creation (UUID version 7, RFC 9562)."""

from __future__ import annotations

import os
import time
import uuid


def new_id() -> str:
    """Return a new id."""
    return str(uuid7(time.time_ns() // 1_000_000, os.urandom(10)))


def uuid7(time_ms: int, noise: bytes) -> uuid.UUID:
    """Return the UUID of a time (epoch ms) and 10 random bytes.

    >>> str(uuid7(0x017F22E279B0, bytes(10)))
    '017f22e2-79b0-7000-8000-000000000000'
    """
    value = bytearray(time_ms.to_bytes(6, "big") + noise)
    value[6] = 0x70 | value[6] & 0x0F
    value[8] = 0x80 | value[8] & 0x3F
    return uuid.UUID(bytes=bytes(value))
