"""The candidates of one task: its newest events, brought up to date when somebody asks. Not for several threads at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from online_model.review.chance import asks_more, place_in_random
from online_model.review.opinions import Review
from online_model.review.pool import LABELLED_KEPT, Pool, best_now, doubt_of
from online_model.review.sketches import Sketcher, Sketches
from online_model.review.turns import Slice, Taught
from schemas.records import Drawn
from schemas.settings import Settings
from store.live_replica import LiveReplica
from store.model_feed import NotReadYet
from store.recent.index import RecentIndex
from store.recent.review import Standing
from store.recent.rows import Recent
from store.turns import NotYourTurn

READ_AT_ONCE = 5000
"""New events whose texts are looked at before somebody is answered (some tenths of a second); if there are more, the newest of them."""

_DEEP = 1000
_LOOK_AGAIN_S = 0.05
_TOP = 2


class Candidates:
    """The newest events of a task that may be asked about, as of the last `refresh`.

    Args:
        settings: how many they are, and what chance decides.
        index: where they come from.
        replica: the model that looks at the best of them again.
    """

    def __init__(self, settings: Settings, task: str, index: RecentIndex, replica: LiveReplica) -> None:
        self._settings, self._task, self._index, self._replica = settings, task, index, replica
        self._sketcher = Sketcher()
        self._pool = Pool(settings.review_window)
        self._standing: dict[str, Standing] = {}
        self._random: dict[str, float] = {}
        self._labelled: set[str] = set()
        self._reviews: dict[str, tuple[Review, ...]] = {}

    def refresh(self) -> None:
        """Take in what has come and what was labelled since.

        Raises:
            NotIndexed: while the index of the recent predictions is filled.
        """
        newest = self._index.newest(self._task, self._settings.review_window)
        self._reviews = {event.event_id: event.reviews for event in self._index.reviewed(self._task)}
        standing = {event.event_id: event for event in newest}
        self._random = {
            event_id: place
            for event_id in standing
            if (place := self._random.get(event_id, -1.0)) >= 0
            or (event_id not in self._standing and (place := place_in_random(event_id)) < self._settings.review_random_share)
        }
        self._forget(standing)
        self._standing = standing
        self._read(newest)

    def _forget(self, standing: dict[str, Standing]) -> None:
        """Remove what is too old or was labelled; what was labelled makes others like it worth less."""
        gone = [event_id for event_id in self._standing if event_id not in standing]
        self._labelled.difference_update(gone)
        self._pool.remove(gone)
        for event in standing.values():
            if event.event_id in self._pool and (event.reviewed or event.marked_wrong):
                self._labelled.add(event.event_id)
                self._pool.ask(event.event_id)
                self._pool.remove([event.event_id])

    def _read(self, newest: Sequence[Standing]) -> None:
        fresh = [event.event_id for event in newest if self._is_new(event)][:READ_AT_ONCE]
        taught = [event.event_id for event in newest if event.reviewed and event.event_id not in self._labelled][:LABELLED_KEPT]
        self._labelled.update(event.event_id for event in newest if event.reviewed)
        found = self._index.some(self._task, [*fresh, *taught])
        for _, sketch in self._sketches(found, taught):
            self._pool.learn(sketch)
        # Oldest first: what came just before a text says whether others like it come.
        for event_id, sketch in self._sketches(found, fresh[::-1]):
            self._pool.add(event_id, sketch, doubt_of(list(found[event_id].prediction.proba.values())))

    def _is_new(self, event: Standing) -> bool:
        return not (event.reviewed or event.marked_wrong or event.event_id in self._pool or event.event_id in self._random)

    def _sketches(self, found: dict[str, Recent], event_ids: Sequence[str]) -> Iterator[tuple[str, Sketches]]:
        here = [event_id for event_id in event_ids if event_id in found]
        if here:
            yield from zip(here, self._sketcher.sketches([found[event_id].prediction.text for event_id in here]), strict=True)

    def reviews(self, event_id: str) -> tuple[Review, ...]:
        """Return what reviewers said of an event, as far as its receipt shows."""
        return self._reviews.get(event_id, ())

    def ask(self, event_id: str) -> None:
        """Note that somebody is asked about an event."""
        if event_id in self._pool:
            self._pool.ask(event_id)

    def counts(self) -> dict[Drawn, int]:
        """Return how many events each slice could draw; those of doubt, difference and novelty rank the same events."""
        done = sum(any(review.drawn == "random" for review in self.reviews(event_id)) for event_id in self._random)
        wrong = sum(event.marked_wrong for event in self._standing.values())
        size = len(self._pool)
        return {"wrong": wrong, "random": len(self._random) - done, "uncertain": size, "diverse": size, "new": size}

    def ranked(self, name: Slice) -> Iterator[str]:
        """Yield the events of a slice, most worth a label first."""
        if name == "random":
            # By hash alone: neither what was predicted nor what others said of an event decides when it is asked for.
            yield from sorted(self._random, key=self._random.__getitem__)
        elif name == "wrong":
            yield from (event.event_id for event in self._standing.values() if event.marked_wrong)
        elif name == "again":
            yield from (event_id for event_id in self._reviews if event_id not in self._random and self.votes(event_id) > 1)
        else:
            yield from self._taught(name)

    def votes(self, event_id: str) -> int:
        """Return how many reviewers must agree on the label of an event."""
        return self._settings.review_labels_per_event if asks_more(event_id, self._settings.review_second_share) else 1

    def _taught(self, name: Taught) -> Iterator[str]:
        try:
            best = best_now(self._pool, name, self._doubts)
        except (NotReadYet, NotYourTurn):
            # What was served is older, and does as well until the model is there.
            best = []
        yield from best
        seen = set(best)
        yield from (event_id for event_id in self._pool.best(name, _DEEP) if event_id not in seen)

    def _doubts(self, event_ids: Sequence[str]) -> list[float]:
        found = self._index.some(self._task, event_ids)
        with self._replica.held(_LOOK_AGAIN_S) as replica:
            proba = [
                replica.predict(found[event_id].prediction.text, top=_TOP).proba if event_id in found else {} for event_id in event_ids
            ]
        return [doubt_of(list(classes.values())) for classes in proba]
