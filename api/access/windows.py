"""The memory of the rate limits: two counters for each caller, forgotten when they count no more.

`limits` brings such a storage. Its own cleans up in threads that it starts a hundred times a second, and which race with whoever counts
(5.8: `MemoryStorage`); here each count clears what has passed.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from math import floor

from limits.storage.base import SlidingWindowCounterSupport, Storage


class Windows(Storage, SlidingWindowCounterSupport):
    """Counters in this window and the one before it, by key. Safe to use from several threads."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[float, int, int]] = OrderedDict()
        """Start of the window, count in the one before, count in it; those that were counted last are at the end."""

    def __len__(self) -> int:
        return len(self._counts)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount`, unless that would be too much; of what is too much nothing counts."""
        now = time.time()
        with self._lock:
            self._forget(now - 2 * expiry)
            start, before, current = self._at(key, expiry, now)
            weighted = before * (start + expiry - now) / expiry + current
            if floor(weighted) + amount > limit:
                return False
            self._counts[key] = (start, before, current + amount)
            self._counts.move_to_end(key)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return what was counted in the window before and for how long that counts, and the same of this window."""
        now = time.time()
        with self._lock:
            start, before, current = self._at(key, expiry, now)
        left = start + expiry - now
        return before, left, current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - the length of the window is part of the interface
        """Forget a key."""
        self.clear(key)

    def _at(self, key: str, expiry: int, now: float) -> tuple[float, int, int]:
        """Return the counters as they are now; the lock is held."""
        start = now - now % expiry
        known, before, current = self._counts.get(key, (start, 0, 0))
        if known == start:
            return start, before, current
        return start, current if known == start - expiry else 0, 0

    def _forget(self, until: float) -> None:
        """Forget the keys that were last counted in a window that began before; the lock is held."""
        while self._counts:
            key = next(iter(self._counts))
            if self._counts[key][0] > until:
                return
            del self._counts[key]

    @property
    def base_exceptions(self) -> type[Exception]:
        """What a storage of this kind raises when it is away: nothing."""
        return ValueError

    def get(self, key: str) -> int:
        """Return the count in the window that is known."""
        return self._counts.get(key, (0.0, 0, 0))[2]

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._counts.pop(key, None)

    def reset(self) -> int:
        """Forget everything, and return how many keys that was."""
        with self._lock:
            count = len(self._counts)
            self._counts.clear()
        return count

    def check(self) -> bool:
        """Say whether it is there: it always is."""
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Refuse: a fixed window is not what this is for.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Refuse, for the same reason.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError
