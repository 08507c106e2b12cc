"""The route that tells drift alarms."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from api.access.guard import needs
from api.services import Has, Task, answers, json
from schemas.records import Alarm

router = APIRouter(prefix="/v1", tags=["read"], dependencies=needs("read"))


class AlarmsView(msgspec.Struct, frozen=True, kw_only=True):
    """Drift alarms, newest first, as they are in the topic `alarms`.

    `stale_since` says since when (epoch ms) Kafka could not be asked, so that one may be missing; null while it can be.
    """

    task: str
    alarms: list[Alarm]
    stale_since: int | None


@router.get("/alarms", responses=answers(AlarmsView, 422, 503))
def alarms(has: Has, task: Task, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
    """Return the newest drift alarms: which label raised them, and how the share of errors changed."""
    return json(AlarmsView(task=task, alarms=has.alarms.newest(task, limit), stale_since=has.alarms.stale_since))
