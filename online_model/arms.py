"""Which line an event is served by, where some serve a share of the events: by a hash of the event's id, so that anyone can repeat it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_BITS = 53


def place_of(event_id: str) -> float:
    """Return the event's place in 0 ≤ place < 1, evenly spread over ids.

    >>> round(place_of("e1"), 6), round(place_of("e2"), 6)
    (0.106893, 0.99538)
    """
    digest = hashlib.blake2b(event_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) / 2.0**_BITS


def arm_of(event_id: str, shares: Iterable[tuple[str, float]]) -> str | None:
    """Return the line that serves the event, given lines with their shares; None for the champion, which serves the rest.

    >>> arm_of("e1", [("r1", 0.1), ("r2", 0.2)]), arm_of("e2", [("r1", 0.1), ("r2", 0.2)])
    ('r2', None)
    """
    place, end = place_of(event_id), 0.0
    for line, share in shares:
        end += share
        if place < end:
            return line
    return None
