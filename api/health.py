"""The routes for whoever runs the service: alive, ready, documentation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api import measures
from api.access.browsers import page_policy
from api.access.guard import needs
from api.docs_page import PAGE, SCRIPT_HASH
from api.services import Has, answers, json
from api.views import PartView, ReadyView

router = APIRouter(tags=["service"])

_FIRST_ANSWER_S = 3.0
_SOME = "# TYPE millrace_api_requests_in_flight gauge\nmillrace_api_requests_in_flight 1.0\n"
_TEXT = {"schema": {"type": "string"}, "examples": {"some": {"value": _SOME}}}
_METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics.", "content": {measures.CONTENT_TYPE.partition(";")[0]: _TEXT}}
}
_STARTED = int(time.time() * 1000)


@router.get("/healthz", responses=answers(PartView))
async def healthz() -> Response:
    """Say that the process answers; nothing else is asked."""
    return json(PartView(ready=True, detail="alive", since=_STARTED))


@router.get("/readyz", responses=answers(ReadyView) | answers(ReadyView, status=503))
async def readyz(has: Has) -> Response:
    """Say whether Kafka and Redis are there, when each job was last seen, and how far the model log is read; 503 if the API cannot serve.

    `since` tells of a part that is not ready until when it was: what is served is as old as that.
    """
    # Only in the first moments after the start: nothing here waits for a part. The watches are threads and know no event loop.
    until = time.monotonic() + _FIRST_ANSWER_S
    while not has.readiness.is_known and time.monotonic() < until:  # noqa: ASYNC110 - as said above
        await asyncio.sleep(0.02)
    view = has.readiness.view()
    return json(view, status=200 if view.ready else 503)


@router.get("/metrics", response_class=Response, responses=_METRICS, dependencies=needs("read"))
def metrics(has: Has) -> Response:
    """Return the metrics in Prometheus's text format: `docs/metrics.md` lists them."""
    return Response(has.measures.text(), media_type=measures.CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    """Return the documentation as a page that needs nothing from elsewhere."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": page_policy(SCRIPT_HASH)})
