"""How often a key, or an address without one, may ask and write: sliding windows of ten seconds, in this process, in bounded memory."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from functools import lru_cache
from http import HTTPStatus

from fastapi import Request
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.strategies import SlidingWindowCounterRateLimiter

from api.access.roles import Caller
from api.access.windows import Windows
from api.problems import FieldError, Problem

WINDOW_S = 10
"""Within it the seconds balance each other: a page that asks ten things at once is no flood."""
ADDRESSES_MAX = 10_000
"""So many addresses are counted each for itself; further ones, for as long as these are busy, together."""
_OTHERS = "other addresses"


class Limits:
    """Counts requests and items. Safe to use from several threads.

    Args:
        requests_per_s: for each caller; 0 for no limit.
        items_per_s: the same for records that are written.
    """

    def __init__(self, requests_per_s: int, items_per_s: int) -> None:
        self._requests_per_s, self._items_per_s = requests_per_s, items_per_s
        self._storage = Windows()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._addresses: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def take_request(self, caller: Caller) -> None:
        """Count a request.

        Raises:
            Problem: if it is one too many.
        """
        self._take("requests", caller.requests_per_s or self._requests_per_s, caller, 1)

    def take_items(self, caller: Caller, items: int) -> None:
        """Count records that are about to be written; of those that are refused none counts.

        Raises:
            Problem: if they are too many, now or ever.
        """
        per_s = self._items_per_s
        if per_s and items > per_s * WINDOW_S:
            error = FieldError(field="body", reason="too_large", detail=f"at most {per_s * WINDOW_S} records")
            detail = f"{items} records at once are more than {per_s} a second allow: send at most {per_s * WINDOW_S}"
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, errors=[error])
        self._take("records", per_s, caller, items)

    def _take(self, what: str, per_s: int, caller: Caller, cost: int) -> None:
        if not per_s or not cost:
            return
        who = caller.who if caller.name is not None else self._counted(caller.who)
        window = _window(what, per_s)
        if self._limiter.hit(window, who, cost=cost):
            return
        wait_s = self._wait_s(window, who, cost)
        detail = f"more than {per_s} {what} a second from {caller.who}, over {WINDOW_S} s; nothing was accepted: try again in {wait_s} s"
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(wait_s)})

    def _wait_s(self, window: RateLimitItem, who: str, cost: int) -> int:
        """Return in how many seconds there is room: what counts is this window and, ever less, the one before it."""
        before, _, now, ends_in = self._storage.get_sliding_window(window.key_for(who), WINDOW_S)
        left_s = ends_in - WINDOW_S
        room = window.amount - cost
        if before and now <= room:
            wait = left_s - (room - now) * WINDOW_S / before
        else:
            wait = left_s + max(0.0, WINDOW_S - room * WINDOW_S / max(1, now))
        return max(1, math.ceil(wait))

    def _counted(self, who: str) -> str:
        """Return by what an address is counted."""
        now = time.monotonic()
        with self._lock:
            if who not in self._addresses and len(self._addresses) >= ADDRESSES_MAX:
                oldest = next(iter(self._addresses))
                # One that was quiet for two windows has nothing left that counts.
                if now - self._addresses[oldest] < 2 * WINDOW_S:
                    return _OTHERS
                del self._addresses[oldest]
            self._addresses[who] = now
            self._addresses.move_to_end(who)
        return who


@lru_cache(maxsize=256)
def _window(what: str, per_s: int) -> RateLimitItem:
    return RateLimitItemPerSecond(per_s * WINDOW_S, WINDOW_S, namespace=what)


def spend(request: Request, items: int) -> None:
    """Count the records that a route is about to write: one line in each route that takes several.

    Raises:
        Problem: if they are too many.
    """
    limits: Limits = request.app.state.access.limits
    limits.take_items(request.state.caller, items)
