"""What the routes work with: settings, the read model, Kafka, readiness; and the parameters that several routes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from anyio import CapacityLimiter
from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from api.live.hub import Hub
from api.measures import Measures
from api.problems import MEDIA_TYPE, ProblemBody
from api.publisher import Publisher
from api.readiness import Readiness
from api.review.queue import ReviewQueue
from api.sent import Sent
from schemas.records import DEFAULT_TASK
from schemas.settings import Settings
from store.alarm_feed import AlarmFeed
from store.claims import Claims
from store.idempotency import SentKeys
from store.live_replica import LiveReplica
from store.model_feed import ModelFeed
from store.reader import RedisReader
from store.recent.index import RecentIndex
from store.releases import ReleaseFolder


@dataclass(frozen=True)
class Services:
    """Made once for the application; `writers` bounds the threads that wait for Kafka, so that those who read have some left."""

    settings: Settings
    reader: RedisReader
    publisher: Publisher
    readiness: Readiness
    feed: ModelFeed
    recent: RecentIndex
    alarms: AlarmFeed
    live: Hub
    replicas: Mapping[str, LiveReplica]
    claims: Claims
    review: Mapping[str, ReviewQueue]
    releases: ReleaseFolder
    sent: Sent
    sent_keys: SentKeys
    measures: Measures
    writers: CapacityLimiter


async def services(request: Request) -> Services:
    """Return the application's services. Not a plain function: FastAPI would hand each request to a thread and back for it."""
    found: Services = request.app.state.services
    return found


Has = Annotated[Services, Depends(services)]


async def task_parameter(
    has: Has, task: Annotated[str | None, Query(description="name of a configured task; by default the first, or `default`")] = None
) -> str:
    """Return the task that a request is about; no plain function, like `services`.

    Raises:
        RequestValidationError: if it is not configured.
    """
    tasks = has.settings.tasks
    if task is None:
        return default_task(tasks)
    if task not in tasks:
        raise invalid("query", "task", "unknown_task", f"configured are {', '.join(sorted(tasks))}")
    return task


def default_task(tasks: Sequence[str]) -> str:
    """Return the task that is meant where none is named."""
    return DEFAULT_TASK if DEFAULT_TASK in tasks else tasks[0]


Task = Annotated[str, Depends(task_parameter)]


def invalid(where: str, field: str, reason: str, detail: str) -> RequestValidationError:
    """Return the error for a parameter that FastAPI cannot check by itself."""
    return RequestValidationError([{"loc": (where, field), "type": reason, "msg": detail}])


def json(view: msgspec.Struct, status: int = 200) -> Response:
    """Return a view as JSON."""
    return Response(msgspec.json.encode(view), status_code=status, media_type="application/json")


DESCRIBED: set[type[msgspec.Struct]] = {ProblemBody}
"""The types that the routes answer with or take; their schemas go into the OpenAPI description."""


def answers(view: type[msgspec.Struct], *errors: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Describe a route's answers for OpenAPI; the schemas come from `api.openapi`."""
    DESCRIBED.add(view)
    found: dict[int | str, dict[str, Any]] = {status: described(view.__name__, "application/json", view.__doc__ or "")}
    for error in errors:
        found[error] = described("ProblemBody", MEDIA_TYPE, ERRORS[error])
    return found


ERRORS: Mapping[int, str] = {
    400: "The body is no JSON.",
    408: "The body did not come in time.",
    404: "There is no such thing (any more); `detail` says what was looked for.",
    409: "It was refused; `detail` says why.",
    413: "The body, or a record, is too large.",
    422: "A field is wrong; `errors` names it.",
    503: "Kafka or Redis is away, or the model log is still being read; `detail` says what to do.",
}


def takes(*kinds: type[msgspec.Struct]) -> dict[str, Any]:
    """Describe the body of a route for OpenAPI: one of these types."""
    DESCRIBED.update(kinds)
    named = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in kinds]
    schema = named[0] if len(named) == 1 else {"oneOf": named}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def described(schema: str, media_type: str, text: str) -> dict[str, Any]:
    """Describe an answer by the name of its schema and what it says."""
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": text.split("\n", maxsplit=1)[0], "content": content}
