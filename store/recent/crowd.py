"""Whether others want the processors of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

LOOK_S = 1.0
CROWDED_PERCENT = 90.0


class Crowd:
    """Looks at all processors of the machine once a second. Use it from one thread.

    In a container that gets a part of a machine's processors, it sees the machine: what is given by quota alone counts as free.

    Args:
        percent: how busy the processors were since the last call, of 100.
        clock: seconds, from any beginning.
    """

    def __init__(self, *, percent: Callable[[], float] = psutil.cpu_percent, clock: Callable[[], float] = time.monotonic) -> None:
        self._percent, self._clock = percent, clock
        self._looked = clock()
        self._crowded = False

    def crowded(self) -> bool:
        """Say whether hardly any processor was idle in the last second or two.

        >>> seconds = iter([0.0, 0.5, 1.0, 1.5])
        >>> crowd = Crowd(percent=lambda: 97.5, clock=lambda: next(seconds))
        >>> crowd.crowded(), crowd.crowded(), crowd.crowded()
        (False, True, True)
        """
        now = self._clock()
        if now - self._looked >= LOOK_S:
            self._looked, self._crowded = now, self._percent() > CROWDED_PERCENT
        return self._crowded
