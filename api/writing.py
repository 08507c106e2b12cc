"""The routes that write to Kafka: events and feedback, one or many."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from api import incoming
from api.access.guard import needs
from api.access.limits import spend
from api.bodies import read_body
from api.ids import new_id
from api.incoming import ITEMS_MAX, Outgoing
from api.problems import FieldError, Problem
from api.publisher import RecordTooLarge
from api.services import Has, Services, answers, json
from api.views import Accepted
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import KafkaUnavailable

router = APIRouter(prefix="/v1", tags=["write"], dependencies=needs("write"))

Parse = Callable[[bytes, Settings, Callable[[], str]], list[Outgoing]]


def _body(record: str) -> dict[str, Any]:
    one = {"$ref": f"#/components/schemas/{record}"}
    schema = {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": ITEMS_MAX}]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/events", status_code=202, responses=answers(Accepted, 400, 413, 422, 503, status=202), openapi_extra=_body("NewEvent"))
async def events(request: Request, has: Has) -> Response:
    """Send texts to classify, one object or a list; `event_id` is made if it is missing.

    All are accepted or none, except where an answer 413 or 503 says otherwise: sending them again with their ids is harmless.
    """
    return await to_thread.run_sync(_send, request, has, Topic.EVENTS, incoming.events, await read_body(request), limiter=has.writers)


@router.post("/feedback", status_code=202, responses=answers(Accepted, 400, 413, 422, 503, status=202), openapi_extra=_body("NewFeedback"))
async def feedback(request: Request, has: Has) -> Response:
    """Send labels, one object or a list; `feedback_id` is made if it is missing.

    A label with `text` is self-contained: it needs no event, and is learned at once.
    What becomes of a label is told by `GET /v1/labels/{event_id}`. Sending one again counts as a duplicate.
    """
    return await to_thread.run_sync(_send, request, has, Topic.FEEDBACK, incoming.feedback, await read_body(request), limiter=has.writers)


def _send(request: Request, has: Services, topic: Topic, parse: Parse, body: bytes) -> Response:
    records = parse(body, has.settings, new_id)
    spend(request, len(records))
    ids = [record.id for record in records]
    try:
        has.publisher.publish(has.settings.topic_prefix + topic, records)
    except RecordTooLarge as error:
        wrong = FieldError(field="body", reason="too_large", detail=str(error), index=error.index)
        detail = f"{error}; the others may be in Kafka already: send them again with these ids, that is harmless"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, errors=[wrong], ids=ids) from error
    except KafkaUnavailable as error:
        detail = f"{error}. Some records may be in Kafka already: send all again with these ids, that is harmless"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, ids=ids) from error
    return json(Accepted(accepted=len(records), ids=ids), status=202)
