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
from api.idempotency import REPLAYED, IdempotencyKey, note_sent, was_sent
from api.ids import MakeId, derived_ids, new_ids
from api.incoming import ITEMS_MAX, Incoming
from api.problems import FieldError, Problem
from api.publisher import RecordTooLarge
from api.services import Has, Services, answers, json
from api.views import Accepted, PartlyAccepted
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import KafkaUnavailable

router = APIRouter(prefix="/v1", tags=["write"], dependencies=needs("write"))

Parse = Callable[[bytes, Settings, MakeId], Incoming]


def _body(record: str) -> dict[str, Any]:
    one = {"$ref": f"#/components/schemas/{record}"}
    schema = {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": ITEMS_MAX}]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_ANSWERS = answers(Accepted, 400, 413, 422, 503, status=202) | answers(PartlyAccepted, status=207)


@router.post("/events", status_code=202, responses=_ANSWERS, openapi_extra=_body("NewEvent"))
async def events(request: Request, has: Has, key: IdempotencyKey) -> Response:
    """Send texts to classify, one object or a list; `event_id` is made if it is missing.

    Of a list those that are right are accepted: all (202), some (207, `errors` says what is wrong with the others) or none (422). After an
    answer 413 or 503 some may be in Kafka: sending them again with their ids, or with the same Idempotency-Key, is harmless.
    """
    body = await read_body(request)
    return await to_thread.run_sync(_send, request, has, Topic.EVENTS, incoming.events, body, key, limiter=has.writers)


@router.post("/feedback", status_code=202, responses=_ANSWERS, openapi_extra=_body("NewFeedback"))
async def feedback(request: Request, has: Has, key: IdempotencyKey) -> Response:
    """Send labels, or verdicts on what was served, one object or a list; `feedback_id` is made if it is missing.

    Lists are answered as those of `POST /v1/events`.

    The verdict `right` is the label that was served; `wrong` counts against it and teaches nothing.
    A label with `text` is self-contained: it needs no event, and is learned at once.
    What becomes of a label is told by `GET /v1/labels/{event_id}`. Sending one again counts as a duplicate.
    """
    body = await read_body(request)
    return await to_thread.run_sync(_send, request, has, Topic.FEEDBACK, incoming.feedback, body, key, limiter=has.writers)


def _send(request: Request, has: Services, topic: Topic, parse: Parse, body: bytes, key: str | None) -> Response:
    found = parse(body, has.settings, new_ids if key is None else derived_ids(key, topic))
    spend(request, len(found.records))
    if key is not None and was_sent(has.sent_keys, topic, key, body):
        return _answer(found, replayed=True)
    _publish(has, topic, found)
    if key is not None:
        note_sent(has.sent_keys, topic, key, body)
    return _answer(found, replayed=False)


def _publish(has: Services, topic: Topic, found: Incoming) -> None:
    try:
        has.publisher.publish(has.settings.topic_prefix + topic, found.records)
    except RecordTooLarge as error:
        wrong = FieldError(field="body", reason="too_large", detail=str(error), index=found.places[error.index])
        detail = f"{error}; the others may be in Kafka already: send them again with these ids, that is harmless"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, errors=[wrong, *found.errors], ids=found.ids) from error
    except KafkaUnavailable as error:
        detail = f"{error}. Some records may be in Kafka already: send all again with these ids, that is harmless"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, errors=found.errors, ids=found.ids) from error


def _answer(found: Incoming, *, replayed: bool) -> Response:
    accepted = len(found.records)
    if found.errors:
        response = json(PartlyAccepted(accepted=accepted, ids=found.ids, errors=found.errors), status=HTTPStatus.MULTI_STATUS)
    else:
        response = json(Accepted(accepted=accepted, ids=[record.id for record in found.records]), status=HTTPStatus.ACCEPTED)
    if replayed:
        response.headers[REPLAYED] = "true"
    return response
