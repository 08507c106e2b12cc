"""What the review queue takes and answers. Times are epoch milliseconds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from api.problems import FieldError
from online_model.review.agreement import Agreement
from online_model.review.opinions import Review
from schemas.records import Drawn, Label, Prediction, Verdict
from store.claims import Claim
from store.reader import confidence

Reviewer = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
ClaimId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class ReviewLabel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reviewer says of an event: a label, a new one too, or a verdict on the one that was served."""

    reviewer: Reviewer
    claim: ClaimId
    label: Label | None = None
    verdict: Verdict | None = None
    comment: Annotated[str, msgspec.Meta(max_length=4096)] | None = None


class ReviewSkip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reviewer does not want to label an event now."""

    reviewer: Reviewer
    claim: ClaimId


class ReviewView(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer said. In the queue the labels of others are null: whoever sees them has no opinion of their own any more."""

    reviewer: str
    label: str | None
    time: int


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """An event to label: as it was served, why it was chosen, and until when it is kept for the reviewer."""

    event_id: str
    task: str
    text: str
    label: str | None
    confidence: float
    proba: dict[str, float]
    why: Drawn
    claim: str
    claim_until: int
    reviews: list[ReviewView]


class NextView(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be labelled next, null if there is nothing; and about how many events are left."""

    item: ReviewItem | None
    left: int


class SkippedView(msgspec.Struct, frozen=True, kw_only=True):
    """The event is kept for nobody any more, and this reviewer is not asked about it for a day."""

    event_id: str


class RandomView(msgspec.Struct, frozen=True, kw_only=True):
    """The served predictions of the events that chance alone has chosen: how many were labelled, how many were right.

    `low` and `high` bound the accuracy of the whole stream with 95 % confidence (Wilson's interval); null without a label.
    """

    labels: int
    correct: int
    accuracy: float | None
    low: float | None
    high: float | None


class ReviewerView(msgspec.Struct, frozen=True, kw_only=True):
    """How many events a reviewer has labelled."""

    reviewer: str
    labels: int


class StatsView(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of a task, and what came of it, over the recent predictions.

    `queue` says how many events each slice could draw; `uncertain`, `diverse` and `new` rank the same ones. `reviewed` events have a
    label or verdict of a reviewer.
    """

    task: str
    queue: dict[str, int]
    reviewed: int
    random: RandomView
    agreement: Agreement
    reviewers: list[ReviewerView]


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the tasks that were sent.

    `accepted` labels are in Kafka now; `ids` has for each task the `feedback_id` of its last one, null if none was sent. `known` ones had
    been there before, `skipped` tasks have no label, and `errors` says what is wrong with others.
    """

    accepted: int
    known: int
    skipped: int
    ids: list[str | None]
    errors: list[FieldError]


def item_view(claim: Claim, prediction: Prediction, reviews: Sequence[Review]) -> ReviewItem:
    """Return an event as the reviewer sees it."""
    return ReviewItem(
        event_id=prediction.event_id,
        task=prediction.task,
        text=prediction.text,
        label=prediction.label,
        confidence=confidence(prediction),
        proba=prediction.proba,
        why=claim.drawn,
        claim=claim.claim,
        claim_until=claim.until,
        reviews=[ReviewView(reviewer=review.reviewer, label=None, time=review.time) for review in reviews],
    )
