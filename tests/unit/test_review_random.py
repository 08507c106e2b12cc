"""The accuracy by the random slice is without bias, however skewed everything else is: played through with the rules of the queue."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator

import pytest

from api.review.statistics import random_view
from online_model.review.chance import is_random, place_in_random
from online_model.review.opinions import Review, open_to
from online_model.review.turns import Slice, slices
from schemas.records import Drawn
from store.recent.review import Reviewed

pytestmark = pytest.mark.unit

EVENTS, SHARE, TURNS, RUNS = 400, 0.25, 150, 150
WINDOW = 200
SERVED, OTHER = "served", "other"


class Play:
    """A stream on which doubt tells a lot about errors, reviewed by two people while users mark and correct what is wrong."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.ids = [f"{seed}-{number}" for number in range(EVENTS)]
        self.doubt = {event: self.draw.random() for event in self.ids}
        # Half of the doubtful predictions are wrong, hardly any of the others.
        self.right = {event: self.draw.random() > self.doubt[event] ** 2 for event in self.ids}
        self.marked: set[str] = set()
        self.corrected: set[str] = set()
        self.reviews: dict[str, list[Review]] = {event: [] for event in self.ids}

    def ranked(self, name: Slice, window: list[str]) -> Iterator[str]:
        """The events of a slice, as `api.review.candidates` ranks them."""
        members = [event for event in window if is_random(event, SHARE)]
        if name == "random":
            yield from sorted(members, key=place_in_random)
        elif name == "wrong":
            yield from (event for event in window if event in self.marked)
        elif name == "uncertain":
            free = (e for e in window if e not in members and e not in self.corrected and not self.reviews[e])
            yield from sorted(free, key=self.doubt.__getitem__, reverse=True)

    def users(self, window: list[str]) -> None:
        """Users see predictions as they like: they mark and correct only wrong ones, of the random slice as well."""
        seen = self.draw.choice(window)
        if not self.right[seen]:
            (self.marked if self.draw.random() < 0.5 else self.corrected).add(seen)

    def turn(self, reviewer: str, window: list[str]) -> None:
        for name in slices(self.draw.random()):
            for event in self.ranked(name, window):
                if open_to(reviewer, name, self.reviews[event], [], 1):
                    drawn: Drawn = name if name != "again" else "uncertain"
                    self.reviews[event].append(Review(reviewer, SERVED if self.right[event] else OTHER, 1, drawn))
                    self.marked.discard(event)
                    return

    def run(self) -> list[Reviewed]:
        for turn in range(TURNS):
            end = WINDOW + turn * (EVENTS - WINDOW) // TURNS
            window = self.ids[end - WINDOW : end]
            self.users(window)
            self.users(window)
            self.turn(("ann", "bob")[turn % 2], window)
        return [Reviewed(event, SERVED, 0, tuple(reviews)) for event, reviews in self.reviews.items() if reviews]


def mean_error(estimates: list[float], truths: list[float]) -> tuple[float, float]:
    """The mean of the errors, and its standard error."""
    errors = [estimate - truth for estimate, truth in zip(estimates, truths, strict=True)]
    return statistics.fmean(errors), statistics.stdev(errors) / RUNS**0.5


def test_the_random_slice_tells_the_accuracy_while_all_labels_together_are_far_off() -> None:
    by_chance, by_all, by_members, truths = [], [], [], []
    inside = 0
    for seed in range(RUNS):
        play = Play(seed)
        reviewed = play.run()
        view = random_view(reviewed, SHARE)
        assert view.labels >= 20, "the slice keeps its turns although something is marked wrong all the time"
        assert view.accuracy is not None
        assert view.low is not None
        assert view.high is not None
        truth = statistics.fmean(play.right.values())
        truths.append(truth)
        by_chance.append(view.accuracy)
        inside += view.low <= truth <= view.high
        by_all.append(statistics.fmean(play.right[event.event_id] for event in reviewed))
        # Counting what was labelled of the members for any reason would let in what users had marked.
        by_members.append(statistics.fmean(play.right[event.event_id] for event in reviewed if is_random(event.event_id, SHARE)))
    error, noise = mean_error(by_chance, truths)
    assert abs(error) < 3 * noise
    assert noise < 0.01, "or the test could not see a bias"
    assert inside / RUNS >= 0.92
    assert mean_error(by_all, truths)[0] < -0.2
    assert mean_error(by_members, truths)[0] < -0.05


def test_only_members_count_and_only_what_chance_has_asked_for() -> None:
    member = next(event for event in map(str, range(1000)) if is_random(event, 0.1))
    stranger = next(event for event in map(str, range(1000)) if not is_random(event, 0.1))
    events = [
        Reviewed(member, "a", 0, (Review("ann", "b", 1, "wrong"), Review("bob", "a", 2, "random"), Review("cid", "b", 3, "random"))),
        Reviewed(stranger, "a", 0, (Review("eve", "a", 1, "random"),)),
    ]
    view = random_view(events, 0.1)
    assert (view.labels, view.correct, view.accuracy) == (1, 1, 1.0)
    assert random_view([], 0.1).accuracy is None
