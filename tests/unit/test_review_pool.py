"""The ranking of candidates for labels: what each slice prefers, and that it is kept up to date as if it were made anew."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_model.review.chance import asks_more, is_random, place_in_random
from online_model.review.pool import ALIKE, Pool, best_now, doubt_of
from online_model.review.sketches import WORDS, Sketcher, Sketches, distances
from online_model.review.turns import MIX, RANDOM_TURNS, Taught, slices

pytestmark = pytest.mark.unit

TAUGHT: tuple[Taught, ...] = tuple(MIX)
SKETCHER = Sketcher()
REFUNDS = [f"where is my refund for order {number}" for number in range(20)]
OUTAGES = [f"since the update of tonight my screen stays black, model {number}" for number in range(20)]


def pool_of(texts: list[str], doubts: list[float], most: int = 100) -> Pool:
    pool = Pool(most)
    for text, sketch, doubt in zip(texts, SKETCHER.sketches(texts), doubts, strict=True):
        pool.add(text, sketch, doubt)
    return pool


def test_doubt_is_the_margin_between_the_two_most_probable_classes() -> None:
    pool = pool_of(["sure", "torn", "vague"], [doubt_of([0.9, 0.05]), doubt_of([0.49, 0.48]), doubt_of([0.3, 0.1, 0.1])])
    assert pool.best("uncertain", 3) == ["torn", "vague", "sure"]


def test_of_many_alike_one_is_asked_about_then_something_else() -> None:
    pool = pool_of([*REFUNDS, OUTAGES[0]], [1.0] * 20 + [0.9])
    first = pool.best("diverse", 1)[0]
    assert first in REFUNDS
    pool.ask(first)
    pool.remove([first])
    assert pool.best("diverse", 1) == [OUTAGES[0]], "the others are like the one that was asked"
    assert pool.best("uncertain", 1)[0] in REFUNDS, "doubt alone would ask them all"


def test_what_is_unlike_all_labels_and_comes_in_numbers_is_new() -> None:
    pool = pool_of(["a stray remark on gardening"], [1.0])
    for sketch in SKETCHER.sketches(REFUNDS):
        pool.learn(sketch)
    for text, sketch in zip(OUTAGES + REFUNDS, SKETCHER.sketches(OUTAGES + REFUNDS), strict=True):
        pool.add(text, sketch, 1.0)
    assert set(pool.best("new", 10)) <= set(OUTAGES[ALIKE:])


def test_sketches_tell_near_from_far_whatever_was_learned() -> None:
    near, far, other = SKETCHER.sketches(["my card was stolen", "my card was stolen!", "good evening to all of you"])
    assert distances(near[None], far)[0] < 0.3
    assert distances(near[None], other)[0] > 0.7
    assert (Sketcher().sketches(["my card was stolen"])[0] == near).all()
    assert SKETCHER.sketches([""]).shape == (1, WORDS)


@given(seed=st.integers(0, 2**32 - 1), steps=st.lists(st.sampled_from(["add", "add", "ask", "remove", "learn"]), max_size=60))
@settings(max_examples=40, deadline=None)
def test_a_pool_kept_up_to_date_ranks_as_one_made_anew(seed: int, steps: list[str]) -> None:
    draw = random.Random(seed)
    pool, kept, labelled = Pool(16), dict[str, tuple[Sketches, float]](), list[Sketches]()
    for number, step in enumerate(steps):
        sketch = np.array([draw.getrandbits(64) & draw.getrandbits(64) for _ in range(WORDS)], np.uint64)
        if step == "add":
            if len(kept) == 16:
                del kept[next(iter(kept))]
            kept[str(number)] = sketch, draw.random()
            pool.add(str(number), *kept[str(number)])
        elif step == "learn":
            labelled.append(sketch)
            pool.learn(sketch)
        elif kept:
            chosen = draw.choice(list(kept))
            if step == "ask":
                labelled.append(kept[chosen][0])
                pool.ask(chosen)
            else:
                del kept[chosen]
                pool.remove([chosen, "not here"])
    assert len(pool) == len(kept)
    worth = {key: float(distances(np.array(labelled), s).min()) * d if labelled else d for key, (s, d) in kept.items()}
    order = pool.best("diverse", 100)
    assert sorted(order) == sorted(kept)
    assert all(worth[a] >= worth[b] - 1e-5 for a, b in pairwise(order))
    assert order[:3] == pool.best("diverse", 3)
    for name in TAUGHT:
        assert sorted(pool.best(name, 100)) == sorted(kept)


def test_the_model_of_now_looks_again_at_the_best_and_only_at_them() -> None:
    texts = [f"text {number}" for number in range(80)]
    pool = pool_of(texts, [1 - number / 100 for number in range(80)])
    looked: list[str] = []

    def now(events: list[str]) -> list[float]:
        looked.extend(events)
        return [0.0 if event == "text 0" else 0.4 for event in events]

    assert best_now(pool, "uncertain", now)[-1] == "text 0"  # type: ignore[arg-type]  # a list is a sequence
    assert sorted(looked) == sorted(texts[:50])
    assert pool.best("uncertain", 1) == ["text 50"], "what was served stands for the others"


@given(st.floats(0, 1, exclude_max=True))
def test_every_turn_tries_every_slice_once_and_chance_alone_gives_random_its_turns(chance: float) -> None:
    order = slices(chance)
    assert len(order) == len(set(order)) == 6
    assert (order[0] == "random") == (chance < RANDOM_TURNS)
    assert order[0] == "wrong" or chance < RANDOM_TURNS, "what is marked wrong comes first"


def test_turns_are_shared_as_the_mix_says() -> None:
    first = [slices(number / 10_000)[2] for number in range(2000, 10_000)]
    assert {name: round(first.count(name) / 8000, 3) for name in MIX} == dict(MIX)


def test_what_chance_decides_depends_on_the_id_alone_and_answers_are_independent() -> None:
    ids = [f"event-{number}" for number in range(4000)]
    members = {event for event in ids if is_random(event, 0.2)}
    assert 0.17 < len(members) / 4000 < 0.23
    assert {event for event in ids if is_random(event, 0.1)} <= members
    more = [asks_more(event, 0.5) for event in members]
    assert 0.42 < sum(more) / len(more) < 0.58
    assert min(map(place_in_random, ids)) >= 0.0
