"""The routes for whoever runs the service: alive, ready, documentation."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api.access.browsers import page_policy
from api.docs_page import PAGE, SCRIPT_HASH
from api.services import Has, answers, json
from api.views import PartView, ReadyView

router = APIRouter(tags=["service"])


@router.get("/healthz", responses=answers(PartView))
def healthz() -> Response:
    """Say that the process answers; nothing else is asked."""
    return json(PartView(ready=True, detail="alive"))


@router.get("/readyz", responses=answers(ReadyView) | answers(ReadyView, status=503))
def readyz(has: Has) -> Response:
    """Say whether Kafka and Redis are there, and when each job was last seen; 503 if the API cannot serve."""
    view = has.readiness.view()
    return json(view, status=200 if view.ready else 503)


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    """Return the documentation as a page that needs nothing from elsewhere."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": page_policy(SCRIPT_HASH)})
