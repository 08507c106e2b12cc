"""What is known of one prediction: as it was served, and what has become of its label. Pure."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec

from online_model.review.opinions import Review, reviews_of
from schemas.records import Prediction, State
from store.keys import NO_LABEL
from store.reader import confidence
from store.receipt import Receipt

TIES = 15
"""Bits of a row's id below its time: predictions of one millisecond."""

_pack = msgspec.json.Encoder().encode
unpack_reviews = msgspec.json.Decoder(tuple[Review, ...]).decode


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the label of a prediction; all empty before anybody said something.

    Attributes:
        state: of the label that counts.
        truth: the label that the model has learned for the event.
        reviewed: whether someone gave a label (or a verdict) that could be read.
        marked_wrong: whether the verdict of someone is that the prediction is wrong, and no label has come since.
        reviews: what the reviewers of the review queue said.
    """

    state: State | None = None
    truth: str | None = None
    reviewed: bool = False
    marked_wrong: bool = False
    reviews: tuple[Review, ...] = ()

    @classmethod
    def of(cls, receipt: Receipt | None) -> Marks:
        """Return what a receipt says."""
        if receipt is None:
            return NO_MARKS
        return cls(
            state=receipt.state,
            truth=receipt.truth,
            reviewed=receipt.state is not State.REJECTED,
            marked_wrong=receipt.marked_wrong,
            reviews=reviews_of(receipt.history),
        )

    @property
    def packed_reviews(self) -> bytes | None:
        """The reviews as JSON; None if there are none."""
        return _pack(self.reviews) if self.reviews else None


NO_MARKS = Marks()


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction with what is known of its label; `score` is that of the class by which it was ranked, if it was.

    `arrived` is its place in the order in which predictions reached Redis, 0 if that is not known any more.
    """

    prediction: Prediction
    marks: Marks
    arrived: int = 0
    score: float | None = None

    @property
    def correct(self) -> bool | None:
        """Whether the served label is the learned one; None while none was learned."""
        return None if self.marks.truth is None else self.marks.truth == self.prediction.label


def first_id(time: int, event_id: str) -> int:
    """Return the id that a prediction's row gets if no other has it: ids sort by time, and within a millisecond by chance.

    Made from the event id, so that it is the same when the index is filled again.
    """
    return time << TIES | _hash(event_id) & ((1 << TIES) - 1)


@lru_cache(maxsize=16_384)
def class_key(label: str) -> int:
    """Return what stands for a class in the table of scores: short, whatever the label's length. Two labels never share one in practice."""
    return _hash(label)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


Columns = tuple[int, str, int, str, float, str, int, str | None, str | None, bool | None, bool, bool, int, bytes | None]


def columns(row_id: int, row: Recent) -> Columns:
    """Return a row of the table `rows`."""
    p, m = row.prediction, row.marks
    return (
        row_id,
        p.event_id,
        p.predicted_at,
        p.label or NO_LABEL,
        confidence(p),
        p.model.line,
        p.model.seq,
        m.state,
        m.truth,
        row.correct,
        m.reviewed,
        m.marked_wrong,
        row.arrived,
        m.packed_reviews,
    )


def scores(row_id: int, prediction: Prediction) -> list[tuple[int, float, int]]:
    """Return the rows of the table `scores`: one for each class of which the prediction gives the probability."""
    return [(class_key(label), score, row_id) for label, score in prediction.proba.items()]
