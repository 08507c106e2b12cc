"""The candidates for labels, and how much each promises to teach.

Three slices rank them. `uncertain`: by a small margin between the two most probable classes (Scheffer and others, "Active Hidden Markov
Models", 2001). `diverse`: by the same, times the distance to what was labelled or asked for, so that of ten alike one is asked (farthest
first, Sener and Savarese, "Active Learning for CNNs: A Core-Set Approach", 2018, among the uncertain ones). `new`: by that, times how
much like it came shortly before: a new kind of text comes in numbers, a stray one alone (information density, Settles and Craven, "An
Analysis of Active Learning Strategies for Sequence Labeling Tasks", 2008).

Everything is kept up to date candidate by candidate: a new one is compared with the newest labels and the candidates just before it, a
label with all candidates, each comparison a few machine instructions. A ranking is one pass over the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from online_model.review.chance import tie_of
from online_model.review.sketches import WORDS, Sketches, distances
from online_model.review.turns import Taught

LABELLED_KEPT = 1000
"""Newest labelled texts that a new candidate is compared with."""

BEFORE_KEPT = 256
"""Candidates just before a new one among which it is looked for others like it."""

ALIKE = 5
"""… and so many of them, the nearest, say how crowded it is there."""

LOOKED_AT = 50
"""The best candidates at which the model of now looks again."""

_TIE = 1e-6

Numbers = npt.NDArray[np.float32]


class Pool:
    """The candidates of one task, at most `most`: beyond, the one that came first is dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, int] = {}
        self._keys: list[str] = [""] * most
        self._free = list(range(most - 1, -1, -1))
        self._sketches: Sketches = np.zeros((most, WORDS), np.uint64)
        self._used = np.zeros(most, np.bool_)
        self._doubt, self._near, self._crowd, self._tie = (np.zeros(most, np.float32) for _ in range(4))
        self._labelled = _Ring(LABELLED_KEPT)
        self._before = _Ring(BEFORE_KEPT)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._places

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays; ids take some 100 more each."""
        return sum(array.nbytes for array in (self._sketches, self._used, self._doubt, self._near, self._crowd, self._tie))

    def add(self, event_id: str, sketch: Sketches, doubt: float) -> None:
        """Add a candidate that is not here yet; `doubt` is what `doubt_of` says of its prediction."""
        if not self._free:
            self.remove([next(iter(self._places))])
        place = self._free.pop()
        self._places[event_id], self._keys[place] = place, event_id
        self._sketches[place], self._used[place] = sketch, True
        self._doubt[place], self._tie[place] = doubt, tie_of(event_id)
        self._near[place] = self._labelled.distances(sketch).min(initial=1.0)
        self._crowd[place] = _crowd(self._before.distances(sketch))
        self._before.add(sketch)

    def remove(self, event_ids: Iterable[str]) -> None:
        """Forget candidates; those that are not here are passed over."""
        for event_id in event_ids:
            place = self._places.pop(event_id, None)
            if place is not None:
                self._used[place] = False
                self._free.append(place)

    def set_doubt(self, event_id: str, doubt: float) -> None:
        """Set what the model of now says of a candidate."""
        self._doubt[self._places[event_id]] = doubt

    def ask(self, event_id: str) -> None:
        """Note that a candidate is asked for: it stays, and others like it are worth less to `diverse` and `new`."""
        self.learn(self._sketches[self._places[event_id]])

    def learn(self, sketch: Sketches) -> None:
        """Note that a text was labelled."""
        self._labelled.add(sketch)
        np.minimum(self._near, distances(self._sketches, sketch), out=self._near)

    def best(self, name: Taught, most: int, among: Sequence[str] | None = None) -> list[str]:
        """Return the candidates that are worth most, best first; only those of `among` if that is given."""
        if among is None:
            places = np.flatnonzero(self._used)
        else:
            places = np.array([self._places[event_id] for event_id in among if event_id in self._places], np.intp)
        worth = self._worth(name, places) + self._tie[places] * np.float32(_TIE)
        top = np.argpartition(-worth, most - 1)[:most] if 0 < most < worth.size else np.arange(worth.size)
        order = top[np.argsort(-worth[top], kind="stable")]
        return [self._keys[place] for place in places[order].tolist()]

    def _worth(self, name: Taught, places: npt.NDArray[np.intp]) -> Numbers:
        worth = self._doubt[places]
        if name != "uncertain":
            worth = worth * self._near[places]
        return worth * self._crowd[places] if name == "new" else worth


def best_now(pool: Pool, name: Taught, doubt_now: Callable[[Sequence[str]], Sequence[float]]) -> list[str]:
    """Return the best candidates, best first, after the model of now has looked at them again.

    What was served is older than what the model has learned since; of all candidates only the best few are worth a second look.

    Args:
        doubt_now: what the model of now says of these events.
    """
    looked_at = pool.best(name, LOOKED_AT)
    for event_id, doubt in zip(looked_at, doubt_now(looked_at), strict=True):
        pool.set_doubt(event_id, doubt)
    return pool.best(name, LOOKED_AT, looked_at)


class _Ring:
    """The newest `most` sketches."""

    def __init__(self, most: int) -> None:
        self._sketches: Sketches = np.zeros((most, WORDS), np.uint64)
        self._count = 0

    def add(self, sketch: Sketches) -> None:
        self._sketches[self._count % len(self._sketches)] = sketch
        self._count += 1

    def distances(self, sketch: Sketches) -> Numbers:
        return distances(self._sketches[: self._count], sketch)


def doubt_of(probabilities: Sequence[float]) -> float:
    """Return how much doubt there is between the two most probable classes, from 0 (none) to 1; most probable first.

    >>> doubt_of([0.5, 0.25, 0.25]), doubt_of([1.0]), doubt_of([])
    (0.75, 0.0, 1.0)
    """
    if not probabilities:
        return 1.0
    return 1.0 - probabilities[0] + (probabilities[1] if len(probabilities) > 1 else 0.0)


def _crowd(found: Numbers) -> float:
    """Return how crowded it is where the others are so far: 1 if several are the same, 0 if none has anything in common."""
    if len(found) < ALIKE:
        return 0.0
    return float(1.0 - np.partition(found, ALIKE - 1)[:ALIKE].mean())
