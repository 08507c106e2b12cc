"""Gives out the events of one task that are worth a label, each to one reviewer at a time. Safe to use from several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from api.ids import new_id
from online_model.review.opinions import Review, open_to
from online_model.review.turns import Slice, slices
from schemas.records import Drawn
from schemas.settings import Settings
from store.claims import Claim, Claims
from store.live_replica import LiveReplica
from store.recent.index import RecentIndex

if TYPE_CHECKING:
    from api.review.candidates import Candidates

FRESH_S = 1.0
"""Candidates are brought up to date when they are older than that …"""

REST = 10
"""… or than so many times what it took the processor, so that a large window does not keep it busy."""

_TRIED_AT_ONCE = 50


class ReviewQueue:
    """The queue of one task.

    Args:
        settings: how events are chosen.
        task: the task.
        index: the recent predictions.
        replica: the task's model.
        claims: who was asked what.
        chance: draws a number from 0 ≤ chance < 1.
    """

    def __init__(
        self, settings: Settings, task: str, *, index: RecentIndex, replica: LiveReplica, claims: Claims, chance: Callable[[], float]
    ) -> None:
        self._settings, self._task, self._index, self._replica, self._claims, self._chance = settings, task, index, replica, claims, chance
        self._lock = threading.Lock()
        self._candidates: Candidates | None = None
        self._due = float("-inf")

    def next(self, reviewer: str, *, now: int) -> tuple[Claim | None, int]:
        """Return what this reviewer is asked about, and how many events are left to ask about.

        It is what the reviewer was asked last and has neither labelled nor skipped, as long as nobody else has it; else a new claim.

        Raises:
            NotIndexed: while the index of the recent predictions is filled.
        """
        with self._lock:
            candidates = self._current()
            claim = self._claims.open(self._task, reviewer) or self._drawn(candidates, reviewer, now)
            counts = candidates.counts()
        return claim, counts["wrong"] + counts["random"] + counts["uncertain"]

    def counts(self) -> dict[Drawn, int]:
        """Return how many events each slice could draw (raises `NotIndexed`)."""
        with self._lock:
            return self._current().counts()

    def reviews(self, event_id: str) -> list[Review]:
        """Return what reviewers said of an event, also what its receipt does not show yet."""
        with self._lock:
            shown = self._current().reviews(event_id)
        (given,) = self._claims.given(self._task, [event_id])
        known = {(review.reviewer, review.drawn) for review in shown}
        return [*shown, *(review for review in given.reviews if (review.reviewer, review.drawn) not in known)]

    def _current(self) -> Candidates:
        if self._candidates is None:
            # The engine comes with it: a second to import, and 100 MiB that a process without reviewers does without.
            from api.review.candidates import Candidates  # noqa: PLC0415 - as said above

            self._candidates = Candidates(self._settings, self._task, self._index, self._replica)
        if time.monotonic() > self._due:
            began = time.thread_time()
            self._candidates.refresh()
            self._due = time.monotonic() + max(FRESH_S, REST * (time.thread_time() - began))
        return self._candidates

    def _drawn(self, candidates: Candidates, reviewer: str, now: int) -> Claim | None:
        for name in slices(self._chance()):
            ranked = candidates.ranked(name)
            while events := list(islice(ranked, _TRIED_AT_ONCE)):
                claim = self._claimed(candidates, name, events, reviewer, now)
                if claim is not None:
                    candidates.ask(claim.event_id)
                    return claim
        return None

    def _claimed(self, candidates: Candidates, name: Slice, events: list[str], reviewer: str, now: int) -> Claim | None:
        """Claim the first of some events that this reviewer may be asked about."""
        given = self._claims.given(self._task, events)
        free = [
            (event_id, lately.said)
            for event_id, lately in zip(events, given, strict=True)
            if open_to(reviewer, name, candidates.reviews(event_id), lately.reviews, candidates.votes(event_id))
        ]
        for drawn, group in _by_reason(name, free, candidates):
            claim = self._claims.draw(self._task, reviewer, drawn, group, claim=f"{drawn}-{new_id()}", now=now)
            if claim is not None:
                return claim
        return None


def _by_reason(name: Slice, free: list[tuple[str, int]], candidates: Candidates) -> Iterator[tuple[Drawn, list[tuple[str, int]]]]:
    """Yield the events with why they are asked about: those that are asked about again, for what the first reviewer was asked."""
    if name != "again":
        if free:
            yield name, free
        return
    for event_id, said in free:
        yield candidates.reviews(event_id)[0].drawn or "uncertain", [(event_id, said)]
