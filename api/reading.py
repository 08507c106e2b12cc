"""The routes that read: predictions, label receipts, counts, quality."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.access.guard import needs
from api.problems import Problem
from api.services import Has, Task, answers, invalid, json
from api.views import (
    CountsView,
    PredictionDetail,
    PredictionsView,
    QualityView,
    ReceiptView,
    counts_view,
    prediction_detail,
    predictions_view,
    quality_view,
    receipt_view,
)
from store.cursor import Cursor, InvalidCursor
from store.keys import Granularity

router = APIRouter(prefix="/v1", tags=["read"], dependencies=needs("read"))

EventId = Annotated[str, Path(min_length=1, max_length=256)]


@router.get("/predictions", responses=answers(PredictionsView, 422, 503))
def predictions(
    has: Has,
    task: Task,
    label: Annotated[str | None, Query(max_length=256, description="only this label; empty: where the model knew no class")] = None,
    min_confidence: Annotated[float, Query(ge=0, le=1, description="only where the label had at least this probability")] = 0.0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=2048, description="`next` of the page before")] = None,
) -> Response:
    """Return the latest predictions, latest first.

    Follow `next` until it is null; a page may be shorter than `limit` before that. Predictions that arrive meanwhile
    do not shift the pages.
    """
    try:
        after = Cursor.parse(cursor) if cursor else None
    except InvalidCursor as error:
        raise invalid("query", "cursor", "invalid_cursor", str(error)) from error
    page = has.reader.predictions(task, label=label, min_confidence=min_confidence, limit=limit, after=after)
    return json(predictions_view(task, page))


@router.get("/predictions/{event_id:path}", responses=answers(PredictionDetail, 404, 422, 503))
def prediction(has: Has, task: Task, event_id: EventId) -> Response:
    """Return the prediction of one event, with the state of its label, and the truth once it is learned."""
    found = has.reader.prediction(task, event_id)
    if found is None:
        raise unknown("prediction", event_id, task)
    return json(prediction_detail(found, has.reader.receipt(task, event_id)))


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
    """Return how many predictions each label got, by the time at which the prediction reached Kafka."""
    return json(counts_view(task, granularity, has.reader.counts(task, "predictions", granularity, limit=limit)))


@router.get("/quality", responses=answers(QualityView, 422, 503))
def quality(has: Has, task: Task) -> Response:
    """Return how well the served predictions fared: overall and over the window, with label states and the model's age."""
    now = time.time_ns() // 1_000_000
    return json(quality_view(task, has.reader.quality(task), has.reader.label_states(task), now=now))


def unknown(what: str, event_id: str, task: str) -> Problem:
    """Return the problem for something that Redis does not have."""
    detail = f"no {what} of event {event_id!r} in task {task}: it is not there yet, or older than the newest ones that are kept"
    return Problem(HTTPStatus.NOT_FOUND, detail)
