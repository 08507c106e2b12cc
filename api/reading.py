"""The routes that read one thing: a prediction, a label's receipt, counts, quality."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.access.guard import needs
from api.explaining import ExplanationView, explanation_of_prediction
from api.problems import Problem
from api.services import Has, Task, answers, json
from api.views import (
    CountsView,
    PredictionDetail,
    QualityView,
    ReceiptView,
    counts_view,
    prediction_detail,
    quality_view,
    receipt_view,
)
from store.keys import Granularity

router = APIRouter(prefix="/v1", tags=["read"], dependencies=needs("read"))

EventId = Annotated[str, Path(min_length=1, max_length=256)]


@router.get("/predictions/{event_id:path}", responses=answers(PredictionDetail, 404, 422, 503))
def prediction(
    has: Has,
    task: Task,
    event_id: EventId,
    explain: Annotated[bool, Query(description="say what each part of the text adds to the score of its label")] = False,
) -> Response:
    """Return the prediction of one event, with the state of its label, and the truth once it is learned."""
    found = has.reader.prediction(task, event_id)
    if found is None:
        raise unknown("prediction", event_id, task)
    explanation: ExplanationView | None = None
    if explain:
        with has.replicas[task].held() as replica:
            explanation = explanation_of_prediction(replica, found)
    return json(prediction_detail(found, has.reader.receipt(task, event_id), explanation))


@router.get("/labels/{event_id:path}", responses=answers(ReceiptView, 404, 422, 503))
def receipt(has: Has, task: Task, event_id: EventId) -> Response:
    """Return what became of the labels of one event: state, the seq of the model log that absorbed it, its score, and its history."""
    found = has.reader.receipt(task, event_id)
    if found is None:
        raise unknown("label", event_id, task)
    return json(receipt_view(found))


@router.get("/counts", responses=answers(CountsView, 422, 503))
def counts(
    has: Has,
    task: Task,
    granularity: Annotated[Granularity, Query()] = "total",
    limit: Annotated[int, Query(ge=1, le=1000, description="newest windows")] = 60,
) -> Response:
    """Return how many predictions each label got, in all and per second, by the time at which the prediction reached Kafka."""
    buckets = has.reader.counts(task, "predictions", granularity, limit=limit)
    return json(counts_view(task, granularity, buckets, now=now_ms()))


@router.get("/quality", responses=answers(QualityView, 422, 503))
def quality(has: Has, task: Task) -> Response:
    """Return how well the served predictions fared: overall and over the window, with label states and the model's age."""
    return json(quality_view(task, has.reader.quality(task), has.reader.label_states(task), now=now_ms()))


def now_ms() -> int:
    """Return the time, epoch ms."""
    return time.time_ns() // 1_000_000


def unknown(what: str, event_id: str, task: str) -> Problem:
    """Return the problem for something that Redis does not have."""
    detail = f"no {what} of event {event_id!r} in task {task}: it is not there yet, or older than the newest ones that are kept"
    return Problem(HTTPStatus.NOT_FOUND, detail)
