"""The routes of the review queue: what is next, a label, a skip, the statistics."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.access.guard import needs
from api.asked import parse
from api.bodies import read_body
from api.problems import Problem
from api.review.opinion import feedback_of, record_of, review_of
from api.review.sending import send
from api.review.statistics import stats_view
from api.review.views import NextView, ReviewLabel, ReviewSkip, SkippedView, StatsView, item_view
from api.services import Has, Services, Task, answers, json, takes
from api.views import Accepted

router = APIRouter(prefix="/v1/review", tags=["review"], dependencies=needs("review"))

_GONE_AT_MOST = 3
"""Events that have left the index since they were claimed, in one request."""

_EventId = Annotated[str, Path(min_length=1, max_length=256)]
_ReviewerName = Annotated[str, Query(min_length=1, max_length=256, description="who asks; nobody else is asked the same meanwhile")]


@router.get("/next", responses=answers(NextView, 422, 503))
def next_item(has: Has, task: Task, reviewer: _ReviewerName) -> Response:
    """Return what this reviewer should label next, and keep it for them: nobody else is asked about it until `claim_until`.

    It is the same until it is labelled or skipped. `why` says which slice it comes from.
    """
    queue, now, left = has.review[task], _now(), 0
    for _ in range(_GONE_AT_MOST):
        claim, left = queue.next(reviewer, now=now)
        if claim is None:
            return json(NextView(item=None, left=left))
        found = has.recent.some(task, [claim.event_id]).get(claim.event_id)
        if found is not None:
            return json(NextView(item=item_view(claim, found.prediction, queue.reviews(claim.event_id)), left=left))
        has.claims.skip(task, claim.event_id, claim.claim, reviewer, now=now)
    return json(NextView(item=None, left=left))


@router.post(
    "/{event_id:path}/label",
    status_code=202,
    responses=answers(Accepted, 400, 409, 413, 422, 503, status=202),
    openapi_extra=takes(ReviewLabel),
)
async def label(request: Request, has: Has, task: Task, event_id: _EventId) -> Response:
    """Label an event, also with a label that is new, or say whether the one that was served is right.

    It is a feedback record like any other, and is learned at once. A claim that is over does no harm, as long as nobody else has the event
    (409). Repeating the request teaches nothing twice.
    """
    said = parse(await read_body(request), ReviewLabel)
    return await to_thread.run_sync(_label, has, task, event_id, said, limiter=has.writers)


@router.post("/{event_id:path}/skip", responses=answers(SkippedView, 400, 413, 422, 503), openapi_extra=takes(ReviewSkip))
async def skip(request: Request, has: Has, task: Task, event_id: _EventId) -> Response:
    """Give an event back: others may be asked about it, this reviewer is not for a day."""
    asked = parse(await read_body(request), ReviewSkip)
    await run_in_threadpool(has.claims.skip, task, event_id, asked.claim, asked.reviewer, now=_now())
    return json(SkippedView(event_id=event_id))


@router.get("/stats", responses=answers(StatsView, 422, 503))
def stats(has: Has, task: Task) -> Response:
    """Return how many events wait in each slice, how accurate the predictions are by the random one alone, and how far reviewers agree."""
    events, settings = has.recent.reviewed(task), has.settings
    counts = {str(name): count for name, count in has.review[task].counts().items()}
    return json(stats_view(task, counts, events, random_share=settings.review_random_share, opinions=settings.review_labels_per_event))


def _label(has: Services, task: str, event_id: str, said: ReviewLabel) -> Response:
    holder = has.claims.holder(task, event_id)
    if holder is not None and holder.reviewer != said.reviewer:
        detail = f"event {event_id!r} is kept for another reviewer by now: ask for the next one"
        raise Problem(HTTPStatus.CONFLICT, detail)
    now = _now()
    found = has.recent.some(task, [event_id]).get(event_id)
    prediction = None if found is None else found.prediction
    feedback = feedback_of(event_id, task, said, prediction, settings=has.settings, now=now)
    record = record_of(feedback)
    send(has, [record])
    has.claims.give(task, event_id, said.claim, review_of(feedback, prediction, now=now))
    return json(Accepted(accepted=1, ids=[record.id]), status=HTTPStatus.ACCEPTED)


def _now() -> int:
    return time.time_ns() // 1_000_000
