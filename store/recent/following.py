"""Keeps one task's recent predictions as Redis has them: newest first when it begins, then what arrives, then what was left out.

Where more arrives than can be taken, it jumps to the newest and leaves a gap; gaps are filled, newest first, when there is time. So what is
shown lags a little, and nothing piles up: Redis itself drops what is too old, and a gap with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from store.recent.arrivals import Arrivals, Look, Stream, milliseconds
from store.recent.rows import Recent
from store.recent.table import RecentTable

BATCH = 250
"""Predictions or receipts that are taken at once."""

BEHIND_MS = 2000
"""It jumps to the newest when what it would take next is so much older than that, by Redis's clock."""

MOST_GAPS = 16
Kind = Literal["predictions", "labels"]


class Gap(msgspec.Struct):
    """Arrivals that were left out: those after `low` and before `high`."""

    low: int
    high: int


class Followed:
    """One of the two streams of a task.

    Attributes:
        head: position up to which arrivals were taken, save for the gaps; None before the first look.
        gaps: what was left out, oldest first.
    """

    def __init__(self) -> None:
        self.head: int | None = None
        self.gaps: list[Gap] = []

    def begin(self, stream: Stream) -> None:
        """Begin at the newest, with all before it left out."""
        self.head, self.gaps = stream.last, [Gap(0, stream.last + 1)]

    def next(self, stream: Stream, most: int) -> list[tuple[int, str]]:
        """Return the arrivals to take now; none if it jumps to the newest."""
        head, arrivals = self.head or 0, stream.arrivals
        if len(arrivals) == most and milliseconds(stream.last) - milliseconds(arrivals[0][0]) > BEHIND_MS:
            self.gaps.append(Gap(head, stream.last + 1))
            self.head, arrivals = stream.last, []
            if len(self.gaps) > MOST_GAPS:
                # Memory is bounded. Reading again what lies between two gaps does no harm.
                self.gaps[:2] = [Gap(self.gaps[0].low, self.gaps[1].high)]
        elif arrivals:
            self.head = arrivals[-1][0]
        return arrivals

    def prune(self, first: int) -> None:
        """Give up the gaps of which Redis has nothing any more."""
        self.gaps = [gap for gap in self.gaps if gap.high > first]

    def narrow(self, arrivals: Sequence[tuple[int, str]], most: int) -> None:
        """Note that the newest of the newest gap were taken."""
        gap = self.gaps[-1]
        if len(arrivals) == most and arrivals[-1][0] > gap.low + 1:
            gap.high = arrivals[-1][0]
        else:
            self.gaps.pop()


class TaskFollower:
    """Follows one task. Use it from one thread.

    Attributes:
        filled: whether everything that Redis had was taken once, since it began or began anew.
        first: the oldest position after which all arrivals are still known to Redis.
        taken: the position up to which all arrivals are in the table, save for the gaps.
        redis_count: predictions that Redis has.
        behind_ms: how much older what was taken last is than the newest in Redis, by Redis's clock, at the last look.
        more_waits: whether as many predictions as it takes at once had arrived at the last look, so that there may be more.
    """

    def __init__(self, task: str, table: RecentTable, arrivals: Arrivals) -> None:
        self.task = task
        self.table = table
        self.filled = False
        self.first = 0
        self.taken = 0
        self.redis_count = 0
        self.behind_ms = 0
        self.more_waits = False
        self._arrivals = arrivals
        self._predictions = Followed()
        self._labels = Followed()
        self._rank = 0
        self._swept: tuple[int, int] | None = None

    @property
    def heads(self) -> tuple[int, int]:
        """The positions to look after: of predictions and of receipts."""
        return self._predictions.head or 0, self._labels.head or 0

    @property
    def complete(self) -> bool:
        """Whether nothing is left out now."""
        return self.filled and not self._predictions.gaps

    def forget(self) -> None:
        """Begin anew: this is another Redis."""
        self.table.clear()
        self.filled, self.first, self.taken, self._rank, self._swept = False, 0, 0, 0, None
        self._predictions, self._labels = Followed(), Followed()

    def take(self, look: Look) -> tuple[list[Recent], bool]:
        """Take what a look has shown; return the predictions that are new, and whether there is more to do at once."""
        self.first, self.redis_count = look.predictions.first, look.count
        self.more_waits = len(look.predictions.arrivals) == BATCH
        if self._predictions.head is None or self._labels.head is None:
            self._begin(look)
            return [], True
        if look.predictions.last < self._predictions.head or look.labels.last < self._labels.head:
            # The streams only grow: it was emptied, and nothing else says so.
            self.forget()
            return [], True
        if look.labels.first > self._labels.head and (self._labels.head or len(look.labels.arrivals) == BATCH):
            # More labels have changed than the stream remembers, while Redis could not be asked: all rows are read again.
            self._begin(look)
            return [], True
        new = self._take_predictions(self._predictions.next(look.predictions, BATCH))
        self.taken = self._predictions.head or 0
        self.behind_ms = milliseconds(look.predictions.last) - milliseconds(self.taken) if self.taken else 0
        self._take_labels([event for _, event in self._labels.next(look.labels, BATCH)])
        self.table.drop_before(look.oldest)
        more = self.more_waits or len(look.labels.arrivals) == BATCH
        return new, (self._catch_up() or more) if not (more and self.filled) else True

    def _begin(self, look: Look) -> None:
        self._predictions.begin(look.predictions)
        self._labels.begin(look.labels)
        self.taken = self._predictions.head or 0
        # Every row brings its label along; only what changes from now on matters.
        self._labels.gaps.clear()

    def _catch_up(self) -> bool:
        """Fill a part of the newest gap; say whether there is more to do at once."""
        self._predictions.prune(self.first)
        if self._predictions.gaps and self._predictions.gaps[0].low:
            # What had been there at the beginning was read, or Redis has dropped it meanwhile.
            self.filled = True
        for kind, followed in (("predictions", self._predictions), ("labels", self._labels)):
            if followed.gaps:
                found = self._arrivals.before(self.task, kind, followed.gaps[-1].high, BATCH)
                found = [(position, event) for position, event in found if position > followed.gaps[-1].low]
                if kind == "predictions":
                    self._take_predictions(found)
                else:
                    self._take_labels([event for _, event in found])
                followed.narrow(found, BATCH)
                return True
        return self._sweep()

    def _sweep(self) -> bool:
        """Look for predictions that the stream does not name: those that were written before there was one."""
        state = (self.redis_count, self.table.events)
        if self.table.events >= self.redis_count or state == self._swept:
            self.filled, self._rank = True, 0
            return False
        events = self._arrivals.by_rank(self.task, self._rank, BATCH)
        known = self.table.known(events)
        self._take_predictions([(0, event) for event in events if event not in known])
        self._rank += BATCH
        if len(events) < BATCH:
            self.filled, self._rank, self._swept = True, 0, (self.redis_count, self.table.events)
        return True

    def _take_predictions(self, arrivals: Sequence[tuple[int, str]]) -> list[Recent]:
        positions = {event: position for position, event in arrivals}
        found = self._arrivals.bodies(self.task, list(positions))
        rows = [Recent(prediction=p, marks=marks, arrived=positions[event]) for event, (_, p, marks) in found.items()]
        return self.table.add([body for body, _, _ in found.values()], rows)

    def _take_labels(self, events: Sequence[str]) -> None:
        here = self.table.known(list(dict.fromkeys(events)))
        self.table.set_marks(self._arrivals.marks(self.task, list(here)))
