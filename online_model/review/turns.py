"""Which slice is drawn from next."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Taught = Literal["uncertain", "diverse", "new"]
"""The slices that promise to teach much (`online_model.review.pool`)."""

Slice = Literal["random", "wrong", "again", "uncertain", "diverse", "new"]
"""Where events are drawn from; `again`: those of which some reviewers have said something, and more are to be asked."""

RANDOM_TURNS: Final = 0.2
"""Share of the turns that the random slice has."""

MIX: Final[Mapping[Taught, float]] = MappingProxyType({"uncertain": 0.25, "diverse": 0.375, "new": 0.375})
"""How the other turns are shared among the slices that promise to teach much. Chosen by experiment: docs/review.md."""


def slices(chance: float) -> tuple[Slice, ...]:
    """Return the slices in the order in which they are tried; a later one only if the earlier ones have nothing to ask.

    What someone marked as wrong comes first, except in the turns of the random slice, which it must not starve.

    Args:
        chance: a number drawn evenly from 0 ≤ chance < 1.

    >>> slices(0.1)
    ('random', 'wrong', 'again', 'uncertain', 'diverse', 'new')
    >>> slices(0.99)
    ('wrong', 'again', 'new', 'uncertain', 'diverse', 'random')
    """
    if chance < RANDOM_TURNS:
        return ("random", "wrong", "again", *MIX)
    chosen = chosen_of((chance - RANDOM_TURNS) / (1 - RANDOM_TURNS))
    return ("wrong", "again", chosen, *(name for name in MIX if name != chosen), "random")


def chosen_of(chance: float) -> Taught:
    """Return the slice of `MIX` that a chance from 0 ≤ chance < 1 chooses."""
    end, chosen = 0.0, next(iter(MIX))
    for name, share in MIX.items():
        chosen, end = name, end + share
        if chance < end:
            break
    return chosen
