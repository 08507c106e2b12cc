"""What a reviewer says, as a record for the topic `feedback`. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import get_args

import msgspec

from api.incoming import Outgoing, field_error
from api.problems import Problem
from api.review.views import ReviewLabel
from online_model.review.chance import is_random
from online_model.review.opinions import Review
from schemas.parsing import RejectRecord, encode, parse_feedback
from schemas.records import Drawn, Feedback, Prediction
from schemas.settings import Settings
from store.writer import TEXT_SHOWN

SOURCE = "review"


def drawn_of(claim: str, event_id: str, settings: Settings) -> Drawn | None:
    """Return why the claim says that the event was drawn: it begins with that. Nobody can slip an event into the random slice.

    >>> drawn_of("new-0193", "e1", Settings()), drawn_of("random-0193", "e1", Settings(review_random_share=0))
    ('new', None)
    """
    name = claim.partition("-")[0]
    drawn = next((known for known in get_args(Drawn) if known == name), None)
    return None if drawn == "random" and not is_random(event_id, settings.review_random_share) else drawn


def feedback_of(event_id: str, task: str, said: ReviewLabel, prediction: Prediction | None, *, settings: Settings, now: int) -> Feedback:
    """Return the feedback record of what a reviewer says. Its id is the claim's: a request that is repeated teaches nothing twice.

    The label of an event that is about to be too old for labels brings the text along, and so is learned all the same.

    Raises:
        Problem: naming the field that is wrong.
    """
    fields = {
        "event_id": event_id,
        "task": task,
        "feedback_id": said.claim,
        "source": SOURCE,
        "label": said.label,
        "verdict": said.verdict,
        "comment": said.comment,
        "reviewer": said.reviewer,
        "drawn": drawn_of(said.claim, event_id, settings),
        "text": None if said.label is None else _text(prediction, now - settings.label_wait_s * 1000 // 2),
    }
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return parse_feedback(msgspec.json.encode(given), tasks=settings.tasks, max_text_bytes=settings.max_text_bytes)
    except RejectRecord as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the label is invalid: {error}", errors=[field_error(error)]) from error


def _text(prediction: Prediction | None, oldest: int) -> str | None:
    """Return the text of a prediction that is older than that, if all of it is here."""
    if prediction is None or prediction.predicted_at >= oldest or len(prediction.text) > TEXT_SHOWN:
        return None
    return prediction.text or None


def review_of(feedback: Feedback, prediction: Prediction | None, *, now: int) -> Review:
    """Return the review that the receipt will show. The verdict `right` gives the label that was served."""
    label = prediction.label if feedback.verdict == "right" and prediction is not None else feedback.label
    return Review(feedback.reviewer or "", label, now, feedback.drawn, feedback.verdict)


def record_of(feedback: Feedback) -> Outgoing:
    """Return the record to send."""
    return Outgoing(feedback.feedback_id or "", feedback.event_id.encode(), encode(feedback))
