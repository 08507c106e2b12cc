"""How far reviewers agree, and how far a share of some labels is to be trusted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

Z_95 = 1.959963984540054
"""Standard deviations to either side that hold 95 % of a normal distribution."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far reviewers agree.

    Attributes:
        events: events with labels of at least two reviewers.
        pairs: pairs of reviewers who labelled the same event.
        agreed: pairs that gave the same label.
        alpha: Krippendorff's alpha: 1 if all agree, 0 if as chance would have it; null if there is no pair, or only one label at all.
    """

    events: int
    pairs: int
    agreed: int
    alpha: float | None


def agreement(units: Iterable[Sequence[str]]) -> Agreement:
    """Return how far the labels of each event agree; events with fewer than two count for nothing.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), nominal labels, any number of reviewers an event.

    >>> agreement([["a", "a"], ["a", "b"], ["b", "b"], ["a"]])
    Agreement(events=3, pairs=3, agreed=2, alpha=0.4444444444444444)
    """
    events = pairs = agreed = 0
    within, totals = 0.0, Counter[str]()
    for labels in units:
        if len(labels) < 2:
            continue
        counts = Counter(labels)
        same = sum(n * (n - 1) for n in counts.values())
        events, pairs, agreed = events + 1, pairs + len(labels) * (len(labels) - 1) // 2, agreed + same // 2
        within += same / (len(labels) - 1)
        totals.update(counts)
    return Agreement(events=events, pairs=pairs, agreed=agreed, alpha=_alpha(within, totals))


def _alpha(within: float, totals: Counter[str]) -> float | None:
    """Return 1 - observed disagreement / the one expected by chance."""
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    return None if expected == 0 else 1.0 - (n - 1) * (n - within) / expected


def wilson(hits: int, of: int, z: float = Z_95) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for a share of which `hits` of `of` were seen; from 0 to 1 if nothing was.

    >>> [round(bound, 4) for bound in wilson(45, 50)]
    [0.7864, 0.9565]
    """
    if of == 0:
        return 0.0, 1.0
    share, square = hits / of, z * z / of
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)
