"""The route that classifies texts at once, by the model as it is now.

A short text is classified on the event loop: that takes microseconds, a thread would take longer to be woken. The loop never waits for
the model for long: if another thread holds it (see `store.live_replica`), or a text is long, a thread of the pool waits instead.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.access.guard import needs
from api.bodies import read_body
from api.classify_body import TextsToClassify, TextToClassify, parse_texts
from api.explaining import ExplanationView, explanation_of
from api.services import Has, Task, answers, takes
from schemas.records import ModelVersion
from store.live_replica import LiveReplica
from store.turns import NotYourTurn

if TYPE_CHECKING:
    # The engine is not imported before a model is loaded (see `store.live_replica`).
    from online_model.replica import Replica

TOP_MAX = 500
PIECE_S = 0.001
"""A list is classified in pieces of so long; between them the event loop does what else is due."""

SHORT, SHORT_TO_EXPLAIN = 2000, 200
"""Characters of a text that is classified, or explained, within such a time."""

_PATIENCE_S = 0.002
"""How long the event loop waits for the model; a label takes a tenth of that."""

router = APIRouter(prefix="/v1", tags=["classify"], dependencies=needs("read"))


class ResultView(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of a text: the label is null if it knows no class; the explanation is there if it was asked for.

    Labels are learned while a list is classified, so each result names its own model.
    """

    label: str | None
    confidence: float
    proba: dict[str, float]
    model: ModelVersion
    explanation: ExplanationView | msgspec.UnsetType | None = msgspec.UNSET


class ClassifyView(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of the texts, in their order; `model` is that of the last one.

    `stale_since` is null while the model log is followed; else the model has learned nothing since then.
    """

    task: str
    model: ModelVersion
    stale_since: int | None
    results: list[ResultView]


class _Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """A `ClassifyView` with results that are JSON already: encoding a thousand at once would hold up the event loop."""

    task: str
    model: ModelVersion
    stale_since: int | None
    results: list[msgspec.Raw]


class _Asked(msgspec.Struct, frozen=True):
    """What is wanted of each text."""

    top: int
    explain: bool


@router.post("/classify", responses=answers(ClassifyView, 400, 413, 422, 503), openapi_extra=takes(TextToClassify, TextsToClassify))
async def classify(
    request: Request,
    has: Has,
    task: Task,
    explain: Annotated[bool, Query(description="say what each part of the text adds to the score")] = False,
    top: Annotated[int | None, Query(ge=1, le=TOP_MAX, description="most probable classes to list; by default as in predictions")] = None,
) -> Response:
    """Classify `text` or `texts` by the model as it is now. Nothing is stored, and no event is made of it."""
    texts = parse_texts(await read_body(request), max_text_bytes=has.settings.max_text_bytes)
    asked = _Asked(top or has.settings.proba_top, explain)
    model, results = await _classified(has.replicas[task], texts, asked)
    view = _Encoded(task=task, model=model, stale_since=has.feed.stale_since, results=results)
    return Response(msgspec.json.encode(view), media_type="application/json")


async def _classified(live: LiveReplica, texts: list[str], asked: _Asked) -> tuple[ModelVersion, list[msgspec.Raw]]:
    """Return the results as JSON, and the model of the last one."""
    results: list[msgspec.Raw] = []
    result: ResultView | None = None
    began = time.perf_counter()
    for text in texts:
        result = await _result(live, text, asked)
        results.append(msgspec.Raw(msgspec.json.encode(result)))
        if time.perf_counter() - began > PIECE_S:
            await asyncio.sleep(0)
            began = time.perf_counter()
    assert result is not None, "there is a text at least"  # noqa: S101 - says so to the type checker
    return result.model, results


async def _result(live: LiveReplica, text: str, asked: _Asked) -> ResultView:
    if len(text) <= (SHORT_TO_EXPLAIN if asked.explain else SHORT):
        try:
            with live.held(_PATIENCE_S) as replica:
                return _answer(replica, text, asked)
        except NotYourTurn:
            pass
    return await run_in_threadpool(_patiently, live, text, asked)


def _patiently(live: LiveReplica, text: str, asked: _Asked) -> ResultView:
    with live.held() as replica:
        return _answer(replica, text, asked)


def _answer(replica: Replica, text: str, asked: _Asked) -> ResultView:
    served = replica.predict(text, top=asked.top)
    return ResultView(
        label=served.label,
        confidence=0.0 if served.label is None else served.proba[served.label],
        proba=served.proba,
        model=served.model,
        explanation=explanation_of(replica, text, served.label) if asked.explain else msgspec.UNSET,
    )
