"""The routes that read what is counted over time: names in the texts, scores."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.access.guard import needs
from api.services import Has, Task, answers, json
from api.statistics_views import ScoreHistoryView, TrendingView, score_history_view, trending_view
from schemas.trending import NameKind
from store.keys import Granularity

router = APIRouter(prefix="/v1", tags=["read"], dependencies=needs("read"))


@router.get("/trending", responses=answers(TrendingView, 422, 503))
def trending(
    has: Has,
    task: Task,
    kind: Annotated[NameKind, Query()] = "hashtag",
    limit: Annotated[int, Query(ge=1, le=1000, description="most frequent names; no more than `trending_top` are kept")] = 20,
) -> Response:
    """Return the most frequent names of the newest closed window of Kafka's time, with the change against the window before."""
    return json(trending_view(task, kind, has.reader.trending(task, kind), has.settings, limit=limit))


@router.get("/quality/history", responses=answers(ScoreHistoryView, 422, 503))
def score_history(
    has: Has,
    task: Task,
    granularity: Annotated[Granularity, Query()] = "hour",
    limit: Annotated[int, Query(ge=1, le=1000, description="newest windows")] = 60,
) -> Response:
    """Return how many labels scored a served prediction, and how many found it right, by the time at which the label was learned."""
    return json(score_history_view(task, granularity, has.reader.counts(task, "scores", granularity, limit=limit)))
