"""The route that lists predictions: filtered, searched, ranked."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response

from api.access.guard import needs
from api.services import Has, Services, Task, answers, invalid, json
from api.views import PredictionsView, prediction_view
from schemas.records import LATEST_MS, State
from store.connect import RedisUnavailable
from store.cursor import Cursor, InvalidCursor
from store.recent.places import Place
from store.recent.queries import Filter
from store.recent.rows import Marks, Recent
from store.recent.words import InvalidSearch, Search, parse_search

router = APIRouter(prefix="/v1", tags=["read"], dependencies=needs("read"))

Probability = Annotated[float | None, Query(ge=0, le=1)]
Time = Annotated[int | None, Query(ge=0, le=LATEST_MS)]


async def filter_parameters(
    label: Annotated[
        str | None,
        Query(max_length=256, description="only this label; empty: where the model knew no class. With `sort=score`: the class to rank by"),
    ] = None,
    min_confidence: Annotated[Probability, Query(description="only where the served label had at least this probability")] = None,
    max_confidence: Annotated[Probability, Query(description="… and at most this one")] = None,
    line: Annotated[str | None, Query(max_length=64, description="only what this line predicted")] = None,
    since: Annotated[Time, Query(description="only predictions from this time on, epoch ms")] = None,
    until: Annotated[Time, Query(description="only predictions before this time, epoch ms")] = None,
    reviewed: Annotated[bool | None, Query(description="whether someone gave a label or verdict")] = None,
    state: Annotated[State | None, Query(description="state of the label that counts")] = None,
    q: Annotated[str | None, Query(max_length=1024, description='words that occur in the text, "a phrase", begin*, -without')] = None,
    sort: Annotated[Literal["time", "score"], Query(description="latest first, or by the score of the class `label`")] = "time",
) -> Filter:
    """Return which predictions are asked for.

    Raises:
        RequestValidationError: if parameters contradict each other.
    """
    if sort == "score" and not label:
        raise invalid("query", "label", "missing", "sort=score ranks by the score of one class: name it in `label`")
    if min_confidence is not None and max_confidence is not None and min_confidence > max_confidence:
        raise invalid("query", "max_confidence", "contradiction", "less than min_confidence")
    if since is not None and until is not None and since >= until:
        raise invalid("query", "until", "contradiction", "not later than since")
    return Filter(
        label=label if sort == "time" else None,
        min_confidence=min_confidence or None,
        max_confidence=max_confidence,
        line=line,
        since=since,
        until=until,
        reviewed=reviewed,
        state=state,
        search=_search(q),
        rank_by=label if sort == "score" else None,
    )


Wanted = Annotated[Filter, Depends(filter_parameters)]


@router.get("/predictions", responses=answers(PredictionsView, 422, 503))
def predictions(
    has: Has,
    task: Task,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=2048, description="`next` of the page before")] = None,
) -> Response:
    """Return predictions, latest first, or ranked by the score of one class, best first.

    Follow `next` until it is null. Predictions that arrive meanwhile do not shift the pages. What Redis answers itself (`label` and
    `min_confidence`; such a page may be shorter than `limit`) holds the very latest; all else is looked up in an index of the newest
    predictions that follows within a fraction of a second, see `indexed`.
    """
    after = _parse(cursor, wanted) if cursor else None
    rows, following = _found(has, task, wanted, limit, after)
    shown = [prediction_view(row) for row in rows]
    view = PredictionsView(task=task, predictions=shown, next=following.text() if following else None, indexed=has.recent.indexed(task))
    return json(view)


def _found(
    has: Services, task: str, wanted: Filter, limit: int, after: Cursor | Place | None
) -> tuple[list[Recent], Cursor | Place | None]:
    if isinstance(after, Cursor) or (after is None and _is_plain(wanted)):
        try:
            return _from_redis(has, task, wanted, limit, after)
        except RedisUnavailable:
            if after is not None or not has.recent.is_filled(task):
                raise
    page = has.recent.page(task, wanted, limit=limit, after=after if isinstance(after, Place) else None)
    return page.rows, page.next


def _from_redis(has: Services, task: str, wanted: Filter, limit: int, after: Cursor | None) -> tuple[list[Recent], Cursor | None]:
    page = has.reader.predictions(task, label=wanted.label, min_confidence=wanted.min_confidence or 0.0, limit=limit, after=after)
    receipts = has.reader.receipts(task, [prediction.event_id for prediction in page.predictions])
    pairs = zip(page.predictions, receipts, strict=True)
    return [Recent(prediction=prediction, marks=Marks.of(receipt)) for prediction, receipt in pairs], page.next


def _is_plain(wanted: Filter) -> bool:
    """Say whether Redis itself has an index for this."""
    return wanted == Filter(label=wanted.label, min_confidence=wanted.min_confidence)


def _parse(cursor: str, wanted: Filter) -> Cursor | Place:
    try:
        place = Place.parse(cursor)
        if place is None and _is_plain(wanted):
            return Cursor.parse(cursor)
    except InvalidCursor as error:
        raise invalid("query", "cursor", "invalid_cursor", str(error)) from error
    if place is None or (place.score is None) != (wanted.rank_by is None):
        raise invalid("query", "cursor", "invalid_cursor", "no cursor of such a query: start from its first page")
    return place


def _search(text: str | None) -> Search | None:
    """Return what is looked for; an empty field of a form is no search."""
    if text is None or not text.strip():
        return None
    try:
        return parse_search(text)
    except InvalidSearch as error:
        raise invalid("query", "q", "invalid_search", str(error)) from error
