"""What the API answers about the review queue, as types. Times are epoch milliseconds."""

from __future__ import annotations

import msgspec

from client.types import FieldError


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer has said of an event; the label is None while others are still to have an opinion of their own."""

    reviewer: str
    label: str | None
    time: int


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be labelled: `why` it was chosen, the `claim` that keeps it for this reviewer, and until when."""

    event_id: str
    task: str
    text: str
    label: str | None
    confidence: float
    proba: dict[str, float]
    why: str
    claim: str
    claim_until: int
    reviews: list[Reviewed] = []


class ReviewNext(msgspec.Struct, frozen=True, kw_only=True):
    """The next event, if there is one, and how many are left."""

    item: ReviewItem | None
    left: int


class RandomSlice(msgspec.Struct, frozen=True, kw_only=True):
    """The accuracy by labels of events that were drawn at random, with its interval."""

    labels: int
    correct: int
    accuracy: float | None
    low: float | None
    high: float | None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far reviewers of the same events agree; `alpha` is Krippendorff's."""

    events: int
    pairs: int
    agreed: int
    alpha: float | None


class Reviewer(msgspec.Struct, frozen=True, kw_only=True):
    """How many labels a reviewer gave."""

    reviewer: str
    labels: int


class ReviewStats(msgspec.Struct, frozen=True, kw_only=True):
    """How the review goes."""

    task: str
    queue: dict[str, int]
    reviewed: int
    random: RandomSlice
    agreement: Agreement
    reviewers: list[Reviewer]


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the tasks that were sent: labels in Kafka, labels that were there before, tasks without one, and what is wrong."""

    accepted: int
    known: int
    skipped: int
    ids: list[str | None]
    errors: list[FieldError] = []


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """The event is kept for nobody any more."""

    event_id: str
