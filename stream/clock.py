"""The operators' clock; everything below them gets the time as an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the time, epoch ms."""
    return time.time_ns() // 1_000_000
