"""What reviewers said: who is asked, when it is settled, and how far they agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model.review.agreement import agreement, wilson
from online_model.review.opinions import Review, open_to, reviews_of, settled
from schemas.records import Drawn, FeedbackRef, LabelState, Position, State, Verdict

pytestmark = pytest.mark.unit

LABELS = "abc"


def said(by: str, label: str | None, drawn: Drawn = "uncertain", verdict: Verdict | None = None) -> Review:
    return Review(by, label, 1, drawn, verdict)


def test_alpha_has_the_value_that_krippendorff_gives_for_his_example() -> None:
    # "Computing Krippendorff's Alpha-Reliability" (2011), C: four observers, twelve units, nominal.
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    found = agreement([row[unit] for row in observers if row[unit] != "."] for unit in range(12))
    assert round(found.alpha or 0, 3) == 0.743
    assert (found.events, found.pairs) == (11, 3 + 8 * 6 + 3 + 1)


def test_alpha_of_two_who_agree_is_one_and_is_null_where_it_means_nothing() -> None:
    assert agreement([["a", "a"], ["b", "b"]]).alpha == 1.0
    assert agreement([["a", "a"], ["a", "a"]]).alpha is None, "one label only: nobody can tell agreement from habit"
    assert agreement([["a"], []]).alpha is None


@given(st.lists(st.lists(st.sampled_from(LABELS), max_size=4), max_size=12), st.permutations(LABELS))
def test_agreement_does_not_depend_on_names_or_order(units: list[list[str]], names: list[str]) -> None:
    renamed = [[names[LABELS.index(label)] for label in reversed(unit)] for unit in reversed(units)]
    one, other = agreement(units), agreement(renamed)
    assert (one.events, one.pairs, one.agreed) == (other.events, other.pairs, other.agreed)
    assert one.alpha == pytest.approx(other.alpha) if one.alpha is not None else other.alpha is None
    assert one.alpha is None or one.alpha <= 1.0


def test_the_interval_holds_the_share_and_narrows() -> None:
    low, high = wilson(9, 10)
    closer = wilson(900, 1000)
    assert low < closer[0] < 0.9 < closer[1] < high
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0


def test_one_reviewer_is_enough_unless_several_are_wanted() -> None:
    assert settled([said("ann", "a")], 1)
    assert not settled([said("ann", "a")], 2)
    assert settled([said("ann", "a"), said("bob", "a")], 2)
    assert not settled([said("ann", "a"), said("bob", "b")], 2), "they differ: a third one decides"
    assert settled([said("ann", "a"), said("bob", "b"), said("cid", "c")], 2), "nobody agrees: it ends all the same"


@given(st.lists(st.sampled_from(LABELS[:2]), min_size=5, max_size=5), st.integers(1, 3))
def test_of_two_labels_the_last_one_asked_for_is_the_one_that_most_gave(labels: list[str], votes: int) -> None:
    reviews: list[Review] = []
    for number, label in enumerate(labels):
        if open_to(str(number), "uncertain", reviews, [], votes):
            reviews.append(said(str(number), label))
    given_labels = [review.label for review in reviews]
    assert given_labels.count(given_labels[-1]) > len(given_labels) / 2
    assert given_labels.count(given_labels[-1]) == votes


def test_nobody_is_asked_twice_for_the_same_reason_and_what_is_on_its_way_counts() -> None:
    shown, lately = [said("ann", "a")], [said("bob", "b")]
    assert not open_to("ann", "again", shown, [], 2)
    assert open_to("bob", "again", shown, [], 2)
    assert not open_to("bob", "again", shown, lately, 2)
    assert open_to("cid", "again", shown, lately, 2)
    assert not open_to("cid", "again", shown, [*lately, said("dan", "a")], 2)
    assert not open_to("cid", "uncertain", [], lately, 1)


def test_the_random_slice_does_not_know_what_came_of_its_members_elsewhere() -> None:
    elsewhere = [said("ann", "a", "wrong"), said("bob", None, "wrong", "wrong")]
    assert open_to("ann", "random", elsewhere, [], 1)
    assert not open_to("cid", "random", [*elsewhere, said("ann", "a", "random")], [], 1)


def test_what_is_marked_wrong_is_open_until_a_label_comes_but_not_to_who_said_no_more_than_wrong() -> None:
    assert open_to("ann", "wrong", [said("ann", "a")], [], 1), "it was marked after that"
    assert not open_to("ann", "wrong", [], [said("bob", "b", "wrong")], 1), "a label is on its way"
    assert not open_to("ann", "wrong", [said("ann", None, "wrong", "wrong")], [], 1)
    assert open_to("bob", "wrong", [said("ann", None, "wrong", "wrong")], [], 1)


def state(offset: int, by: str | None, label: str | None, of: State = State.TRAINED, drawn: Drawn | None = "new") -> LabelState:
    ref = FeedbackRef(at=Position(partition=0, offset=offset), reviewer=by, drawn=drawn if by else None)
    return LabelState(event_id="e", task="default", state=of, feedback=ref, label=label, time=offset)


def test_reviews_are_the_last_words_of_each_reviewer_in_the_order_of_the_first() -> None:
    history = [
        state(1, "ann", "a"),
        state(2, None, "z"),
        state(3, "bob", "b", State.CORRECTED),
        state(4, "ann", "c", State.CORRECTED),
        state(5, "cid", None, State.REJECTED),
        state(6, "ann", "a", State.DUPLICATE, "random"),
    ]
    assert [(r.reviewer, r.label, r.drawn) for r in reviews_of(history)] == [
        ("ann", "c", "new"),
        ("bob", "b", "new"),
        ("ann", "a", "random"),
    ]
