"""Times on the command line."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime

from schemas.records import LATEST_MS

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment(text: str) -> int:
    """Return the time, epoch ms, that an age, an ISO 8601 time or a number of epoch ms names; a time without a zone is UTC.

    Raises:
        ArgumentTypeError: if it is none of them.

    >>> moment("2023-11-14T22:13:20"), moment("2023-11-14T23:13:20+01:00"), moment("1700000000123")
    (1700000000000, 1700000000000, 1700000000123)
    """
    if age := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return int(time.time() * 1000) - int(age[1]) * _UNITS_MS[age[2]]
    if re.fullmatch(r"\d{10,15}", text) and int(text) <= LATEST_MS:
        return int(text)
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither an age (30s, 15m, 2h, 7d) nor a time (2026-01-31T12:00, or epoch milliseconds)"
        ) from error
