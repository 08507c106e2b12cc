"""How long to wait before something that died is started again."""

from __future__ import annotations

from dataclasses import dataclass

QUICK_S = 30.0
GIVE_UP_AFTER = 5
LONGEST_S = 30.0


@dataclass
class Backoff:
    """At once after the first death, then ever slower; a life of half a minute forgets the past.

    >>> backoff = Backoff()
    >>> [backoff.died(lived_s=1.0) for _ in range(7)]
    [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    >>> backoff.reported
    True
    >>> backoff.died(lived_s=60.0), backoff.reported
    (0.0, False)
    """

    quick_deaths: int = 0

    def died(self, *, lived_s: float) -> float:
        """Count a death and return the seconds to wait."""
        self.quick_deaths = self.quick_deaths + 1 if lived_s < QUICK_S else 1
        return 0.0 if self.quick_deaths == 1 else min(2.0 ** (self.quick_deaths - 2), LONGEST_S)

    @property
    def reported(self) -> bool:
        """Whether it died so often in a row that it is reported as failed."""
        return self.quick_deaths >= GIVE_UP_AFTER
