"""The route of the live events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Header, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.access.guard import needs
from api.live.client import Client, Kind, Wanted
from api.live.events import EventId
from api.live.hub import Hub, TooManyClients
from api.live.views import LivePrediction
from api.problems import Problem
from api.protocol import ON_SHUTDOWN
from api.services import Has, Task, answers, invalid

router = APIRouter(prefix="/v1", tags=["live"], dependencies=needs("read"))

MEDIA_TYPE = "text/event-stream"
KINDS: frozenset[Kind] = frozenset(get_args(Kind))


async def wanted_parameters(
    task: Task,
    kinds: Annotated[
        str, Query(max_length=64, description="kinds of events: prediction, counts, quality; with commas between")
    ] = "prediction,counts,quality",
    label: Annotated[
        str | None, Query(max_length=256, description="only predictions of this label; empty: where the model knew no class")
    ] = None,
    min_confidence: Annotated[float, Query(ge=0, le=1, description="only predictions whose label had at least this probability")] = 0.0,
    max_per_second: Annotated[float, Query(ge=0.1, le=100, description="predictions a second; more are passed over, and counted")] = 20.0,
) -> Wanted:
    """Return what a client wants.

    Raises:
        RequestValidationError: if it is something that there is not.
    """
    named = [kind for kind in KINDS if kind in kinds.split(",")]
    if not named or len(named) < len(set(kinds.split(","))):
        raise invalid("query", "kinds", "unknown_kind", f"expected some of {', '.join(get_args(Kind))}")
    return Wanted(task=task, kinds=frozenset(named), label=label, min_confidence=min_confidence, max_per_second=max_per_second)


class _Events(StreamingResponse):
    """The events of a client, which leaves when the connection ends, however it ends."""

    media_type = MEDIA_TYPE

    def __init__(self, hub: Hub, client: Client) -> None:
        # No proxy is to hold events back.
        super().__init__(client.chunks(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._hub, self._client = hub, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"][ON_SHUTDOWN] = self._client.end
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave(self._client)


_EXAMPLE = 'id: 1860322304000000000.5f3c9a\nevent: dropped\ndata: {"reason": "too slow: …"}\n\n'
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events: `prediction` (a LivePrediction), `counts` (LiveCounts), `quality` (QualityView), `resumed`, `dropped`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}


@router.get("/live", response_class=Response, responses={**answers(LivePrediction, 422, 503), **_STREAM})
async def live(
    has: Has,
    wanted: Annotated[Wanted, Depends(wanted_parameters)],
    last_event_id: Annotated[str | None, Query(max_length=256, description="id of the last event that was had: go on from there")] = None,
    last_event: Annotated[str | None, Header(alias="Last-Event-ID", max_length=256, description="the same, as browsers send it")] = None,
) -> Response:
    """Send predictions as they come, and counts and quality whenever they change, as server-sent events.

    Each event has an id; with the id of the last one a client goes on where it was: what it missed comes from the newest predictions,
    after an event `resumed` that says whether something is gone. A client that is too slow gets an event `dropped`, and the connection
    ends.
    """
    try:
        client = has.live.join(wanted)
    except TooManyClients as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
    last = last_event or last_event_id
    if last:
        try:
            await has.live.catch_up(client, EventId.parse(last))
        except BaseException:
            has.live.leave(client)
            raise
    return _Events(has.live, client)
