"""What the reviewers of an event said, and whether more of them are asked.

An event that several are asked about is asked until so many agree. So its last label is always the one that most gave, unless nobody
agrees: the ledger's rule, by which the last label stands, needs no exception (docs/review.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from online_model.review.turns import Slice
from schemas.records import Drawn, LabelState, State, Verdict

REVIEWS_KEPT = 20
"""Reviews of one event that are looked at, the newest ones."""


class Review(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reviewer said of an event: a label, or that the served one is wrong (then there is none); and why it was asked."""

    reviewer: str
    label: str | None
    time: int
    drawn: Drawn | None = None
    verdict: Verdict | None = None


def reviews_of(history: Sequence[LabelState]) -> tuple[Review, ...]:
    """Return what reviewers said last, in the order of their first word; one who was asked twice, for different reasons, is there twice."""
    last: dict[tuple[str, Drawn | None], Review] = {}
    for state in history:
        by = state.feedback
        if by.reviewer is not None and state.state is not State.REJECTED:
            last[by.reviewer, by.drawn] = Review(by.reviewer, state.label, state.time, by.drawn, by.verdict)
    return tuple(last.values())[-REVIEWS_KEPT:]


def settled(reviews: Sequence[Review], votes: int) -> bool:
    """Whether nobody more is to be asked: `votes` reviewers agree, or so many were asked that they should have, were there two labels.

    >>> a, b = Review("ann", "x", 1), Review("bob", "y", 2)
    >>> settled([a], 1), settled([a, b], 2), settled([a, b, Review("cid", "x", 3)], 2)
    (True, False, True)
    """
    said = labels_by_reviewer(reviews)
    agreeing = max(Counter(said.values()).values(), default=0)
    return agreeing >= votes or len(said) >= 2 * votes - 1


def labels_by_reviewer(reviews: Sequence[Review]) -> dict[str, str]:
    """Return the last label of each reviewer who gave one."""
    return {review.reviewer: review.label for review in reviews if review.label is not None}


def open_to(reviewer: str, slice_: Slice, shown: Sequence[Review], given: Sequence[Review], votes: int) -> bool:
    """Whether this reviewer is to be asked about an event of a slice.

    Args:
        reviewer: who.
        slice_: where it is drawn from. What others asked for counts for nothing in the random slice: its members are asked about, or not,
            whatever came of them elsewhere. An event that is marked as wrong is open until a label comes, whoever said so.
        shown: the reviews that its receipt shows.
        given: those given lately, which it may not show yet.
        votes: so many reviewers must agree.
    """
    pending = [new for new in given if not any(_same(new, old) for old in shown)]
    if slice_ == "wrong":
        said_wrong = any(review.reviewer == reviewer and review.label is None for review in (*shown, *pending))
        return not said_wrong and all(review.label is None for review in pending)
    counted = [review for review in (*shown, *pending) if slice_ != "random" or review.drawn == "random"]
    return all(review.reviewer != reviewer for review in counted) and not settled(counted, votes)


def _same(one: Review, other: Review) -> bool:
    """Whether two are the same but for their time: that of the request, and that of the record."""
    return (one.reviewer, one.drawn, one.label, one.verdict) == (other.reviewer, other.drawn, other.label, other.verdict)
